"""Recorded prices are those that were quoted: whatever restarts, is emptied, or is recorded twice."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import DatabaseError

from routing import candles, models, quotes, recording
from routing.candles import Candle, Interval
from routing.recording import Recorder
from routing.store import now_ms, redis

PAIR = "SOL-USDC"
MINUTE = 1_800_000_000
"""An epoch second at which a minute begins."""


class Clock:
    """The time, as the recorders see it."""

    ms = MINUTE * 1000

    def __call__(self):
        return self.ms


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(recording, "now_ms", made)
    return made


def counted(recorder, second, *prices, venue="RAYDIUM", pair=PAIR):
    """Have prices observed within a second, evenly spread."""
    for i, price in enumerate(prices):
        recorder.count(pair, venue, Decimal(price), second * 1000 + i * 1000 // len(prices))


def kept(venue="RAYDIUM", interval=Interval.SECOND):
    """Return time, prices and count of each candle that is kept."""
    found = candles.read(PAIR, venue, interval, MINUTE - 86_400, MINUTE + 86_400)
    return [(one.at - MINUTE, *map(int, (one.open, one.high, one.low, one.close)), one.quotes) for one in found]


def test_a_candle_has_the_first_highest_lowest_and_last_price_of_its_second(bench, clock):
    recorder = Recorder()
    counted(recorder, MINUTE, 150, 155, 148, 151)
    counted(recorder, MINUTE + 1, 152)
    clock.ms = (MINUTE + 2) * 1000
    recorder.save()
    assert kept() == [(0, 150, 155, 148, 151, 4), (1, 152, 152, 152, 152, 1)]


def test_a_second_is_saved_once_it_is_over(bench, clock):
    recorder = Recorder()
    counted(recorder, MINUTE, 150)
    clock.ms = MINUTE * 1000 + 999
    recorder.save()
    assert kept() == []
    clock.ms += 1
    recorder.save()
    assert kept() == [(0, 150, 150, 150, 150, 1)]
    recorder.save()
    assert kept() == [(0, 150, 150, 150, 150, 1)]


def test_all_pairs_of_a_second_are_saved_in_one_statement(bench, clock, monkeypatch):
    recorder, statements = Recorder(), []
    real = candles.fetch
    monkeypatch.setattr(candles, "fetch", lambda sql, *more: statements.append(sql) or real(sql, *more))
    for pair in (f"T{i}-USDC" for i in range(34)):
        for venue in ("RAYDIUM", "METEORA", "BEST"):
            counted(recorder, MINUTE, 150, 151, venue=venue, pair=pair)
    recorder.rolled = (clock.ms - recording.LATE_MS) // 60_000
    clock.ms += 1000
    recorder.save()
    assert statements == [candles.ADD]
    assert models.Candle.objects.count() == 34 * 3


def test_two_workers_that_share_the_quotes_of_a_second_make_one_candle(bench, clock):
    one, other = Recorder(), Recorder()
    for i, price in enumerate((150, 158, 145, 152)):
        (one, other)[i % 2].count(PAIR, "RAYDIUM", Decimal(price), MINUTE * 1000 + i * 250)
    clock.ms += 1000
    other.save()
    one.save()
    assert kept() == [(0, 150, 158, 145, 152, 4)]


def test_a_worker_that_is_started_again_within_a_second_goes_on_with_it(bench, clock):
    before, after = Recorder(), Recorder()
    before.count(PAIR, "RAYDIUM", Decimal(150), MINUTE * 1000 + 100)
    before.save_all()
    after.count(PAIR, "RAYDIUM", Decimal(149), MINUTE * 1000 + 700)
    clock.ms += 1000
    after.save()
    assert kept() == [(0, 150, 150, 149, 149, 2)]


def test_what_postgres_could_not_take_is_saved_once_it_is_back(bench, clock, monkeypatch):
    def away(*_):
        raise DatabaseError("away")

    recorder = Recorder()
    with monkeypatch.context() as patched:
        patched.setattr(candles, "fetch", away)
        for i in range(3):
            counted(recorder, MINUTE + i, 150 + i)
            clock.ms += 1000
            with pytest.raises(DatabaseError):
                recorder.save()
    recorder.save()
    assert [at for at, *_ in kept()] == [0, 1, 2]


def test_what_cannot_be_saved_for_long_is_bounded(bench, clock, monkeypatch):
    monkeypatch.setattr(candles, "fetch", lambda *_: (_ for _ in ()).throw(DatabaseError("away")))
    recorder = Recorder()
    for i in range(recording.UNSAVED_MAX + 5):
        counted(recorder, MINUTE + i, 150)
        clock.ms += 1000
        with pytest.raises(DatabaseError):
            recorder.save()
    assert len(recorder.unsaved) == recording.UNSAVED_MAX and recorder.tallies == {}


def test_a_minute_is_made_of_its_seconds_a_few_seconds_after_its_end(bench, clock):
    recorder = Recorder()
    for second, price in ((0, 150), (7, 160), (30, 140), (59, 151), (60, 999)):
        counted(recorder, MINUTE + second, price, price + 1)
    clock.ms = (MINUTE + 62) * 1000
    recorder.save()
    assert kept(interval=Interval.MINUTE) == []
    clock.ms = (MINUTE + 65) * 1000
    recorder.save()
    assert kept(interval=Interval.MINUTE) == [(0, 150, 161, 140, 152, 8)]
    (minute,) = candles.read(PAIR, "RAYDIUM", Interval.MINUTE, MINUTE, MINUTE + 60)
    assert (minute.opened_ms, minute.closed_ms) == (0, 59_500)


def test_a_minute_whose_worker_ended_is_made_by_the_next(bench, clock):
    dead = Recorder()
    counted(dead, MINUTE + 3, 150)
    counted(dead, MINUTE + 63, 151)
    dead.save_all()
    clock.ms = (MINUTE + 600) * 1000
    Recorder().save()
    assert [at for at, *_ in kept(interval=Interval.MINUTE)] == [0, 60]


def test_a_minute_that_both_workers_make_is_made_once_and_of_both_parts(bench, clock):
    one, other = Recorder(), Recorder()
    counted(one, MINUTE + 3, 150)
    counted(other, MINUTE + 4, 160)
    clock.ms = (MINUTE + 65) * 1000
    one.save()
    other.save()
    assert kept(interval=Interval.MINUTE) == [(0, 150, 160, 150, 160, 2)]


def test_seconds_that_were_saved_late_belong_to_their_minute_nevertheless(bench, clock, monkeypatch):
    recorder = Recorder()
    counted(recorder, MINUTE + 3, 150)
    clock.ms = (MINUTE + 65) * 1000
    with monkeypatch.context() as patched:
        patched.setattr(candles, "fetch", lambda *_: (_ for _ in ()).throw(DatabaseError("away")))
        with pytest.raises(DatabaseError):
            recorder.save()
    clock.ms = (MINUTE + 185) * 1000
    recorder.save()
    assert kept(interval=Interval.MINUTE) == [(0, 150, 150, 150, 150, 1)]


def test_candles_are_deleted_when_their_time_is_over_and_no_minute_loses_a_part(bench, clock):
    recorder = Recorder()
    old = MINUTE - candles.KEPT_S[Interval.SECOND]
    for at in (old - 61, old - 1, old + 5, old + 65):
        counted(recorder, at, 150)
    recorder.save()
    assert [at for at, *_ in kept()] == [old + 5 - MINUTE, old + 65 - MINUTE]
    clock.ms += 60_000
    recorder.save()
    assert [at for at, *_ in kept()] == [old + 65 - MINUTE]
    clock.ms += candles.KEPT_S[Interval.MINUTE] * 1000
    recorder.save()
    assert models.Candle.objects.count() == 0


def test_deletion_takes_a_slice_at_a_time_and_not_more_than_it_may(bench, monkeypatch):
    monkeypatch.setattr(candles, "SLICE", 2)
    monkeypatch.setattr(candles, "SLICES", 2)
    price = Decimal(150)
    candles.add([Candle(PAIR, "RAYDIUM", MINUTE + i, price, price, price, price, 1, 0, 0) for i in range(7)])
    assert [candles.prune(MINUTE + 86_400) for _ in range(3)] == [4, 3, 0]


class Witness:
    """Stores quotes as venues answer them, and keeps what was stored."""

    def __init__(self, pattern):
        self.pattern = pattern
        self.seen = defaultdict(list)

    def quoted(self, recorder, venue, price, at):
        quote = replace(self.pattern, venue=venue, price=Decimal(price), fee_bps=0, requested_at=at, observed_at=at)
        (stored,) = quotes.store_all([quote])
        self.seen[venue, at // 1000].append(stored.quote.net_price)
        self.seen["BEST", at // 1000].append(stored.best)
        recorder.note(stored)

    def candles(self):
        """Return what the candles must be."""
        return {key: (some[0], max(some), min(some), some[-1], len(some)) for key, some in self.seen.items()}


def test_the_history_is_that_of_the_quotes_over_a_restart_and_an_emptied_redis(bench, clock):
    witness = Witness(bench.quote("RAYDIUM"))
    redis().flushdb()
    began = now_ms() - 1_900
    recorder = Recorder()
    for i in range(18):
        clock.ms = began + i * 100
        if i == 6:
            redis().flushall()
        if i == 11:
            recorder.save_all()
            recorder = Recorder()
        witness.quoted(recorder, ("RAYDIUM", "METEORA")[i % 2], 150 + 7 * i % 11, clock.ms)
    clock.ms += 2_000
    recorder.save()
    found = {
        (venue, one.at): (one.open, one.high, one.low, one.close, one.quotes)
        for venue in ("RAYDIUM", "METEORA", "BEST")
        for one in candles.read(PAIR, venue, Interval.SECOND, began // 1000 - 60, began // 1000 + 60)
    }
    assert found == witness.candles()
    # After the loss BEST is that of the quotes since, not that of before.
    assert len(found) >= 6
