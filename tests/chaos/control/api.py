"""The control's API: the part of the engine's that the clients of a run use."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import psycopg

from tests.chaos.control import book, market
from tests.chaos.control.sockets import serve
from tests.chaos.control.tasks import execute

TICKS = {"SOL-USDC": "0.01", "USDC-SOL": "0.0000001"}
RESTING = "SELECT * FROM orders_order WHERE status = 'pending' AND type <> 'market' AND pair = %s"
Answer = tuple[int, Any]
Asgi = Callable[..., Awaitable[Any]]


async def application(scope: dict[str, Any], receive: Asgi, send: Asgi) -> None:
    """Answer one request, or serve one socket."""
    if scope["type"] == "websocket":
        await serve(scope, receive, send)
    elif scope["type"] == "http":
        body = b""
        while (message := await receive()).get("more_body") or message.get("body"):
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = await asyncio.to_thread(answered, scope, body)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def answered(scope: dict[str, Any], body: bytes) -> Answer:
    """Find who answers, and have it answered; a store that is away is a 503."""
    for method, path, answer in ROUTES:
        found = re.fullmatch(path, scope["path"])
        if found and scope["method"] == method:
            try:
                return answer(scope, body, *found.groups())
            except KeyError:
                return 404, {"error": {"code": "not_found"}}
            except Exception as reason:
                return 503, {"error": {"code": "store_unreachable", "message": repr(reason)}}
    return 404, {"error": {"code": "not_found"}}


def place(scope: dict[str, Any], body: bytes) -> Answer:
    """Accept an order: save it, then have a worker execute it."""
    asked = json.loads(body)
    known = book.named(asked["clientOrderId"])
    if known:
        return 202, {"orderId": str(known["id"])}
    try:
        order_id = book.create(asked)
    except psycopg.errors.UniqueViolation:
        return place(scope, body)
    if asked["type"] == "market":
        execute.delay(order_id)
    return 202, {"orderId": order_id}


def cancel(scope: dict[str, Any], body: bytes, order_id: str) -> Answer:
    """Cancel an order that is pending."""
    if book.move(order_id, "cancelled", {"reason": "cancelled by the client"}, only_from=("pending",)) is None:
        return 409, {"error": {"code": "not_resting"}}
    return 200, book.shown(book.load(order_id))


def cancel_pair(scope: dict[str, Any], body: bytes) -> Answer:
    """Cancel every order of a pair that waits."""
    (pair,) = parse_qs(scope["query_string"].decode())["pair"]
    why = {"reason": "all of the pair cancelled by the client"}
    orders = [str(order["id"]) for order in book.sql(RESTING, pair)]
    done = sum(book.move(order_id, "cancelled", why, only_from=("pending",)) is not None for order_id in orders)
    return 200, {"pair": pair, "cancelled": done, "lost": len(orders) - done, "complete": True}


def amend(scope: dict[str, Any], body: bytes, order_id: str) -> Answer:
    """Change an order that is pending and has not moved on."""
    known = dict(scope["headers"])[b"if-match"].decode().strip('"')
    if book.amend(order_id, int(known), json.loads(body)):
        return 200, book.shown(book.load(order_id))
    if book.load(order_id)["status"] != "pending":
        return 409, {"error": {"code": "not_resting"}}
    return 412, {"error": {"code": "changed"}}


def quotes(scope: dict[str, Any], body: bytes, pair: str) -> Answer:
    """Say what a pair is worth."""
    return 200, {"best": {"netPrice": f"{float(market.price(pair)):.9f}", "ageMs": 0}}


ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("POST", "/api/orders/execute", place),
    (
        "GET",
        "/api/pairs",
        lambda scope, body: (200, {"results": [{"pair": name, "tick": tick} for name, tick in TICKS.items()]}),
    ),
    ("GET", "/api/quotes/(.+)", quotes),
    ("DELETE", "/api/orders", cancel_pair),
    ("DELETE", "/api/orders/([^/]+)", cancel),
    ("PATCH", "/api/orders/([^/]+)", amend),
    ("GET", "/api/orders/([^/]+)", lambda scope, body, order_id: (200, book.shown(book.load(order_id)))),
    (
        "GET",
        "/api/orders/([^/]+)/events",
        lambda scope, body, order_id: (200, {"orderId": order_id, "events": book.events(order_id)}),
    ),
]
