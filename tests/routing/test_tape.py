"""The tape: the state it keeps of every token, and the events its readers get."""

import random
import threading

import pytest
from structlog.testing import capture_logs

from engine.market import EventKind, MarketEvent
from engine.triggers import WINDOW_MAX_S, TokenState
from routing import group, tape
from routing.store import now_ms, redis

MINT = "HZ1JovNiVvGrGNiiYvEozEVgZ58xaU3RKwX8eACQBCt3"
OTHER = "2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo"
MINUTE = 60_000

pytestmark = pytest.mark.usefixtures("empty_store")


@pytest.fixture
def empty_store(transactional_db):
    redis().flushdb()
    yield
    redis().flushdb()


@pytest.fixture
def now():
    return now_ms()


def event(kind, amount, at, event_id=None, mint=MINT):
    return MarketEvent(event_id or f"{kind}-{mint[:4]}-{at}-{amount}", EventKind(kind), mint, "RAYDIUM", amount, at)


def state(now, *windows, mint=MINT):
    return tape.states({mint: windows}, now)[mint]


def drained(reader="me"):
    """Read all there is, acknowledging it."""
    found = []
    for entries in tape.rounds(reader):
        found += [happened for _, happened in entries]
        tape.group.ack(entry_id for entry_id, _ in entries)
    return found


def pending():
    return redis().xpending(tape.EVENTS, tape.GROUP)["pending"]


def test_of_a_token_never_heard_of_nothing_is_known(now):
    assert state(now, MINUTE) == TokenState(0, None, {MINUTE: 0})


def test_a_pool_adds_what_it_holds(now):
    tape.publish([event("pool", 5_000_000, now - 2), event("pool", 70, now - 1)])
    assert state(now) == TokenState(2, 5_000_070, {})


def test_a_reading_replaces_all_that_is_older(now):
    tape.publish([event("pool", 5_000_000, now - 20), event("liquidity", 123, now - 10)])
    assert state(now) == TokenState(1, 123, {})


def test_an_older_reading_never_overrides_a_newer_one(now):
    tape.publish([event("liquidity", 200, now - 10)])
    tape.publish([event("liquidity", 100, now - 20)])
    assert state(now).liquidity == 200


def test_a_pool_that_is_told_after_a_newer_reading_is_counted_and_not_added(now):
    tape.publish([event("liquidity", 200, now - 10), event("pool", 5_000, now - 20)])
    assert state(now) == TokenState(1, 200, {})


@pytest.mark.parametrize("seed", range(8))
def test_events_in_any_order_and_told_twice_leave_the_same_state(now, seed):
    events = [
        event("pool", 5_000, now - 40),
        event("liquidity", 6_000, now - 30),
        event("liquidity", 7_000, now - 20, "a"),
        event("liquidity", 8_000, now - 20, "b"),
        event("pool", 50, now - 10),
        event("trade", 11, now - 5),
        event("trade", 13, now - 5, "another of the same size"),
    ]
    shuffled = events * 2
    random.Random(seed).shuffle(shuffled)
    for happened in shuffled:
        tape.publish([happened])
    assert state(now, MINUTE) == TokenState(2, 8_050, {MINUTE: 24})


def test_a_window_begins_after_its_first_moment_and_ends_with_now(now):
    tape.publish(
        event("trade", amount, at)
        for amount, at in [(1, now - MINUTE), (10, now - MINUTE + 1), (100, now), (1_000, now + 1)]
    )
    assert state(now, MINUTE, MINUTE + 1).volumes == {MINUTE: 110, MINUTE + 1: 111}


def test_volumes_are_summed_to_the_cent(now):
    large = 10**14 + 1
    tape.publish(event("trade", large, now, f"trade {i}") for i in range(50))
    assert state(now, MINUTE).volumes[MINUTE] == 50 * large


def test_many_tokens_are_asked_for_at_once_each_with_its_windows(now):
    tape.publish([event("trade", 7, now - 10), event("pool", 9, now - 10, mint=OTHER)])
    found = tape.states({MINT: [5, 20, 20], OTHER: [], "nobody": [20]}, now)
    assert found == {
        MINT: TokenState(1, None, {5: 0, 20: 7}),
        OTHER: TokenState(1, 9, {}),
        "nobody": TokenState(0, None, {20: 0}),
    }
    assert tape.states({}, now) == {}


def test_what_is_traded_or_worth_something_has_a_pool_though_nobody_told_of_it(now):
    tape.publish([event("trade", 7, now), event("liquidity", 5, now, mint=OTHER)])
    assert (state(now).pools, state(now, mint=OTHER).pools) == (1, 1)


def test_trades_past_the_longest_window_are_dropped_and_not_counted_when_they_come_again(now):
    old = event("trade", 5, now - WINDOW_MAX_S * 1000 - 1)
    tape.publish([old, event("trade", 7, now)])
    tape.publish([old])
    assert redis().zcard(f"market:{{{MINT}}}:trades") == 1


def test_everything_kept_of_a_token_has_an_end(now, monkeypatch):
    monkeypatch.setattr(tape, "TRADES_MAX", 3)
    monkeypatch.setattr(tape, "POOLS_MAX", 2)
    tape.publish(event("trade", amount, now - 10 + amount) for amount in range(1, 6))
    tape.publish(event("pool", amount, now) for amount in (1, 2, 3))
    assert state(now, MINUTE) == TokenState(2, 3, {MINUTE: 3 + 4 + 5})
    for key in (f"market:{{{MINT}}}", f"market:{{{MINT}}}:trades"):
        assert 0 < redis().ttl(key) <= tape.KEEP_S


def test_the_stream_is_bounded(now, monkeypatch):
    monkeypatch.setattr(tape, "EVENTS_MAX", 100)
    tape.publish(event("trade", amount, now) for amount in range(1, 1_001))
    assert redis().xlen(tape.EVENTS) < 300


