"""What an account's fills have come to, market by market: position, average cost, results, fees and shortfall."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engine.money import BPS, MATHS, from_units, plain, price_of, shown
from orders.api import market
from orders.api.access import caller_of
from orders.api.balances import NO_USER, OWNER, owner_of, token_of
from orders.api.filters import refuse_unknown
from orders.api.refusals import answer, refused, wrong
from orders.api.schema import operation
from orders.stores import positions
from orders.stores.positions import Position
from routing import quotes
from routing.catalogue import Catalogue, catalogue
from routing.risk_limits import risk_limits
from routing.store import StoreError, now_ms

EXAMPLE = {
    "results": [
        {
            "token": "SOL", "quoteToken": "USDC", "amount": "2", "averageCost": "120", "cost": "240", "price": "150.25",
            "value": "300.5", "unrealised": "60.5", "realised": "30", "bought": "3", "spent": "360", "sold": "1",
            "received": "150", "uncosted": "0", "fees": "1.275", "shortfall": "0.51", "shortfallBps": "10",
        }
    ]
}  # fmt: skip

get_positions = operation(
    "get_positions",
    "Show what an account's fills have come to",
    {200: answer(market.Positions, "Every market that the account has had a fill in.", {"One market": EXAMPLE})},
    refused("A parameter is wrong.", wrong("owner", "", "is empty", "a value, or omit the parameter")),
    refused("There is no such user.", Http404(NO_USER.format("nobody"))),
    parameters=[OWNER],
)


class Positions(APIView):
    """Shows what an account's fills have come to."""

    @get_positions
    def get(self, request: Request) -> Response:
        """Show, of each market, what is held by its fills, at what average cost, and what the rest has made.

        Purchases move the average cost; a sale realises its proceeds less its share of the cost.  What is sold beyond
        what was bought here has no known cost and makes no result: it is `uncosted`.  All is exact and follows from the
        fills on record; a fill counts in the transaction that records that it landed.  The venues' fees are in all
        figures, the network's, which the engine pays, are in none.
        """
        refuse_unknown(request.query_params, ("owner",))
        found = positions.of(owner_of(caller_of(request), request.query_params.get("owner")))
        prices = fresh_prices([f"{one.base}-{one.quote}" for one in found])
        known = catalogue()
        return Response({"results": [row(one, known, prices.get(f"{one.base}-{one.quote}")) for one in found]})


def fresh_prices(pairs: Sequence[str]) -> Mapping[str, Decimal]:
    """Return what a sale gets per token now, after the venue's fee, for pairs whose BEST is fresh."""
    try:
        entries, now = quotes.cached(pairs), now_ms()
    except StoreError:
        return {}
    bests = {pair: entry.best for pair, entry in entries.items()}
    return {
        pair: best.net_price
        for pair, best in bests.items()
        if best is not None and best.age(now) <= risk_limits.QUOTE_FRESH_MS
    }


def row(one: Position, known: Catalogue, price: Decimal | None) -> dict[str, Any]:
    base, quote = token_of(known, one.base), token_of(known, one.quote)
    value = None if price is None else int(MATHS.multiply(from_units(one.held, base), price).scaleb(quote.decimals))
    return {
        "token": one.base,
        "quoteToken": one.quote,
        "amount": shown(one.held, base),
        "averageCost": plain(price_of(one.held, one.cost, base, quote)) if one.held else None,
        "price": None if price is None else plain(price),
        "value": None if value is None else shown(value, quote),
        "unrealised": None if value is None else shown(value - one.cost, quote),
        "shortfallBps": bps(one.shortfall, one.quoted),
        **{name: shown(getattr(one, name), base) for name in ("bought", "sold", "uncosted")},
        **{
            name: shown(getattr(one, name), quote)
            for name in ("cost", "realised", "spent", "received", "fees", "shortfall")
        },
    }


def bps(part: int, whole: int) -> str | None:
    if not whole:
        return None
    return plain(MATHS.divide(Decimal(part * BPS), Decimal(whole)).quantize(Decimal("0.01")))
