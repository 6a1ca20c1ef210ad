"""Price history: the candles of a pair."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from math import ceil
from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engine.events import moment
from engine.money import plain
from orders.api import examples, market
from orders.api.errors import shown
from orders.api.filters import PAIR_SCHEMA, Moment, refuse_unknown
from orders.api.refusals import NO_PAIR, answer, refused, wrong
from orders.api.schema import TIMES, operation
from routing import candles
from routing.candles import BEST, Candle, Interval
from routing.catalogue import catalogue
from routing.store import now_ms

INTERVALS = dict(zip(market.INTERVALS, Interval, strict=True))
SPAN_S = 3_600
"""The span that is answered if `from` is omitted."""
TIME_ACCEPTED = "an RFC 3339 time such as 2026-01-31T12:00:00Z"
ACCEPTED = {
    "from": f"{TIME_ACCEPTED}; an hour before `to` if omitted",
    "to": f"{TIME_ACCEPTED}; now if omitted",
    "interval": f"one of: {', '.join(INTERVALS)}; 1m if omitted",
    "venue": f"one of: {', '.join(market.PRICED)}; {BEST} if omitted",
}
EXAMPLE = {
    "pair": "SOL-USDC",
    "venue": "BEST",
    "interval": "1m",
    "candles": [
        {"at": examples.AT, "open": "154.88", "high": "155.02", "low": "154.71", "close": "154.9", "quotes": 231}
    ],
}

get_candles = operation(
    "get_candles",
    "Show a pair's price history",
    {200: answer(market.Candles, "The candles, oldest first.", {"One minute": EXAMPLE})},
    refused("A parameter is wrong.", wrong("interval", "5m", "is not an interval", ACCEPTED["interval"])),
    NO_PAIR,
    parameters=[
        OpenApiParameter("pair", PAIR_SCHEMA, OpenApiParameter.PATH, description="As `GET /api/pairs` lists them."),
        OpenApiParameter("from", TIMES, description="Candles that begin at or after this time; an hour before `to`."),
        OpenApiParameter("to", TIMES, description="Candles that begin before this time; now if omitted."),
        OpenApiParameter("interval", str, enum=list(INTERVALS), default="1m", description="Length of a candle."),
        OpenApiParameter("venue", str, enum=list(market.PRICED), default=BEST, description="Whose prices."),
    ],
)


class Candles(APIView):
    """Shows a pair's price history."""

    @get_candles
    def get(self, request: Request, pair: str) -> Response:
        """Show the recorded prices less fee, which are recorded whether or not anybody watches.

        Candles of 1 s are kept for 2 hours and those of 1 min for 7 days, so an answer has at most 10,080 candles.  One
        appears within seconds after its interval is over.  An interval without a quote has no candle.
        """
        asked = request.query_params
        refuse_unknown(asked, tuple(ACCEPTED))
        interval = choice(asked, "interval", INTERVALS, "1m")
        venue = choice(asked, "venue", market.PRICED, BEST)
        since, before = span(asked, now_ms() // 1000, INTERVALS[interval])
        if pair not in catalogue().pairs:
            raise Http404(f"there is no pair {shown(pair)}; GET /api/pairs lists them")
        found = candles.read(pair, venue, INTERVALS[interval], since, before)
        return Response(
            {
                "pair": pair,
                "venue": venue,
                "interval": interval,
                "candles": [candle_json(candle) for candle in found],
            }
        )


def choice(asked: Mapping[str, str], name: str, choices: Collection[str], default: str) -> str:
    """Read a parameter that is one of a few words.

    Raises Invalid.
    """
    word = asked.get(name, default)
    if word not in choices:
        article = "an" if name == "interval" else "a"
        raise wrong(name, shown(word), f"is not {article} {name}", ACCEPTED[name])
    return word


def span(asked: Mapping[str, str], now: int, interval: Interval) -> tuple[int, int]:
    """Read the time asked for, in epoch seconds, as far as its candles are kept.

    Raises Invalid.
    """
    given, until = time_of(asked, "from"), time_of(asked, "to")
    before = min(now, until) if until is not None else now
    since = given if given is not None else before - SPAN_S
    return max(since, candles.kept_since(interval, now)), before


def time_of(asked: Mapping[str, str], name: str) -> int | None:
    """Read a time as an epoch second, rounded up; None if it is not given.

    Raises Invalid.
    """
    try:
        given: datetime | None = Moment(required=False).clean(asked.get(name))
    except ValidationError as reason:
        message = reason.messages[0]
        raise wrong(name, shown(asked.get(name)), message, ACCEPTED[name]) from None
    return None if given is None else ceil((given - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())


def candle_json(candle: Candle) -> dict[str, Any]:
    prices = {name: plain(getattr(candle, name)) for name in ("open", "high", "low", "close")}
    return {"at": moment(candle.at * 1000), **prices, "quotes": candle.quotes}
