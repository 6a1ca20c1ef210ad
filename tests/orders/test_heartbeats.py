"""Heartbeats: who works is known, who has gone is missed, and a store that is away harms nobody."""

import pytest
from redis.exceptions import ConnectionError as StoreGone

from orders.flow.dispatch import QUEUES
from orders.operations import heartbeats
from orders.operations.heartbeats import ALIVE, Heart
from routing.store import now_ms, redis
from tests.system import eventually


def test_every_queue_is_named_with_its_living_processes(bench, monkeypatch):
    assert heartbeats.alive() == dict.fromkeys(QUEUES, 0)
    heartbeats.beat("order")
    heartbeats.beat("order")
    monkeypatch.setattr(heartbeats.os, "getpid", lambda: 1)
    heartbeats.beat("order")
    heartbeats.beat("dlq")
    assert heartbeats.alive() == {**dict.fromkeys(QUEUES, 0), "order": 2, "dlq": 1}


def test_a_process_that_falls_silent_is_gone_and_later_forgotten(bench):
    now = now_ms()
    redis().zadd(
        ALIVE,
        {
            "order a-1": now - heartbeats.GONE_MS + 2_000,
            "order a-2": now - heartbeats.GONE_MS - 1,
            "order a-3": now - heartbeats.FORGET_MS - 1,
        },
    )
    assert heartbeats.alive()["order"] == 1
    heartbeats.beat("limit")
    assert set(redis().zrange(ALIVE, 0, -1)) == {"order a-1", "order a-2", heartbeats.name("limit")}


def known(now, **processes):
    """Write down processes of the order worker by their first and last heartbeats, seconds before now."""
    told = {f"order a-{name} {now - first * 1000}": now - last * 1000 for name, (first, last) in processes.items()}
    redis().zadd(ALIVE, told)
    return heartbeats.silent()["order"]


def test_one_of_several_that_froze_is_missed_and_is_heard_again(bench):
    now = now_ms()
    assert known(now, p1=(100, 1), p2=(99, 30)) == 1
    assert known(now, p2=(99, 0)) == 0


def test_one_that_died_and_was_replaced_is_not_missed_but_the_second_is(bench):
    now = now_ms()
    assert known(now, p1=(100, 30), p2=(28, 1)) == 0
    assert known(now, p3=(100, 40)) == 1
    assert known(now, p4=(35, 1)) == 0


def test_processes_of_an_earlier_version_are_alive_and_never_missed(bench):
    redis().zadd(ALIVE, {"order a-1": now_ms(), "order a-2": now_ms() - 30_000})
    assert (heartbeats.alive()["order"], heartbeats.silent()["order"]) == (1, 0)


def test_a_worker_is_alive_from_its_first_moment_until_it_says_goodbye(bench):
    heart = Heart("sniper")
    heart.start()
    eventually(lambda: heartbeats.alive()["sniper"] == 1, 5, "the first heartbeat")
    heart.stop()
    heart.join(5)
    assert heartbeats.alive()["sniper"] == 0


def test_a_heart_outlives_the_stores_outage(bench, monkeypatch):
    heard = []

    def refused(queue):
        heard.append(queue)
        if len(heard) < 3:
            raise StoreGone("connection refused")

    monkeypatch.setattr(heartbeats, "beat", refused)
    monkeypatch.setattr(heartbeats, "EVERY_S", 0.001)
    heart = Heart("limit")
    heart.start()
    eventually(lambda: len(heard) >= 4, 5, "it goes on after two refusals")
    heart.stop()
    heart.join(5)
    assert not heart.is_alive()


@pytest.mark.parametrize("queue", QUEUES)
def test_every_worker_has_a_heart(queue):
    from workers import base

    assert [beside.queue for beside in base.hearts].count(queue) == 1
