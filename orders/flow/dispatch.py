"""Wake workers: tasks are sent by name, so that no other package has to import the workers.

A message only says "check these orders"; a lost or repeated one is harmless.
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
"""A queue name is also the prefix of its task names, a file in workers/ and a process."""

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
"""Tasks the engine itself sends; beat sends the others."""

ORDERS_PER_TASK = 100

BROKER_ERRORS = (KombuError, AMQPError, OSError, StoreError)
"""The broker is unreachable or refused the message; the message may have arrived all the same."""

SENT_AT = "engine_sent_at"
"""Header of every message: when it was sent, in epoch milliseconds by the store's clock."""


LIFE = "engine_life_ms"
"""Header of beat's messages: how long after that the message stays valid, in milliseconds."""

LONG = 1_000
"""Queue length at which beat and the price watch stop adding messages: a worker that drains that many checks everything
anyway."""


class Headers(msgspec.Struct):
    """The headers the engine reads from a queued message."""

    engine_sent_at: int


class Message(msgspec.Struct):
    """A message as it is stored in its queue."""

    headers: Headers


MESSAGE = msgspec.json.Decoder(Message)


def send(task: str, order_ids: Sequence[str] = (), pairs: Sequence[str] = ()) -> bool:
    """Wake the task's worker with the orders or pairs to check; return False if the broker cannot be reached.

    The caller need not treat False as an error: the sweep and beat's tasks do what a lost message asked for.
    """
    groups = [order_ids[i : i + ORDERS_PER_TASK] for i in range(0, len(order_ids), ORDERS_PER_TASK)] or [()]
    try:
        for group in groups:
            wake(task, group, pairs)
    except BROKER_ERRORS as reason:
        log.warning("worker not woken, the sweep will retry", task=task, reason=str(reason), **about(order_ids))
        return False
    return True


@step("wake", Store.BROKER, "a worker is woken by", *WAKES, kind=lambda task, order_ids, pairs: task)
def wake(task: str, order_ids: Sequence[str], pairs: Sequence[str]) -> None:
    named, task_id = {"order_ids": list(order_ids), "pairs": list(pairs)}, str(uuid4())
    with traces.publishing(task, task_id, order_ids) as headers:
        current_app.send_task(
            task,
            kwargs={name: values for name, values in named.items() if values},
            queue=task.partition(".")[0],
            task_id=task_id,
            headers=headers,
            ignore_result=True,
            retry=False,
        )


def waiting(queue: str) -> int:
    """Count the messages in a queue that no worker has taken yet."""
    return depths([queue])[queue]


def is_long(task: str) -> bool:
    """Return whether a task's queue has LONG messages, so that another adds nothing. Always False on RabbitMQ."""
    return not settings.BROKER_URL and waiting(task.partition(".")[0]) >= LONG


def depths(queues: Sequence[str] = QUEUES) -> dict[str, int]:
    """Count the messages waiting in each queue."""
    return rabbitmq_depths(queues) if settings.BROKER_URL else redis_depths(queues)


def redis_depths(queues: Sequence[str]) -> dict[str, int]:
    """Return the lengths of the Redis lists behind the queues."""
    pipe = redis().pipeline(transaction=False)
    for queue in queues:
        pipe.llen(queue)
    return dict(zip(queues, map(int, pipe.execute()), strict=True))


def rabbitmq_depths(queues: Sequence[str]) -> dict[str, int]:
    """Redeclare each queue, which returns its length. A queue that does not exist yet is created."""
    with current_app.connection_or_acquire() as connection:
        channel: Any = connection.default_channel
        known: Any = current_app.amqp.queues
        return {queue: int(known[queue].bind(channel).queue_declare().message_count) for queue in queues}


def ages_ms() -> dict[str, int | None]:
    """Return how long each queue's oldest message has waited: 0 for an empty queue, None if unknown.

    Only the message at the consuming end of the list is read, however long the queue. RabbitMQ shows a message only to
    its consumer, so on RabbitMQ the age of any non-empty queue is unknown.
    """
    if settings.BROKER_URL:
        return {queue: None if depth else 0 for queue, depth in depths().items()}
    pipe = redis().pipeline(transaction=False)
    for queue in QUEUES:
        pipe.lindex(queue, -1)
    now = now_ms()
    return {queue: age_ms(oldest, now) for queue, oldest in zip(QUEUES, pipe.execute(), strict=True)}


def age_ms(message: str | None, now: int) -> int | None:
    """Return how long ago a message was sent: 0 for no message, None for one that is not the engine's."""
    if message is None:
        return 0
    try:
        return max(0, now - MESSAGE.decode(message).headers.engine_sent_at)
    except (msgspec.MsgspecError, RecursionError):
        return None
