"""A caller's orders as CSV (RFC 4180): all that the filters choose, streamed, a page in memory at a time."""

import csv
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from io import StringIO
from json import dumps
from typing import Any

import structlog
from asgiref.sync import sync_to_async
from django.db import DatabaseError, close_old_connections
from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from engine.lifecycle import Status
from engine.money import PRICE_DIGITS, plain
from engine.quotes import is_purchase
from orders.access.limits import RateLimited
from orders.api.access import caller_of
from orders.api.lanes import AT_END
from orders.models import Order
from orders.stores import order_view

log = structlog.get_logger(__name__)

PAGE = 500
"""Orders that are read at a time."""
CSV = "text/csv"
DISPOSITION = {"Content-Disposition": 'attachment; filename="orders.csv"'}

TERMS = (
    "orderId",
    "clientOrderId",
    "createdAt",
    "updatedAt",
    "type",
    "pair",
    "tokenIn",
    "tokenOut",
    "amount",
    "status",
)
RESTS = ("limitPrice", "maxPrice", "timeInForce", "expiresAt", "slippageBps", "venue", "txHash", "replayOf")
ASKED = {"exactAmountOut": "amountOut"}
"""Columns of terms whose names stand for a fact of the outcome, and their own names."""
OUTCOME = {
    "amountIn": "amountIn",
    "amountOut": "amountOut",
    "executedPrice": "executedPrice",
    "filledSlippageBps": "slippageBps",
    "code": "code",
    "reason": "reason",
    "message": "message",
}
"""Columns of facts of the last event, and their names there."""
FEES = ("venueFee", "venueFeeToken", "networkFeeLamports")
TRADED = ("market", "side", "price", "conditions")
"""Columns as traders speak: base and quote token, buy or sell, what a base token cost in quote tokens, and what a
sniper order waits for, as JSON."""
COLUMNS = (*TERMS, *RESTS, *OUTCOME, *FEES, *ASKED, *TRADED)
NUMBERS = frozenset(
    {
        *("amount", "limitPrice", "maxPrice", "slippageBps", "amountOut", "executedPrice", "filledSlippageBps"),
        *("amountIn", "venueFee", "networkFeeLamports", "exactAmountOut", "price"),
    }
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a text begins that a spreadsheet may take for a formula."""
writing: dict[int, object] = {}
"""The accounts whose exports are being written."""


class Renderer(BaseRenderer):
    """Names the format to content negotiation; `answer` writes it."""

    media_type = CSV
    format = "csv"
    charset = "utf-8"


class ByParameter(DefaultContentNegotiation):
    """Lets `?format=` choose, where a link cannot set `Accept`."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Choose a renderer.

        Raises NotAcceptable.
        """
        asked = request.query_params.get("format")
        named = [(one, one.media_type) for one in renderers if one.format == asked]
        return named[0] if named else super().select_renderer(request, renderers, format_suffix)


def answer(chosen: "QuerySet[Order]", request: Request) -> HttpResponseBase:
    """Answer with these orders, newest first.

    Raises RateLimited.
    """
    kind = f"{CSV}; charset=utf-8; header=present"
    if request.method == "HEAD":
        return HttpResponse(content_type=kind, headers=DISPOSITION)
    take_turn(request)
    return StreamingHttpResponse(written(chosen), content_type=kind, headers=DISPOSITION)


def take_turn(request: Request) -> None:
    """Let an account have one export at a time of this process, so that two slow ones do not keep all others out.

    Raises RateLimited.
    """
    caller, mine, scope = caller_of(request), object(), request._request.scope  # type: ignore[attr-defined] # ASGI's
    at_end = scope[AT_END]
    if writing.setdefault(caller.owner, mine) is not mine:
        raise RateLimited(f"another CSV export of {caller.name}'s account is being written; read it to its end first")
    at_end.callback(writing.pop, caller.owner)


async def written(chosen: "QuerySet[Order]") -> AsyncIterator[str]:
    """Yield the header, then the orders page by page.

    Raises DatabaseError: the answer then ends without its last chunk, so clients see that it is incomplete.
    """
    yield lines([COLUMNS])
    last = None
    try:
        # On the request's own thread, whose connection goes back to the pool while the client reads.
        while found := await sync_to_async(page)(chosen, last):
            last = found[-1]["orderId"]
            yield lines([cells(one) for one in found])
    except DatabaseError as reason:
        log.error("export of orders cut short", after=last, reason=repr(reason))
        raise


def page(chosen: "QuerySet[Order]", last: str | None) -> list[dict[str, Any]]:
    """Return the orders that follow the last one."""
    try:
        older = chosen if last is None else chosen.filter(pk__lt=last)
        return order_view.shown(list(older.order_by("-pk")[:PAGE]), lambda _: {})
    finally:
        close_old_connections()


def cells(order: Mapping[str, Any]) -> list[str]:
    """Return a line's cells."""
    result = order["result"]
    known = {
        **{name: order[name] for name in (*TERMS, *RESTS)},
        **{column: order[term] for column, term in ASKED.items()},
        **{column: result.get(fact) for column, fact in OUTCOME.items()},
        **{name: result.get("fees", {}).get(name) for name in FEES},
        **traded(order),
    }
    return [cell(column, known[column]) for column in COLUMNS]


def traded(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns TRADED."""
    tokens, result = (order["tokenIn"], order["tokenOut"]), order["result"]
    buys = is_purchase(*tokens)
    base, quote = reversed(tokens) if buys else tokens
    paid, got = result.get("amountIn"), result.get("amountOut")
    filled = order["status"] == Status.CONFIRMED and paid and got
    return {
        "market": f"{base}-{quote}",
        "side": "buy" if buys else "sell",
        "price": ratio(paid, got) if filled and buys else result.get("executedPrice"),
        "conditions": dumps(order["trigger"]) if order["trigger"] else None,
    }


def ratio(one: str, other: str) -> Decimal:
    return PRICE_DIGITS.divide(Decimal(one), Decimal(other))


def cell(column: str, value: Any) -> str:
    """Write a value: numbers without an exponent, and no text that a spreadsheet would run as a formula."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if column in NUMBERS:
        return plain(Decimal(value))
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def lines(rows: Sequence[Sequence[str]]) -> str:
    """Write lines."""
    out = StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue()
