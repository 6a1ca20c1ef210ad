"""This process's connection to Redis: scripts and the store's clock."""

import time

import pytest
from redis import Redis

from routing import store
from routing.store import StoreClock, StoreError, redis, script

DOUBLE = script("return tonumber(ARGV[1]) * 2")


@pytest.mark.parametrize("forget", [lambda: redis().script_flush(), lambda: redis().flushall()], ids=["scripts", "all"])
def test_a_script_the_store_forgot_is_loaded_again(bench, forget):
    assert DOUBLE()([], [21]) == 42
    forget()
    assert DOUBLE()([], [21]) == 42


def test_a_script_is_registered_once():
    assert DOUBLE() is DOUBLE()


def test_the_clock_is_the_stores_and_not_this_machines(bench, monkeypatch):
    seconds, micros = redis().time()
    monkeypatch.setattr(Redis, "time", lambda self: (seconds + 3600, micros))
    ahead = StoreClock()() - (seconds * 1000 + micros // 1000)
    assert 3_600_000 <= ahead < 3_610_000


def test_a_reading_that_was_slow_to_come_does_not_set_the_clock_back(bench, monkeypatch):
    answers = iter([0.2, 0.1, 0.0])
    time_of = Redis.time

    def slow(self):
        reading = time_of(self)
        time.sleep(next(answers, 0.0))
        return reading

    monkeypatch.setattr(Redis, "time", slow)
    told = StoreClock()()
    seconds, micros = time_of(redis())
    assert 0 <= seconds * 1000 + micros / 1000 - told < 150


def test_the_clock_goes_on_while_the_store_is_away(bench, monkeypatch):
    clock = StoreClock(resync_s=0)
    before = clock()

    def away():
        raise StoreError("away")

    monkeypatch.setattr(store, "redis", away)
    assert 0 <= clock() - before < 5_000
