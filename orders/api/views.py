"""The API's addresses: each parses, calls one function and answers."""

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engine.money import Token, plain
from engine.quotes import Quote
from orders import intake, live, models, seen
from orders.api import serializers as shape
from orders.api.errors import Field, Invalid, shown
from orders.api.filters import OrderFilter, refuse_unknown
from orders.api.links import links
from orders.api.paging import OrderPages
from orders.intake import Accepted
from routing import quotes
from routing.catalogue import catalogue
from routing.store import StoreError, now_ms, redis

ERRORS = {400: shape.ErrorSerializer, 404: shape.ErrorSerializer, 503: shape.ErrorSerializer}


def links_of(request: Request, order_id: str) -> dict[str, str]:
    """Return an order's addresses for this client."""
    return links(request.scheme or "http", request.get_host(), order_id)


def acknowledgement(accepted: Accepted, addresses: dict[str, str]) -> dict[str, Any]:
    """Build the answer to an accepted order."""
    return {
        "orderId": accepted.order_id,
        "status": accepted.status,
        "createdAt": accepted.created_at,
        "links": addresses,
    }


class Execute(APIView):
    """Places orders.  Plain requests are served by orders/api/fast.py before they get here; both do the same."""

    @extend_schema(
        operation_id="execute_order",
        request=shape.ExecuteSerializer,
        responses={202: shape.AcceptedSerializer, 400: shape.ErrorSerializer, 409: shape.ErrorSerializer, 503: shape.ErrorSerializer},
        parameters=[OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description="The same as clientOrderId.")],
    )
    def post(self, request: Request) -> Response:
        """Place an order; it is committed when this answers."""
        asked = shape.parse(request.data, request.headers.get("Idempotency-Key"))
        (accepted,) = intake.accept([asked])
        return Response(acknowledgement(accepted, links_of(request, accepted.order_id)), status=202)


class Orders(APIView):
    """Lists orders, newest first."""

    @extend_schema(operation_id="list_orders", responses={200: shape.OrderSerializer(many=True), **ERRORS}, filters=True)
    def get(self, request: Request) -> Response:
        """List orders by status, type, pair and time."""
        refuse_unknown(request.query_params)
        chosen = OrderFilter.chosen(request.query_params)
        pages = OrderPages()
        page = pages.paginate_queryset(chosen, request, view=self) or []
        last = seen.last_events([str(row.id) for row in page])
        return pages.get_paginated_response(
            [seen.as_json(row, last.get(str(row.id)), links_of(request, str(row.id))) for row in page]
        )


class OneOrder(APIView):
    """Shows one order."""

    @extend_schema(operation_id="get_order", responses={200: shape.OrderSerializer, **ERRORS})
    def get(self, request: Request, order_id: str) -> Response:
        """Show an order as it stands this moment."""
        row = models.Order.objects.filter(pk=known(order_id)).first()
        if row is None:
            raise Http404(f"there is no order {order_id}")
        last = seen.last_events([str(row.id)]).get(str(row.id))
        return Response(seen.as_json(row, last, links_of(request, str(row.id))))


class OrderEvents(APIView):
    """Shows an order's events."""

    @extend_schema(
        operation_id="get_order_events",
        responses={200: shape.EventsSerializer, **ERRORS},
        parameters=[OpenApiParameter("after", int, description="Only events with a greater seq.")],
    )
    def get(self, request: Request, order_id: str) -> Response:
        """Show what the order's clients have been told, oldest first."""
        refuse_unknown(request.query_params, ("after",))
        found = seen.history(known(order_id), after_of(request.query_params.get("after", "0")))
        if found is None:
            raise Http404(f"there is no order {order_id}")
        return Response({"orderId": order_id, "events": [live.decode(text) for _, text in found.events]})


def known(order_id: str) -> str:
    """Pass a well-formed order id; any other cannot name an order."""
    found = seen.uuid_or_none(order_id)
    if found is None:
        raise Http404(f"there is no order {order_id[:60]}")
    return found


def after_of(text: str) -> int:
    """Read `after`.

    Raises Invalid.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        message = "is not the seq of an event"
        raise Invalid(f"after {message}", [Field("after", shown(text), message, "a whole number, 0 for all")])
    return int(text)


class Quotes(APIView):
    """Shows a pair's quotes."""

    @extend_schema(operation_id="get_quotes", responses={200: shape.QuotesSerializer, **ERRORS})
    def get(self, request: Request, pair: str) -> Response:
        """Show the venues' last quotes and BEST, each with its age."""
        if pair not in catalogue().pairs:
            raise Http404(f"there is no pair {shown(pair)}; GET /api/pairs lists them")
        cached, now = quotes.cached([pair])[pair], now_ms()
        return Response(
            {
                "pair": pair,
                "best": quote_json(cached.best, now) if cached.best else None,
                "fresh": bool(cached.best and cached.best.age(now) <= settings.QUOTE_FRESH_MS),
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

    @extend_schema(operation_id="list_pairs", responses={200: shape.PairSerializer(many=True), 503: shape.ErrorSerializer})
    def get(self, request: Request) -> Response:
        """List the directed pairs an order may name."""
        return Response(
            [
                {"pair": name, "tokenIn": token_json(pair.token_in), "tokenOut": token_json(pair.token_out)}
                for name, pair in sorted(catalogue().active.items())
            ]
        )


def token_json(token: Token) -> dict[str, Any]:
    """Describe a token."""
    return {"symbol": token.symbol, "mint": token.mint, "decimals": token.decimals}


class Health(APIView):
    """Says that the process lives."""

    @extend_schema(operation_id="health", responses={200: dict})
    def get(self, request: Request) -> Response:
        """Answer as long as the process can."""
        return Response({"status": "ok"})


class Ready(APIView):
    """Says whether the process can do its work."""

    @extend_schema(operation_id="readiness", responses={200: dict, 503: dict})
    def get(self, request: Request) -> Response:
        """Try each store; 503 names the one that does not answer."""
        parts = {"postgres": trial(ask_postgres), "redis": trial(ask_redis)}
        ready = all(answer == "ok" for answer in parts.values())
        return Response({"status": "ready" if ready else "not ready", "parts": parts}, status=200 if ready else 503)


def trial(ask: Any) -> str:
    """Return "ok", or why not."""
    try:
        ask()
    except Exception as reason:
        # Whatever the store's client raises is the answer.
        return f"{type(reason).__name__}: {str(reason).strip()[:200]}"
    return "ok"


def ask_postgres() -> None:
    """Run the smallest query that needs the tables."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM orders_order LIMIT 1")


def ask_redis() -> None:
    """Ping; StoreError when it is away."""
    if not redis().ping():
        raise StoreError("no PONG")
