"""What an account has of each token."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engine.money import Token, plain, shown
from orders.access.callers import Caller, Scope
from orders.api import errors, market
from orders.api.access import caller_of
from orders.api.filters import refuse_unknown
from orders.api.refusals import answer, refused, wrong
from orders.api.schema import operation
from orders.stores import balances
from orders.stores.balances import Balance
from routing import dollars
from routing.catalogue import Catalogue, catalogue

EXAMPLE = {
    "results": [
        {"token": "SOL", "total": "40", "reserved": "27.5", "available": "12.5", "value": "6200"},
        {"token": "USDC", "total": "1250.4", "reserved": "0", "available": "1250.4", "value": "1250.4"},
    ]
}
USER_NAME = {"type": "string", "pattern": "^[A-Za-z0-9_.@+-]{1,150}$"}
NO_USER = "there is no user {}; `manage.py balances` lists those that have traded"
OWNER = OpenApiParameter("owner", USER_NAME, description="Another user's name: scope `admin`. Yours if omitted.")

get_balances = operation(
    "get_balances",
    "Show what an account has",
    {200: answer(market.Balances, "Every token of an active pair, and what else the account has traded.",
                 {"Two tokens": EXAMPLE})},
    refused("A parameter is wrong.", wrong("owner", "", "is empty", "a value, or omit the parameter")),
    refused("There is no such user.", Http404(NO_USER.format("nobody"))),
    parameters=[OWNER],
)  # fmt: skip


class Balances(APIView):
    """Shows what an account has."""

    @get_balances
    def get(self, request: Request) -> Response:
        """Show, of each token, what the account has and what its open orders reserve.

        An order reserves its amount in the transaction that accepts it, and gives it back when it ends without a fill.
        A fill moves both balances in the transaction that records that it landed.  Empty where the engine keeps none.
        """
        refuse_unknown(request.query_params, ("owner",))
        if not settings.ENGINE_BALANCES:
            return Response({"results": []})
        owner = owner_of(caller_of(request), request.query_params.get("owner"))
        known = catalogue()
        found = balances.of(owner, sorted({*known.symbols(), *balances.used_by(owner)}))
        prices = dollars.prices(found)
        return Response({"results": [row(one, known, prices) for one in found.values()]})


def owner_of(caller: Caller, name: str | None) -> int:
    """Return the account that is asked about.

    Raises Forbidden, Http404.
    """
    if name is None or name == caller.name:
        return caller.owner
    caller.require(Scope.ADMIN)
    found: int | None = get_user_model().objects.filter(username=name).values_list("pk", flat=True).first()
    if found is None:
        raise Http404(NO_USER.format(errors.shown(name)))
    return found


def token_of(known: Catalogue, symbol: str) -> Token:
    """Return a token; one that is not listed yet has no decimals: its amounts are its smallest units."""
    return known.tokens.get(symbol) or Token(symbol, symbol, 0, listed=False)


def row(one: Balance, known: Catalogue, prices: Mapping[str, Decimal]) -> dict[str, Any]:
    token = token_of(known, one.token)
    price = prices.get(one.token)
    return {
        "token": one.token,
        "total": shown(one.total, token),
        "reserved": shown(one.reserved, token),
        "available": shown(one.available, token),
        "value": plain(dollars.worth(one.total, token, price)) if price is not None else None,
    }
