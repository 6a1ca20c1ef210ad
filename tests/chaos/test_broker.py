"""RabbitMQ as the broker, killed while orders move: no order is lost and none settles twice."""

import asyncio
import os
import signal
from contextlib import suppress

import httpx
import pytest
from amqp.exceptions import ConnectionError as AMQPError
from kombu import Connection, Queue
from kombu.exceptions import OperationalError

from config.broker import QUORUM
from orders.flow import dispatch
from tests.chaos.amid import amid
from tests.chaos.ledgers import nothing_lost_or_doubled
from tests.chaos.test_kills import BODY, QUICK
from tests.load.burst import post_all
from tests.stands import KINDS
from tests.system import eventually, quoted, system

pytestmark = pytest.mark.system

RABBITMQ = [KINDS["TEST_BROKER", "rabbitmq"]]
# A market order waits for its deadline and no longer: on a busy machine RabbitMQ takes that long to start.
PATIENT = {**QUICK, "ORDER_DEADLINE_S": "180"}


@pytest.fixture
def engine():
    with system(PATIENT, stands=RABBITMQ) as running:
        quoted(running)
        yield running


def test_rabbitmq_killed_and_started_again_amid_300_orders_loses_none_and_settles_none_twice(engine):
    with amid(engine, lambda: engine.kill("rabbitmq")):
        asyncio.run(post_all(engine, 300, 8))
    nothing_lost_or_doubled(engine, 300)
    assert httpx.get(f"{engine.url}/readyz").status_code == 200


def metrics(engine):
    return httpx.get(f"{engine.url}/metrics").text.splitlines()


def depth(engine, queue):
    """Return a queue's length as the metrics tell it; None when they do not."""
    told = [line for line in metrics(engine) if line.startswith(f'engine_queue_depth{{queue="{queue}"}} ')]
    return float(told[0].split()[1]) if told else None


def accepted(engine):
    with engine.postgres() as db:
        return db.execute("SELECT count(*) FROM orders_order").fetchone()[0]


def test_while_rabbitmq_is_away_orders_are_accepted_and_looked_at_once_it_is_back(engine):
    (broker,) = engine.stands.values()
    broker.kill()
    answers = [
        httpx.post(f"{engine.url}/api/orders/execute", json=BODY, headers=engine.headers, timeout=15) for _ in range(20)
    ]
    assert {answer.status_code for answer in answers} == {202}
    assert {'engine_up{part="broker"} 0.0', 'engine_up{part="redis"} 1.0'} <= set(metrics(engine))
    assert accepted(engine) == 20
    broker.start()
    nothing_lost_or_doubled(engine, 20)
    eventually(lambda: depth(engine, "order") == 0, 30, "its depth is told again")


def test_a_rabbitmq_that_stands_still_keeps_no_client_waiting_for_ever(engine):
    (broker,) = engine.stands.values()
    os.kill(broker.process.pid, signal.SIGSTOP)
    # The limit on the client's side is the assertion: unconfirmed messages are given up after seconds.
    answers = [
        httpx.post(f"{engine.url}/api/orders/execute", json=BODY, headers=engine.headers, timeout=30) for _ in range(3)
    ]
    assert {answer.status_code for answer in answers} == {202}
    os.kill(broker.process.pid, signal.SIGCONT)
    nothing_lost_or_doubled(engine, 3)


def test_beat_goes_on_after_rabbitmq_has_been_away():
    # Nobody takes from the queue dlq, and as no order fails, beat alone sends to it.
    with system(QUICK, "--scale", "dlq=0", stands=RABBITMQ) as engine:
        eventually(lambda: depth(engine, "dlq"), 60, "beat has sent something")
        engine.kill("rabbitmq")
        eventually(lambda: emptied(engine, "dlq"), 60, "RabbitMQ is back and what beat had sent is gone")
        eventually(lambda: depth(engine, "dlq"), 60, "beat sends again")


def emptied(engine, queue):
    """Empty a queue; a broker that has just come back may not say that it has."""
    (broker,) = engine.stands.values()
    with suppress(AMQPError, OperationalError, OSError), Connection(broker.url) as connection:
        connection.channel().queue_purge(queue)
        return True


def test_wake_ups_are_in_quorum_queues_of_rabbitmq_and_not_in_redis(engine):
    asyncio.run(post_all(engine, 50, 8))
    nothing_lost_or_doubled(engine, 50)
    assert engine.redis().keys("_kombu.*") == [] and not engine.redis().exists("order")
    (broker,) = engine.stands.values()
    with Connection(broker.url) as connection:
        for name in dispatch.QUEUES:
            # RabbitMQ refuses to declare a queue that is there as another kind.
            Queue(name, queue_arguments=QUORUM).bind(connection.channel()).queue_declare()
    eventually(lambda: depth(engine, "order") == 0, 30, "every wake-up has been taken")
