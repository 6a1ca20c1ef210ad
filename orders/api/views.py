"""The API's addresses: each parses, calls one function and answers."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from django.db.models import QuerySet
from django.http import Http404
from django.http.response import HttpResponseBase
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engine.lifecycle import Status
from engine.money import Token, plain
from engine.orders import TimeInForce
from engine.quotes import Quote
from orders import models
from orders.access import limits
from orders.api import conditions, operators, order_csv, placing, requests, schema
from orders.api import serializers as shape
from orders.api.access import caller_of
from orders.api.cursors import cursor
from orders.api.description import RestAsJson
from orders.api.errors import shown
from orders.api.filters import EVERY_PAIR, OrderFilter, pair_and_type, refuse_format, refuse_unknown
from orders.api.links import links
from orders.api.paging import OrderPages
from orders.api.parsers import Unread
from orders.flow import waiting
from orders.stores import event_codec, order_view, retired, terms
from routing import quotes
from routing.catalogue import catalogue
from routing.risk_limits import risk_limits
from routing.store import now_ms

log = structlog.get_logger(__name__)


def links_of(request: Request, order_id: str) -> dict[str, str]:
    """Return an order's addresses for this client."""
    return links(request.scheme or "http", request.get_host(), order_id)


class Placing(APIView):
    """Places orders as `orders.api.placing` does; here what it leaves to content negotiation is answered alike."""

    parser_classes = (Unread,)

    def placed(self, request: Request, door: placing.Door) -> Response:
        """Answer through a door.

        Raises what the door raises.
        """
        refuse_unknown(request.query_params, ())
        key = request.headers.get(shape.IDEMPOTENCY_KEY)
        # An empty body is not parsed at all, and has become an object.
        text: Any = request.data or b""
        caller, scheme = caller_of(request), request.scheme or "http"
        status, body, more = async_to_sync(door)(text, key, caller, scheme, request.get_host())
        return Response(body, status=status, headers={**limits.told(caller), **more})


class Execute(Placing):
    """Places an order."""

    @schema.execute_order
    def post(self, request: Request) -> Response:
        """Place an order; it is committed when this answers.

        The same `clientOrderId` with the same body returns the same order, however often it is sent; with another
        body it is refused.  The same JSON as the first message on a WebSocket to this address places the order and
        streams its events there.
        """
        return self.placed(request, placing.execute)


class Batch(Placing):
    """Places many orders at once."""

    @schema.execute_batch
    def post(self, request: Request) -> Response:
        """Place up to 100 orders, each with its own verdict, in the order they came.

        One that is refused does not touch the others.  To send a batch again after its answer was lost, give each
        order a `clientOrderId`: those that were accepted are answered as they stand.
        """
        return self.placed(request, placing.batch)


class Orders(RestAsJson, APIView):
    """Lists orders, newest first, and cancels those of a pair that rest."""

    content_negotiation_class = order_csv.ByParameter
    renderer_classes = (JSONRenderer, order_csv.Renderer)

    def get_renderers(self) -> list[Any]:
        return super().get_renderers()[: 1 if self.request.method == "DELETE" else None]

    @schema.list_orders
    def get(self, request: Request) -> HttpResponseBase:
        """List orders, newest first, by status, type, pair and time.

        Filters go by the archive, which follows within moments; what is shown of each order is as it stands.  An order
        that ended RETENTION_DAYS ago is in no list any more; by its id it is found still.  JSON is a page; CSV is every
        order that the filters choose, without `limit` and `cursor`.
        """
        as_csv = request.accepted_renderer.format == order_csv.Renderer.format
        refuse_unknown(request.query_params)
        refuse_format(request.query_params, as_csv)
        chosen = of_caller(request, OrderFilter.chosen(request.query_params))
        if as_csv:
            return order_csv.answer(chosen, request)
        pages = OrderPages()
        page = pages.paginate_queryset(chosen, request, view=self) or []
        return pages.get_paginated_response(described(request, page))

    @schema.cancel_orders
    def delete(self, request: Request) -> Response:
        """Cancel every order that waits, of a pair or of all: limit and sniper orders, or those of one type."""
        refuse_unknown(request.query_params, ("pair", "type"))
        pair, kind = pair_and_type(request.query_params)
        only_of = caller_of(request).only_of
        done = waiting.cancel_all(None if pair == EVERY_PAIR else pair, kind, only_of)
        if only_of is None:
            operators.record(request, "cancel all orders", pair, f"{done.cancelled} cancelled, {done.lost} lost")
        return Response(
            {"pair": pair, "cancelled": done.cancelled, "lost": done.lost, "complete": done.complete},
        )


