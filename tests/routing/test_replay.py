"""Recorded prices, played again."""

import time
from decimal import Decimal
from pathlib import Path

import pytest

from engine.quotes import Pair
from routing.sandbox.market import Market
from routing.sandbox.replay import BadReplay, Replay
from tests.engine.tokens import BONK, SOL, USDC, USDT

HEADER = "timestamp,open,high,low,close,volume"
ROWS = (
    "2025-01-01 00:00:00,100,110,90,110,1.5",
    "2025-01-01 00:01:00,120.5,121,120,120.25,2",
)


@pytest.fixture
def recorded(tmp_path):
    def write(*rows, header=HEADER, name="SOLUSDT_1m.csv"):
        path = tmp_path / name
        path.write_text("\n".join((header, *rows)) + "\n")
        return path

    return write


def usd(replay, at_ms):
    """Price SOL in USDC on a market that follows the replay."""
    return Market(1, 0, 0, replay).mid(Pair(SOL, USDC), at_ms)


@pytest.mark.parametrize(
    ("at_ms", "price"),
    [(0, "100"), (30_000, "105"), (59_994, "109.999"), (60_000, "120.5"), (90_000, "120.375"), (120_000, "100")],
)
def test_the_price_runs_from_open_to_close_of_each_minute_and_then_begins_again(recorded, at_ms, price):
    assert usd(Replay.load(recorded(*ROWS)), at_ms) == Decimal(price)


def test_time_before_the_start_plays_too(recorded):
    assert usd(Replay.load(recorded(*ROWS), start_s=60), 0) == Decimal("120.5")


@pytest.mark.parametrize(
    ("speed", "at_ms", "price"), [(0.1, 60_000, "101"), (1, 60_000, "120.5"), (2, 15_000, "105"), (30, 61_000, "105")]
)
def test_speed_is_how_many_replayed_seconds_pass_in_one(recorded, speed, at_ms, price):
    assert usd(Replay.load(recorded(*ROWS), speed=speed), at_ms) == Decimal(price)


def test_the_replay_begins_at_its_start(recorded):
    replay = Replay.load(recorded(*ROWS), speed=10, start_s=1_763_800_000.5)
    assert usd(replay, 1_763_800_000_500) == Decimal("100")
    assert usd(replay, 1_763_800_003_500) == Decimal("105")


def test_every_pair_with_the_symbol_follows_and_no_other(recorded):
    replayed, free = Market(1, 0, 0, Replay.load(recorded(*ROWS))), Market(1, 0, 0)
    assert replayed.mid(Pair(SOL, USDT), 0) == Decimal("100")
    assert replayed.mid(Pair(USDC, SOL), 0) == Decimal("0.01")
    assert abs(replayed.mid(Pair(BONK, SOL), 0) * 100 / free.mid(Pair(BONK, USDC), 0) - 1) < Decimal("1e-9")
    assert replayed.mid(Pair(BONK, USDC), 0) == free.mid(Pair(BONK, USDC), 0)


@pytest.mark.parametrize("name", ["JUPUSDT_1m.csv", "JUPUSDC.csv", "JUPUSD_2025.csv"])
def test_the_files_name_says_whose_price_it_is(recorded, name):
    assert Replay.load(recorded(*ROWS, name=name)).symbol == "JUP"


@pytest.mark.parametrize("name", ["prices.csv", "SOLEUR_1m.csv", "USDT_1m.csv"])
def test_a_file_whose_name_names_no_symbol_in_dollars_prices_sol(recorded, name):
    assert Replay.load(recorded(*ROWS, name=name)).symbol == "SOL"


def minute(timestamp="2025-01-01 00:02:00", opened="1", high="2", low="0.5", closed="1.5"):
    return f"{timestamp},{opened},{high},{low},{closed},1"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (minute(opened="abc"), "'abc' is not a price"),
        (minute(opened=""), "'' is not a price"),
        (minute(closed="NaN"), "'NaN' is not a price"),
        (minute(opened="1e3"), "'1e3' is not a price"),
        (minute(low="-1"), "'-1' is not a price"),
        (minute(low="0"), "'0' is not a price above 0"),
        (minute(high="9000000.01"), "at most 9000000"),
        (minute(opened="1.0000000000001"), "at most 12 decimals"),
        (minute(opened="٣"), "is not a price"),
        (minute(closed="2.5"), "open and close must lie from low to high"),
        (minute(opened="0.4"), "open and close must lie from low to high"),
        (minute(timestamp="2025-01-01 00:01:00"), "does not come after '2025-01-01 00:01:00'"),
        ("2025-01-01 00:02:00,1,2", "3 values where 6 belong: '2025-01-01 00:02:00,1,2'"),
        ("", "0 values where 6 belong"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_value(recorded, row, complaint):
    with pytest.raises(BadReplay, match=rf"SOLUSDT_1m\.csv line 4: .*{complaint}"):
        Replay.load(recorded(*ROWS, row))


def test_another_header_is_refused(recorded):
    with pytest.raises(BadReplay, match="line 1: 'time,price' is not the header"):
        Replay.load(recorded(*ROWS, header="time,price"))


def test_a_file_without_rows_is_refused(recorded):
    with pytest.raises(BadReplay, match="no rows"):
        Replay.load(recorded())


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "SOLUSDT_1m.csv"
    path.write_bytes(b"\xff\xfe\x00\x01" * 100)
    with pytest.raises(BadReplay, match="line 1"):
        Replay.load(path)


def test_the_smallest_recorded_price_is_kept_exactly(recorded):
    tiny = minute(opened="0.000000000001", low="0.000000000001")
    assert Replay.load(recorded(tiny, name="BONKUSDT_1m.csv")).pico_usd(0) == 1


def test_a_month_of_minutes_loads_at_once(recorded):
    rows = [f"{number:06},189.31,189.71,189.08,189.{number % 60 + 10},4904.063" for number in range(40_000)]
    path: Path = recorded(*rows)
    began = time.process_time()
    replay = Replay.load(path)
    # Four times what it takes on the machine it was written on.
    assert time.process_time() - began < 0.6
    assert len(replay.closes) == 40_000