def test_a_reader_gets_every_event_once_and_as_it_was_told(now):
    told = [event("pool", 5, now - 2), event("liquidity", 6, now - 1), event("trade", 7, now, mint=OTHER)]
    tape.publish(told)
    assert drained() == told
    assert drained() == []
    assert pending() == 0


def test_what_was_told_before_anybody_read_is_read(now):
    tape.publish([event("pool", 5, now)])
    assert len(drained()) == 1


def test_two_readers_share_the_events(now):
    tape.publish(event("trade", amount, now) for amount in range(1, 11))
    tape.group.ensure()
    redis().xreadgroup(tape.GROUP, "another", {tape.EVENTS: ">"}, count=4)
    assert [happened.amount for happened in drained()] == list(range(5, 11))
    assert [happened.amount for happened in drained("another")] == list(range(1, 5))


def test_many_rounds_are_read_to_the_end(now, monkeypatch):
    monkeypatch.setattr(group, "ENTRIES", 3)
    tape.publish(event("trade", amount, now) for amount in range(1, 11))
    assert [happened.amount for happened in drained()] == list(range(1, 11))


def test_what_a_reader_did_not_acknowledge_comes_again_before_what_is_new(now):
    tape.publish([event("trade", 1, now), event("trade", 2, now)])
    (entries,) = tape.rounds("me")
    tape.group.ack([entries[0][0]])
    tape.publish([event("trade", 3, now)])
    assert [happened.amount for happened in drained()] == [2, 3]


def test_an_entry_that_is_never_acknowledged_does_not_keep_a_round_from_ending(now, monkeypatch):
    monkeypatch.setattr(group, "ENTRIES", 2)
    tape.publish(event("trade", amount, now) for amount in range(1, 6))
    for _ in range(2):
        assert sum(len(entries) for entries in tape.rounds("me")) == 5


def test_what_a_dead_reader_left_is_taken_over_and_what_a_live_one_holds_is_not(now, monkeypatch):
    monkeypatch.setattr(group, "ENTRIES", 2)
    tape.publish(event("trade", amount, now) for amount in range(1, 6))
    for _ in tape.rounds("the dead"):
        pass
    assert drained() == []
    monkeypatch.setattr(group, "TAKE_OVER_MS", 0)
    monkeypatch.setattr(group, "TAKE_OVER_EVERY_S", 0.0)
    with capture_logs() as logs:
        assert [happened.amount for happened in drained()] == [1, 2, 3, 4, 5]
    assert sum(line["entries"] for line in logs) == 5
    assert pending() == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"nonsense": "1"},
        {"id": "x", "kind": "rumour", "mint": MINT, "venue": "RAYDIUM", "amount": "1", "at": "1"},
        {"id": "x", "kind": "trade", "mint": MINT, "venue": "RAYDIUM", "amount": "much", "at": "1"},
    ],
)
def test_an_entry_that_cannot_be_read_is_logged_with_its_content_and_blocks_nothing(now, fields):
    redis().xadd(tape.EVENTS, fields)
    tape.publish([event("trade", 2, now)])
    with capture_logs() as logs:
        assert [happened.amount for happened in drained()] == [2]
    (line,) = logs
    assert line["content"] == str(fields)
    assert pending() == 0


def test_bytes_that_are_no_text_block_nothing(now):
    redis().execute_command("XADD", tape.EVENTS, "*", "id", b"\xff\xfe")
    tape.publish([event("trade", 2, now)])
    with capture_logs():
        assert len(drained()) == 1
    assert pending() == 0


def test_an_entry_that_was_trimmed_away_under_its_reader_blocks_nothing(now):
    tape.publish([event("trade", 1, now)])
    for _ in tape.rounds("me"):
        pass
    redis().xtrim(tape.EVENTS, maxlen=0)
    tape.publish([event("trade", 2, now)])
    with capture_logs():
        assert [happened.amount for happened in drained()] == [2]
    assert pending() == 0


def test_an_emptied_redis_is_read_on_from_its_new_beginning(now):
    tape.publish([event("trade", 1, now)])
    assert len(drained()) == 1
    redis().flushdb()
    tape.publish([event("trade", 2, now)])
    assert [happened.amount for happened in drained()] == [2]


def test_redis_emptied_in_the_middle_of_a_reading_ends_nothing(now, monkeypatch):
    monkeypatch.setattr(group, "ENTRIES", 1)
    tape.publish([event("trade", 1, now), event("trade", 2, now)])
    reading = tape.rounds("me")
    next(reading)
    redis().flushdb()
    tape.publish([event("trade", 3, now)])
    assert [happened.amount for entries in reading for _, happened in entries] == [3]


def test_events_told_at_once_by_many_are_all_counted_once(now):
    events = [event("trade", amount, now) for amount in range(1, 41)]

    def tell_all():
        for happened in events:
            tape.publish([happened])

    threads = [threading.Thread(target=tell_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert state(now, MINUTE).volumes == {MINUTE: sum(range(1, 41))}


def test_a_reader_looks_for_what_the_dead_left_once_in_a_while(now, monkeypatch):
    monkeypatch.setattr(group, "looked_at", {})
    monkeypatch.setattr(group, "TAKE_OVER_MS", 0)
    tape.publish([event("trade", 1, now)])
    for _ in tape.rounds("the dead"):
        pass
    assert [happened.amount for happened in drained()] == [1]
    tape.publish([event("trade", 2, now)])
    for _ in tape.rounds("the dead"):
        pass
    assert drained() == []
    monkeypatch.setattr(group, "TAKE_OVER_EVERY_S", 0.0)
    assert [happened.amount for happened in drained()] == [2]
