"""The risk limits as a process knows them: the environment's values, and the operators' changes that Redis holds."""

import pytest
from django.conf import settings as django_settings
from redis.exceptions import ConnectionError as StoreGone
from structlog.testing import capture_logs

from engine.risk_limits import TABLE
from routing import risk_limits as standing
from routing.memory import Memory
from routing.risk_limits import KEY, RiskLimits, mirror, moved, risk_limits
from routing.store import redis


@pytest.fixture(autouse=True)
def nothing_moved():
    """Each test begins and ends with the environment's values in this process's memory."""

    def forget():
        redis().delete(KEY)
        moved.reading, moved.failing = {}, False
        moved.forget()

    forget()
    yield
    forget()


def test_every_risk_limit_of_the_table_can_be_asked_for_and_is_the_environments_value_at_first():
    for name in TABLE:
        assert getattr(risk_limits, name) == getattr(django_settings, name)
    assert {name for name in vars(RiskLimits) if name.isupper()} == set(TABLE)


def test_a_moved_risk_limit_counts_and_the_others_stay():
    mirror({"MAX_ATTEMPTS": 7})
    assert (risk_limits.MAX_ATTEMPTS, risk_limits.QUOTE_FRESH_MS) == (7, django_settings.QUOTE_FRESH_MS)
    mirror({})
    assert risk_limits.MAX_ATTEMPTS == django_settings.MAX_ATTEMPTS


def test_another_process_notices_once_its_reading_is_old():
    other = Memory("risk limits", standing.read, {}, (StoreGone, standing.NotMirrored), 3_600)
    assert other() == {}
    mirror({"MAX_ATTEMPTS": 7})
    assert other() == {}, "it remembers, and asks no store for each order"
    other.for_s = 0
    assert other() == {"MAX_ATTEMPTS": 7}
    assert moved.for_s <= 1


def test_an_emptied_redis_leaves_what_was_moved_until_it_is_told_again():
    mirror({"MAX_ATTEMPTS": 7})
    assert risk_limits.MAX_ATTEMPTS == 7
    redis().flushdb()
    moved.forget()
    assert risk_limits.MAX_ATTEMPTS == 7
    mirror({"MAX_ATTEMPTS": 2})
    assert risk_limits.MAX_ATTEMPTS == 2


@pytest.mark.parametrize("before", [{}, {"MAX_ATTEMPTS": 7}], ids=["at the start", "later"])
def test_while_redis_is_away_the_last_values_count_and_it_is_said_once(monkeypatch, before):
    if before:
        mirror(before)
        moved()

    def away():
        raise StoreGone("gone")

    monkeypatch.setattr(moved, "read", away)
    with capture_logs() as logs:
        for _ in range(3):
            moved.forget()
            assert {**standing.defaults(), **before}["MAX_ATTEMPTS"] == risk_limits.MAX_ATTEMPTS
    assert [line["what"] for line in logs] == ["risk limits"]


def test_asking_for_a_risk_limit_asks_no_store(monkeypatch):
    mirror({"MAX_ATTEMPTS": 7})
    assert risk_limits.MAX_ATTEMPTS == 7
    monkeypatch.setattr(moved, "for_s", 3_600)

    def asked():
        raise AssertionError("a store was asked")

    monkeypatch.setattr(moved, "read", asked)
    for _ in range(1_000):
        assert risk_limits.MAX_ATTEMPTS == 7


def test_while_one_thread_reads_the_others_go_on_with_what_there_is():
    seen = []

    def read():
        if memory.has_read:
            # As another thread would ask: this one holds the lock.
            seen.append(memory())
        return "new"

    memory = Memory("test", read, "old", (), 0)
    assert memory() == "new"
    memory.reading = "known"
    assert memory() == "new"
    assert seen == ["known"]
