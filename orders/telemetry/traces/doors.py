"""The request that placed an order: the root of its trace."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from uuid import UUID

from opentelemetry.trace import Link, Span, SpanKind, StatusCode, get_current_span

from orders.telemetry.traces.spans import is_chosen, on, root_of, sdk, touch
from orders.telemetry.traces.work import W3C

PLACES_ORDERS = frozenset({"/api/orders/execute", "/api/orders/batch"})


@dataclass(slots=True)
class Door:
    """A request that may place orders: the root span of each order's trace, until it is answered."""

    name: str
    attributes: dict[str, Any]
    links: Sequence[Link] = ()
    is_socket: bool = False
    """A socket's roots end as soon as their orders are accepted: it stays open until the orders have ended."""
    began: int = field(default_factory=time.time_ns)
    roots: list[Span] = field(default_factory=list)
    status: int | None = None
    answered: bool = False
    lock: Lock = field(default_factory=Lock)

    def accepted(self, order_id: str) -> None:
        """Start an order's root, which ends at once if the request has already ended."""
        began = placed_at(order_id) if self.is_socket else self.began
        span = root(self.name, order_id, began, SpanKind.SERVER, self.attributes, self.links)
        with self.lock:
            self.roots.append(span)
            if self.is_socket or self.answered:
                self.end()

    def answer(self, status: int | None) -> None:
        """End the roots; a status of None says that the client had no answer."""
        with self.lock:
            self.status, self.answered = status, True
            self.end()

    def end(self) -> None:
        for span in self.roots:
            if self.status:
                span.set_attribute("http.response.status_code", self.status)
            if self.answered and (self.status or 500) >= 500:
                said = f"answered with {self.status}" if self.status else "the client had no answer"
                span.set_status(StatusCode.ERROR, said)
            span.end()
        self.roots.clear()


def root(
    name: str, order_id: str, began: int, kind: SpanKind, attributes: dict[str, Any], links: Sequence[Link]
) -> Span:
    return sdk().start_root(name, root_of(order_id), began, kind, {**attributes, "order.id": order_id}, links)


def placed_at(order_id: str) -> int:
    """Return when an order's id was made: a version 7 UUID begins with that time (RFC 9562, 5.7)."""
    return min(time.time_ns(), (UUID(order_id).int >> 80) * 1_000_000)


entered: ContextVar[Door | None] = ContextVar("door", default=None)


def door() -> Door | None:
    """Return the request being served in this context, if it is traced."""
    return entered.get()


def sent_by(headers: Iterable[tuple[bytes, bytes]]) -> list[Link]:
    """Return a link to the client's span if it sent one. It cannot be the parent: the order has its own trace id."""
    said = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    found = get_current_span(W3C.extract(said)).get_span_context()
    return [Link(found)] if found.is_valid else []


def entrance(scope: Any) -> Door:
    path, links, (host, port) = scope["path"], sent_by(scope["headers"]), scope.get("server") or ("", 0)
    attributes = {"http.route": path, "url.path": path, "server.address": host, "server.port": port}
    if scope["type"] == "websocket":
        return Door(f"websocket {path}", attributes, links, is_socket=True)
    attributes |= {"http.request.method": scope["method"], "url.scheme": scope["scheme"]}
    attributes["network.protocol.version"] = scope.get("http_version", "")
    return Door(f"{scope['method']} {path}", attributes, links)


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
    for order_id, came_through, replay_of in orders if on() else ():
        touch((order_id,))
        if not is_chosen(order_id):
            continue
        if came_through and not replay_of:
            came_through.accepted(order_id)
        else:
            name, links = ("replay", [Link(root_of(replay_of))]) if replay_of else ("place order", [])
            root(name, order_id, placed_at(order_id), SpanKind.INTERNAL, {}, links).end()
