"""RabbitMQ as the broker, killed while orders move: no order is lost and none settles twice."""

import asyncio
import threading

import httpx
import pytest

from tests.chaos.ledgers import nothing_lost_or_doubled, quoted
from tests.chaos.test_kills import BODY, QUICK
from tests.load.burst import post_all
from tests.stands import KINDS
from tests.system import eventually, is_settled, system

pytestmark = pytest.mark.system


@pytest.fixture
def engine():
    with system(QUICK, stands=[KINDS["TEST_BROKER", "rabbitmq"]]) as running:
        quoted(running)
        yield running


def test_rabbitmq_killed_and_started_again_amid_300_orders_loses_none_and_settles_none_twice(engine):
    killed = threading.Timer(0.2, engine.kill, ["rabbitmq"])
    killed.start()
    asyncio.run(post_all(engine.url, 300, 8))
    killed.join()
    nothing_lost_or_doubled(engine, 300)
    assert httpx.get(f"{engine.url}/readyz").status_code == 200


def test_while_rabbitmq_is_away_orders_are_accepted_and_looked_at_once_it_is_back(engine):
    (broker,) = engine.stands.values()
    broker.kill()
    answers = [httpx.post(f"{engine.url}/api/orders/execute", json=BODY, timeout=15) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {202}
    metrics = httpx.get(f"{engine.url}/metrics").text
    assert 'engine_up{part="broker"} 0.0' in metrics and 'engine_up{part="redis"} 1.0' in metrics
    assert not is_settled(engine, 1)()
    broker.start()
    nothing_lost_or_doubled(engine, 20)
    eventually(
        lambda: 'engine_queue_depth{queue="order"} 0.0' in httpx.get(f"{engine.url}/metrics").text, 30, "the queue's depth"
    )


def test_rabbitmq_holds_the_wake_ups_in_quorum_queues_and_redis_none(engine):
    asyncio.run(post_all(engine.url, 50, 8))
    nothing_lost_or_doubled(engine, 50)
    assert engine.redis().keys("_kombu.*") == [] and not engine.redis().exists("order")
    assert 'engine_queue_depth{queue="order"}' in httpx.get(f"{engine.url}/metrics").text