class OneOrder(APIView):
    """Shows one order, changes it and cancels it."""

    @schema.get_order
    def get(self, request: Request, order_id: str) -> Response:
        """Show an order as it stands this moment; its ETag is its seq."""
        refuse_unknown(request.query_params, ())
        return standing(request, row_of(request, order_id))

    @schema.amend_order
    def patch(self, request: Request, order_id: str) -> Response:
        """Change a limit or sniper order that rests: price, amount or expiry.

        `If-Match` names the state the change is meant for, by the ETag it was read with; if the order has moved on
        meanwhile, nothing is changed.
        """
        refuse_unknown(request.query_params, ())
        row = row_of(request, order_id)
        seq = conditions.seq_of(request.headers.get("If-Match"))
        changes = requests.amendment(terms.order_of(row), request.data)
        refuse_impatient(row)
        keys = {key for key in (row.api_key, caller_of(request).key) if key is not None}
        waiting.amend(str(row.id), seq, changes, keys)
        return standing(request, row_of(request, order_id))

    @schema.cancel_order
    def delete(self, request: Request, order_id: str) -> Response:
        """Cancel an order that has not begun to execute."""
        refuse_unknown(request.query_params, ())
        row = row_of(request, order_id)
        waiting.cancel(str(row.id))
        if row.owner_id != caller_of(request).owner:
            operators.record(request, "cancel order", row.id, "cancelled")
        # Read again: Postgres has the end, whatever Redis has forgotten since.
        return standing(request, row_of(request, order_id))


def refuse_impatient(row: models.Order) -> None:
    """Refuse to amend an order that is filled at once or not at all: the moment in which it is pending is no rest.

    Raises NotResting.
    """
    if row.time_in_force == TimeInForce.IOC:
        (now,) = order_view.shown([row], lambda _: {})
        raise waiting.NotResting(str(row.id), Status(now["status"]), now["seq"])


def described(request: Request, rows: Sequence[models.Order]) -> list[dict[str, Any]]:
    """Describe orders as they stand."""
    return order_view.shown(rows, lambda order_id: links_of(request, order_id))


def standing(request: Request, row: models.Order) -> Response:
    """Answer with an order as it stands; the ETag is what an amendment must name."""
    (order,) = described(request, [row])
    return Response(order, headers={"ETag": f'"{order["seq"]}"'})


def of_caller(request: Request, orders: "QuerySet[models.Order]") -> "QuerySet[models.Order]":
    """Leave the orders that exist for who asks."""
    owner = caller_of(request).only_of
    return orders if owner is None else orders.filter(owner=owner)


def row_of(request: Request, order_id: str) -> models.Order:
    """Return an order's row, as it was when it is archived.

    Raises Http404, also for an order of another account.
    """
    row = retired.row(known(order_id))
    if row is None or not caller_of(request).sees(row.owner_id):
        raise no_order(order_id)
    return row


class OrderEvents(APIView):
    """Shows an order's events."""

    @schema.get_order_events
    def get(self, request: Request, order_id: str) -> Response:
        """Show what the order's clients have been told, oldest first.

        The same events are streamed by a WebSocket to `/ws/{orderId}`, from the first or past `?after=&epoch=`.
        `rewoundTo` is set where events up to `after` belong to the order no longer, because Redis was lost before they
        were saved: drop those past it; what is listed comes after it.
        """
        refuse_unknown(request.query_params, ("after", "epoch"))
        order_id = known(order_id)
        found = order_view.history(
            order_id, cursor(request.query_params.get("after"), request.query_params.get("epoch"))
        )
        if found is None or not caller_of(request).sees(found.owner):
            raise no_order(order_id)
        rewound = found.rewound.seq if found.rewound else None
        told = [event_codec.load(text) for _, text in found.events]
        return Response({"orderId": order_id, "rewoundTo": rewound, "events": told})


def known(order_id: str) -> str:
    """Pass a well-formed order id, in its one spelling, to the log as well; any other cannot name an order."""
    found = order_view.uuid_or_none(order_id)
    if found is None:
        raise no_order(order_id)
    structlog.contextvars.bind_contextvars(order_id=found)
    return found


def no_order(order_id: str) -> Http404:
    """Say that there is no such order."""
    return Http404(f"there is no order {shown(order_id)}")


class Quotes(APIView):
    """Shows a pair's quotes."""

    @schema.get_quotes
    def get(self, request: Request, pair: str) -> Response:
        """Show the venues' last quotes and BEST, each with its age."""
        refuse_unknown(request.query_params, ())
        if pair not in catalogue().pairs:
            raise Http404(f"there is no pair {shown(pair)}; GET /api/pairs lists them")
        cached, now = quotes.cached([pair])[pair], now_ms()
        return Response(
            {
                "pair": pair,
                "best": quote_json(cached.best, now) if cached.best else None,
                "fresh": bool(cached.best and cached.best.age(now) <= risk_limits.QUOTE_FRESH_MS),
                "quotes": [quote_json(quote, now) for quote in cached.quotes],
            }
        )


def quote_json(quote: Quote, now: int) -> dict[str, Any]:
    """Describe one quote."""
    return {
        "venue": quote.venue,
        "price": plain(quote.price),
        "feeBps": quote.fee_bps,
        "netPrice": plain(quote.net_price),
        "observedAt": datetime.fromtimestamp(quote.observed_at / 1000, UTC),
        "ageMs": quote.age(now),
    }


class Pairs(APIView):
    """Shows what is traded."""

    @schema.list_pairs
    def get(self, request: Request) -> Response:
        """List the directed pairs an order may name."""
        refuse_unknown(request.query_params, ())
        traded = [
            {
                "pair": name,
                "tokenIn": token_json(pair.token_in),
                "tokenOut": token_json(pair.token_out),
                "tick": plain(pair.tick),
            }
            for name, pair in sorted(catalogue().active.items())
        ]
        return Response({"results": traded})


def token_json(token: Token) -> dict[str, Any]:
    """Describe a token."""
    return {"symbol": token.symbol, "mint": token.mint, "decimals": token.decimals}
