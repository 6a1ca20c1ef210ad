"""Keeping quotes current: one poll per tick, and a watchdog."""

import pytest
from structlog.testing import capture_logs

from routing import models, polling
from routing.catalogue import catalogue
from routing.polling import Watchdog
from routing.sandbox import stage
from routing.store import StoreError, now_ms, redis
from tests.system import eventually


@pytest.fixture
def polls(bench, monkeypatch):
    """Record which pairs are polled instead of asking venues; the sandbox market keeps still."""
    found = []
    monkeypatch.setattr(stage, "emit", lambda now: None)

    class Recorder:
        def poll(self, pairs):
            found.append(sorted(pair.name for pair in pairs))

    monkeypatch.setattr(polling, "asker", Recorder)
    return found


def test_a_poll_asks_for_every_active_pair(polls):
    models.Pair.objects.filter(token_in__symbol="JUP").update(active=False)
    catalogue.forget()
    assert polling.poll() is True
    assert polls == [sorted(set(catalogue().active))]
    assert "SOL-USDC" in polls[0] and "JUP-USDC" not in polls[0]


def test_two_workers_in_the_same_tick_poll_once(polls):
    assert [polling.poll(), polling.poll()] == [True, False]
    assert len(polls) == 1


def test_the_next_tick_polls_again_though_it_comes_early(polls):
    polling.poll()
    assert 0 < redis().pttl(polling.TICK) <= polling.POLL_MS // 2
    redis().delete(polling.TICK)
    assert polling.poll() is True


def test_each_poll_has_the_market_told_of_up_to_now(polls, monkeypatch):
    told = []
    monkeypatch.setattr(stage, "emit", told.append)
    assert [polling.poll(), polling.poll()] == [True, False]
    (at,) = told
    assert abs(now_ms() - at) < 10_000


@pytest.mark.parametrize("fault", [StoreError("redis is away"), RuntimeError("a bug")])
def test_a_market_that_cannot_be_told_of_is_logged_and_disturbs_no_poll(polls, monkeypatch, fault):
    def failing(now):
        raise fault

    monkeypatch.setattr(stage, "emit", failing)
    with capture_logs() as logs:
        assert polling.poll() is True
    assert len(polls) == 1
    assert [line["reason"] for line in logs] == [repr(fault)]


def test_silence_is_noticed_and_a_poll_ends_it(polls):
    assert polling.silent()
    polling.poll()
    assert not polling.silent()
    redis().set(polling.ASKED_AT, now_ms() - int(polling.WATCHDOG_S * 1000) - 100)
    assert polling.silent()


def test_the_watchdog_polls_when_nobody_asks_and_stops_when_somebody_does(polls, monkeypatch):
    monkeypatch.setattr(polling, "POLL_MS", 2)
    monkeypatch.setattr(polling, "WATCHDOG_S", 0.01)
    silent = iter([True, True, True, True])
    monkeypatch.setattr(polling, "silent", lambda: next(silent, False))
    Watchdog().stand_in()
    assert 1 <= len(polls) <= 3


def test_the_watchdog_is_quiet_while_polls_are_asked_for(polls):
    polling.poll()
    Watchdog().stand_in()
    assert len(polls) == 1


@pytest.mark.parametrize("fault", [StoreError("redis is away"), RuntimeError("postgres is away")])
def test_the_watchdog_outlives_any_outage_and_ends_when_told(polls, monkeypatch, fault):
    monkeypatch.setattr(polling, "WATCHDOG_S", 0.001)
    calls = []

    def failing():
        calls.append(1)
        raise fault

    monkeypatch.setattr(polling, "silent", failing)
    watchdog = Watchdog()
    with capture_logs():
        watchdog.start()
        eventually(lambda: len(calls) > 3, 5, "it goes on looking")
        watchdog.stop()
        watchdog.join(5)
    assert not watchdog.is_alive()


def test_a_pair_that_takes_no_new_orders_is_polled_while_orders_wait_for_its_price(polls):
    models.Pair.objects.filter(token_in__symbol="JUP").update(active=False)
    catalogue.forget()
    polling.poll(lambda: ["JUP-USDC", "GONE-USDC"])
    assert polls == [["JUP-USDC", "SOL-USDC", "USDC-SOL"]]
