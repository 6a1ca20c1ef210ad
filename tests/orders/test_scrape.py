"""What the stores hold, as Prometheus is told: what is there, in time, whichever part is away."""

import threading
import time

import pytest
from django.db import OperationalError
from prometheus_client.parser import text_string_to_metric_families

from orders.flow import dbsync, dispatch
from orders.operations import heartbeats, scrape
from orders.operations.scrape import Part
from orders.stores import live
from routing.store import StoreError, redis
from routing.venues import VENUES
from tests.orders.doors import get
from tests.system import eventually


@pytest.fixture(autouse=True)
def unread():
    """Let no test see what another has looked up."""
    for part in scrape.PARTS:
        part.reading, part.read_at = [], float("-inf")


def read(text):
    """Read an exposition as Prometheus does: values by name and labels."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[(sample.name, *(value for _, value in sorted(sample.labels.items())))] = sample.value
    return found


def stores():
    return read(scrape.exposition("stores").decode())


UP = {("engine_up", part): 1.0 for part in ("redis", "broker", "postgres", "quotes", "resting")}


def test_gauges_say_what_the_stores_hold(bench):
    bench.quote_all(age_ms=4_000)
    bench.place(3)
    bench.accept(bench.limit("900"), bench.limit("901"))
    heartbeats.beat("order")
    found = stores()
    assert UP.items() <= found.items()
    assert found["engine_queue_depth", "order"] == bench.messages("order") == 1
    assert found["engine_orders_open",] == redis().zcard("orders:open") == 3
    assert found["engine_attempts_open",] == 0
    assert found["engine_dbsync_backlog_entries",] == redis().xlen("orders:events") == 2
    assert found["engine_resting_orders", "SOL-USDC"] == 2
    assert (found["engine_workers_alive", "order"], found["engine_workers_alive", "limit"]) == (1, 0)
    assert [4 <= found["engine_quote_age_seconds", "SOL-USDC", venue] < 10 for venue in VENUES] == [True, True]
    assert 0 < found["engine_oldest_moving_order_seconds",] < 10


def test_an_attempt_is_open_until_the_chain_has_decided(bench):
    bench.quote_all()
    ids = bench.place(2)
    bench.carry(ids)
    assert stores()["engine_attempts_open",] == 2
    bench.run([])
    assert stores()["engine_attempts_open",] == 0


def test_an_order_that_nobody_looks_at_grows_overdue(bench):
    (order_id,) = bench.place()
    assert stores()["engine_orders_overdue_seconds",] == 0
    bench.pass_time(order_id, live.GRACE_MS + 20_000)
    assert 19 < stores()["engine_orders_overdue_seconds",] < 30


def test_the_archive_is_behind_by_its_oldest_entry_that_is_not_written(bench):
    assert dbsync.behind_ms() == 0
    bench.place()
    bench.archive()
    assert dbsync.behind_ms() == 0
    redis().delete(live.FEED)
    dbsync.group.ensure()
    redis().xadd(live.FEED, {"b": ""}, id="1000-0")
    assert dbsync.behind_ms() > 1_000_000_000
    # In a reader's hands it is not written either.
    dbsync.group.read("dead", ">")
    redis().xadd(live.FEED, {"b": ""})
    assert dbsync.behind_ms() > 1_000_000_000
    dbsync.group.ack(["1000-0"])
    assert dbsync.behind_ms() < 10_000


async def test_the_servers_address_shows_its_own_counts_and_the_stores_or_one_of_them(bench):
    answer = await get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    both = read(answer.text)
    assert {("engine_up", "redis"), ("process_open_fds",)} <= both.keys()
    process, kept = read((await get("/metrics?part=process")).text), read((await get("/metrics?part=stores")).text)
    assert ("process_open_fds",) in process and ("engine_up", "redis") not in process
    assert ("engine_up", "redis") in kept and ("process_open_fds",) not in kept


async def test_a_redis_that_is_away_is_a_gauge_and_no_error(bench, monkeypatch):
    def refuse(_):
        raise StoreError("connection refused")

    monkeypatch.setattr(live, "load", refuse)
    answer = await get("/metrics")
    assert answer.status_code == 200
    found = read(answer.text)
    assert (found["engine_up", "redis"], found["engine_up", "postgres"]) == (0, 1)
    assert ("engine_orders_open",) not in found
    monkeypatch.undo()
    assert read((await get("/metrics")).text)["engine_up", "redis"] == 1


def test_a_broker_that_is_away_hides_the_queues_alone(bench, monkeypatch):
    def refuse():
        raise ConnectionError("connection refused")

    monkeypatch.setattr(dispatch, "depths", refuse)
    found = stores()
    assert (found["engine_up", "broker"], found["engine_up", "redis"]) == (0, 1)
    assert ("engine_queue_depth", "order") not in found and ("engine_orders_open",) in found


def test_a_postgres_that_is_away_is_a_gauge_and_no_error(bench, monkeypatch):
    class Away:
        def cursor(self):
            raise OperationalError("the database is shutting down")

    monkeypatch.setattr(scrape, "connection", Away())
    found = stores()
    assert (found["engine_up", "postgres"], found["engine_up", "redis"]) == (0, 1)
    assert ("engine_oldest_moving_order_seconds",) not in found


class Slow:
    """Something that takes as long to look up as the test wants."""

    def __init__(self):
        self.go = threading.Event()
        self.looks = 0

    def __call__(self):
        self.looks += 1
        assert self.go.wait(10)
        return [("engine_resting_orders", ("SOL-USDC",), self.looks)]


@pytest.fixture
def slow(monkeypatch):
    """The only part there is takes its time."""
    look = Slow()
    monkeypatch.setattr(scrape, "WITHIN_S", 0.02)
    yield look
    look.go.set()


def show(monkeypatch, part):
    monkeypatch.setattr(scrape, "PARTS", (part,))
    return part


def test_a_part_that_hangs_keeps_nobody_waiting_and_is_asked_once(slow, monkeypatch):
    part = show(monkeypatch, Part("slow", slow))
    began = time.monotonic()
    assert [stores() for _ in range(5)] == [{("engine_up", "slow"): 0}] * 5
    assert time.monotonic() - began < 5
    eventually(lambda: slow.looks == 1, 5, "somebody looks")
    slow.go.set()
    part.looking.result(10)
    monkeypatch.setattr(scrape, "WITHIN_S", 10)
    assert stores() == {("engine_up", "slow"): 1, ("engine_resting_orders", "SOL-USDC"): 2}


def test_what_takes_long_to_count_is_counted_now_and_then_and_shown_until_the_next_is_there(slow, monkeypatch):
    part = show(monkeypatch, Part("slow", slow, every_s=3600))
    slow.go.set()
    monkeypatch.setattr(scrape, "WITHIN_S", 10)
    first = {("engine_up", "slow"): 1, ("engine_resting_orders", "SOL-USDC"): 1}
    assert [stores(), stores(), slow.looks] == [first, first, 1]
    slow.go.clear()
    part.every_s = 1e-9
    monkeypatch.setattr(scrape, "WITHIN_S", 0.02)
    assert stores() == first
    eventually(lambda: slow.looks == 2, 5, "another count has begun")
    assert stores() == first
    # One that stays away for too long is not shown for ever.
    part.read_at -= scrape.KEEP_S
    assert stores() == {("engine_up", "slow"): 0}


def test_every_queue_has_its_depth(bench):
    found = stores()
    assert {queue for name, queue in (key for key in found if len(key) == 2) if name == "engine_queue_depth"} == set(
        dispatch.QUEUES
    )
