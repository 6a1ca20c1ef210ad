"""Waking workers: tasks are sent by name, so that no room needs to import the workers.

A message says "look at these orders" and nothing more; a lost or repeated one is harmless.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from amqp.exceptions import AMQPError
from celery import current_app
from django.conf import settings
from kombu.exceptions import KombuError

from orders.telemetry import traces
from orders.telemetry.log_fields import about
from routing.crashpoints import Store, step
from routing.store import StoreError, now_ms, redis

log = structlog.get_logger(__name__)

QUEUES = ("order", "limit", "sniper", "stream", "dbsync", "dlq")
"""Prefix of the task's name = queue = file in workers/ = process."""

EXECUTE = "order.execute"
RECOVER = "order.recover"
FIRE = "limit.fire"
CHECK = "limit.check"
AUDIT = "limit.audit"
MATCH = "sniper.match"
EVALUATE = "sniper.evaluate"
POLL = "stream.poll"
DRAIN = "dbsync.drain"
KEEP = "dlq.keep"
RETIRE = "dlq.retire"

WAKES = (EXECUTE, FIRE, EVALUATE, DRAIN, KEEP)
"""What the engine itself sends; beat sends the others."""

ORDERS_PER_TASK = 100

BROKER_ERRORS = (KombuError, AMQPError, OSError, StoreError)
"""The broker is unreachable or refused; what was sent may or may not have arrived."""

SENT_AT = "engine_sent_at"
"""Header of every message: when it was sent, in epoch milliseconds by the store's clock."""


LIFE = "engine_life_ms"
"""Header of beat's messages: for how long after that they are of use, in milliseconds."""

LONG = 1_000
"""Messages in a queue from which beat and prices add none: whoever takes so many up will look at everything anyway."""


class Headers(msgspec.Struct):
    """The part of a message's headers that is read from outside."""

    engine_sent_at: int


class Message(msgspec.Struct):
    """A message as it stands in its queue."""

    headers: Headers


MESSAGE = msgspec.json.Decoder(Message)


def send(task: str, order_ids: Sequence[str] = (), pairs: Sequence[str] = ()) -> bool:
    """Wake the task's worker, with the orders or pairs to look at; False when the broker cannot be reached.

    Failing is not an error for the caller: the sweep finds whatever was not announced.
    """
    groups = [order_ids[i : i + ORDERS_PER_TASK] for i in range(0, len(order_ids), ORDERS_PER_TASK)] or [()]
    try:
        for group in groups:
            wake(task, group, pairs)
    except BROKER_ERRORS as reason:
        log.warning("worker not woken, the sweep will", task=task, reason=str(reason), **about(order_ids))
        return False
    return True


@step("wake", Store.BROKER, "a worker is woken by", *WAKES, kind=lambda task, order_ids, pairs: task)
def wake(task: str, order_ids: Sequence[str], pairs: Sequence[str]) -> None:
    """Publish one message."""
    named, task_id = {"order_ids": list(order_ids), "pairs": list(pairs)}, str(uuid4())
    with traces.publishing(task, task_id, order_ids):
        current_app.send_task(
            task,
            kwargs={name: values for name, values in named.items() if values},
            queue=task.partition(".")[0],
            task_id=task_id,
            ignore_result=True,
            retry=False,
        )


def waiting(queue: str) -> int:
    """Count the messages no worker has taken yet."""
    return depths([queue])[queue]


def is_long(task: str) -> bool:
    """Tell whether so many messages wait in a task's queue that another adds nothing; RabbitMQ is not asked that."""
    return not settings.BROKER_URL and waiting(task.partition(".")[0]) >= LONG


def depths(queues: Sequence[str] = QUEUES) -> dict[str, int]:
    """Count those of each queue."""
    return rabbitmq_depths(queues) if settings.BROKER_URL else redis_depths(queues)


def redis_depths(queues: Sequence[str]) -> dict[str, int]:
    """Ask for the lengths of the lists that queues are in Redis."""
    pipe = redis().pipeline(transaction=False)
    for queue in queues:
        pipe.llen(queue)
    return dict(zip(queues, map(int, pipe.execute()), strict=True))


def rabbitmq_depths(queues: Sequence[str]) -> dict[str, int]:
    """Declare each queue once more, which answers with its length; one that nobody has used yet is then there."""
    with current_app.connection_or_acquire() as connection:
        channel: Any = connection.default_channel
        known: Any = current_app.amqp.queues
        return {queue: int(known[queue].bind(channel).queue_declare().message_count) for queue in queues}


def ages_ms() -> dict[str, int | None]:
    """Return how long each queue's oldest message has waited: 0 for an empty one, None where it does not say.

    Only the one message at the end from which workers take is read, however long the queue.  RabbitMQ shows a message
    to none but its consumer: there, any queue that is not empty is of unknown age.
    """
    if settings.BROKER_URL:
        return {queue: None if depth else 0 for queue, depth in depths().items()}
    pipe = redis().pipeline(transaction=False)
    for queue in QUEUES:
        pipe.lindex(queue, -1)
    now = now_ms()
    return {queue: age_ms(oldest, now) for queue, oldest in zip(QUEUES, pipe.execute(), strict=True)}


def age_ms(message: str | None, now: int) -> int | None:
    """Return how long ago a message was sent; None for one that is not ours, or no message at all."""
    if message is None:
        return 0
    try:
        return max(0, now - MESSAGE.decode(message).headers.engine_sent_at)
    except (msgspec.MsgspecError, RecursionError):
        return None
