"""The request that placed an order: the root of its trace."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from uuid import UUID

from orders.telemetry.traces import spans
from orders.telemetry.traces.pieces import touch
from orders.telemetry.traces.records import NOBODY, ROOT, Link, Span
from orders.telemetry.traces.spans import on, trace_of


@dataclass(slots=True)
class Door:
    """A request that may place orders. When it is answered, it becomes the root span of each order's trace."""

    name: str
    attributes: dict[str, Any]
    links: tuple[Link, ...] = ()
    at_once: bool = False
    """Whether an order's root ends when it is accepted: a socket stays open until the order has ended."""
    began: int = field(default_factory=time.time_ns)
    error: str | None = None
    orders: list[str] = field(default_factory=list)
    answered: bool = False
    lock: Lock = field(default_factory=Lock)

    def accepted(self, order_id: str) -> None:
        """Note an order. On a socket, or if the request has already ended, its root is made at once."""
        with self.lock:
            if not (self.at_once or self.answered):
                self.orders.append(order_id)
                return
        self.root(order_id, placed_at(order_id) if self.at_once else self.began)

    def answer(self, status: int | None) -> None:
        """Make the root spans of the request's orders."""
        with self.lock:
            self.answered = True
        if status is not None:
            self.attributes["http.response.status_code"] = status
        if status is None or status >= 500:
            self.error = "the client had no answer" if status is None else f"answered with {status}"
        for order_id in self.orders:
            self.root(order_id, self.began)

    def root(self, order_id: str, began: int) -> None:
        """Make an order's root span."""
        attributes, now = {**self.attributes, "order.id": order_id}, time.time_ns()
        spans.put([order_id], [Span(self.name, "SERVER", ROOT, NOBODY, began, now, attributes, self.error, self.links)])


entered: ContextVar[Door | None] = ContextVar("door", default=None)


def door() -> Door | None:
    """Return the request being served in this context, if it is traced."""
    return entered.get()


def placed_at(order_id: str) -> int:
    """Return when an order's id was made: a version 7 UUID begins with that time (RFC 9562, 5.7)."""
    return min(time.time_ns(), (UUID(order_id).int >> 80) * 1_000_000)


TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
"""The format of W3C Trace Context, level 1."""


def sent_by(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Link, ...]:
    """Return a link to the client's span if it sent one. It cannot be the parent: the order has its own trace id."""
    for name, value in headers:
        found = TRACEPARENT.fullmatch(value.strip()) if name == b"traceparent" else None
        if found and int(found[1], 16) and int(found[2], 16):
            return (Link(int(found[1], 16), int(found[2], 16)),)
    return ()


def entrance(scope: Mapping[str, Any]) -> Door:
    """Make the Door of a request."""
    host, port = scope.get("server") or (None, None)
    attributes = {"http.route": scope["path"], "url.path": scope["path"], "server.address": host, "server.port": port}
    if scope["type"] == "websocket":
        return Door(f"websocket {scope['path']}", attributes, sent_by(scope["headers"]), at_once=True)
    attributes |= {"http.request.method": scope["method"], "url.scheme": scope["scheme"]}
    attributes["network.protocol.version"] = scope.get("http_version")
    return Door(f"{scope['method']} {scope['path']}", attributes, sent_by(scope["headers"]))


PLACES_ORDERS = frozenset({"/api/orders/execute", "/api/orders/batch"})


async def serve(scope: Any, send: Any, serving: Callable[[Any], Any]) -> None:
    """Serve a request that may place orders; `serving` is called with the `send` to use."""
    if not (on() and scope["path"].rstrip("/") in PLACES_ORDERS):
        await serving(send)
        return
    here, status = entrance(scope), None

    async def noting(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        await send(message)

    token = entered.set(here)
    try:
        await serving(noting)
    finally:
        entered.reset(token)
        if scope["type"] == "http":
            here.answer(status)


def accepted(orders: Iterable[tuple[str, Door | None, str | None]]) -> None:
    """Start the traces of new orders, each given with its request and the id of the order it replays."""
    if not on():
        return
    for order_id, came_through, replay_of in orders:
        touch((order_id,))
        if came_through and not replay_of:
            came_through.accepted(order_id)
        else:
            links = (Link(trace_of(replay_of), ROOT),) if replay_of else ()
            at, now = placed_at(order_id), time.time_ns()
            name = "replay" if replay_of else "place order"
            spans.put([order_id], [Span(name, "INTERNAL", ROOT, NOBODY, at, now, {"order.id": order_id}, links=links)])
