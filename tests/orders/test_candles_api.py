"""GET /api/candles: the price history as it was recorded, bounded by what is kept."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from routing import candles
from routing.candles import KEPT_S, Candle, Interval
from routing.store import now_ms
from tests.orders.doors import error_of

PAIR = "SOL-USDC"


@pytest.fixture
def minute(bench):
    """The epoch second at which the last minute but two began."""
    return now_ms() // 60_000 * 60 - 120


def recorded(second, *prices, venue="BEST", pair=PAIR):
    """Record the prices of a second."""
    some = [Decimal(price) for price in prices]
    candles.add([Candle(pair, venue, second, some[0], max(some), min(some), some[-1], len(some), 0, 999)])


def at(second):
    return datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z")


def asked(client, path=PAIR, **query):
    return client.get(f"/api/candles/{path}", {name.rstrip("_"): value for name, value in query.items()})


def seconds(answer):
    return [datetime.fromisoformat(one["at"]).timestamp() for one in answer.json()["candles"]]


def test_a_second_is_shown_as_it_was_recorded(client, minute):
    recorded(minute, "150.25", "151.5", "149", "150")
    assert asked(client, interval="1s").json() == {
        "pair": PAIR,
        "venue": "BEST",
        "interval": "1s",
        "candles": [
            {
                "at": at(minute).replace("Z", ".000Z"),
                "open": "150.25",
                "high": "151.5",
                "low": "149",
                "close": "150",
                "quotes": 4,
            }
        ],
    }


def test_minutes_are_shown_unless_seconds_are_asked_for(client, minute):
    recorded(minute + 5, "150", "151")
    recorded(minute + 50, "149", "152")
    candles.roll_up(minute, minute + 60)
    answer = asked(client).json()
    assert answer["interval"] == "1m"
    (one,) = answer["candles"]
    assert [one[name] for name in ("open", "high", "low", "close", "quotes")] == ["150", "152", "149", "152", 4]


def test_candles_are_those_of_the_venue_and_of_the_pair_that_are_asked_for(client, minute):
    recorded(minute, "150", venue="METEORA")
    recorded(minute + 1, "151", venue="RAYDIUM")
    recorded(minute + 2, "152", pair="JUP-USDC", venue="METEORA")
    assert seconds(asked(client, interval="1s", venue="METEORA")) == [minute]
    assert seconds(asked(client, interval="1s")) == []


def test_a_time_includes_its_beginning_and_not_its_end(client, minute):
    for i in range(5):
        recorded(minute + i, "150")
    answer = asked(client, interval="1s", from_=at(minute + 1), to=at(minute + 3))
    assert seconds(answer) == [minute + 1, minute + 2]
    answer = asked(client, interval="1s", from_=at(minute + 0.5), to=at(minute + 1.5))
    assert seconds(answer) == [minute + 1]
    assert seconds(asked(client, interval="1s", from_=at(minute + 3), to=at(minute))) == []


def test_a_gap_is_left_out_and_not_filled(client, minute):
    recorded(minute, "163")
    recorded(minute + 40, "159")
    assert seconds(asked(client, interval="1s")) == [minute, minute + 40]


def test_without_a_time_the_last_hour_is_shown(client, minute):
    recorded(minute - 3_700, "150")
    recorded(minute - 3_300, "151")
    assert seconds(asked(client, interval="1s")) == [minute - 3_300]


def test_an_answer_reaches_no_further_back_than_candles_are_kept(client, minute):
    recorded(minute - KEPT_S[Interval.SECOND] - 60, "150")
    recorded(minute, "151")
    assert seconds(asked(client, interval="1s", from_="0001-01-01T00:00:00Z", to="9999-12-31T23:59:59Z")) == [minute]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("interval=5m", "is not an interval"),
        ("interval=", "is empty"),
        ("venue=ORCA", "is not a venue"),
        ("from=yesterday", "is not an RFC 3339 time with a UTC offset"),
        ("to=2026-13-01T00:00:00Z", "is not a valid time"),
        ("to=2026-12-01T00:00:00Z&to=2026-12-02T00:00:00Z", "is given more than once"),
        ("limit=5", "is not a parameter"),
    ],
)
def test_a_parameter_that_is_not_understood_is_refused_by_name(bench, client, query, message):
    answer = client.get(f"/api/candles/{PAIR}?{query}")
    assert answer.status_code == 400
    (field,) = error_of(answer)["fields"]
    assert (field["field"], field["message"]) == (query.partition("=")[0], message)
    assert field["accepted"]


def test_a_pair_that_is_not_there_is_not_found(bench, client):
    answer = asked(client, "SOL-DOGE")
    assert answer.status_code == 404
    assert error_of(answer)["code"] == "not_found"
