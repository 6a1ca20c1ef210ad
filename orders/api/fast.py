"""The short way in for the one hot request, POST /api/orders/execute.

Django's handler alone costs more than accepting an order.  This route decodes a plain, correct request itself; whatever
it does not recognise at once, right or wrong, goes on to the documented view with its body.  So the view's serializer
remains the one authority on what is accepted and how a refusal is worded; a property test holds the two together.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import structlog
from django.conf import settings
from django.db import DatabaseError
from django.http.request import split_domain_port, validate_host

from engine.money import BadAmount, to_units
from engine.orders import CLIENT_ORDER_ID_MAX, SLIPPAGE_DEFAULT_BPS, SLIPPAGE_MAX_BPS, OrderType
from engine.quotes import Pair
from orders.api.errors import describe, headers_of
from orders.api.links import acknowledgement
from orders.api.rules import BadTerm, on_the_tick, traded
from orders.api.serializers import order_from
from orders.flow.batcher import batcher
from orders.flow.intake import NewOrder
from routing.catalogue import Catalogue, catalogue

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

EXPECTED = frozenset({b"host", b"content-type", b"accept"})
"""Headers of a plain request that matter here; each at most once."""
ANY_ANSWER = frozenset({b"", b"*/*", b"application/json", b"application/json, text/plain, */*"})
"""What clients that take JSON put into Accept; whether anything else allows it, the view knows."""
TELLING = EXPECTED | {b"idempotency-key", b"content-encoding"}
"""Headers that change what a request means."""
KNOWN_WITHIN_S = 2.0
"""How long reading the catalogue anew may take."""
NUMBER = re.compile(rb'"?(\d{1,20}(?:\.\d{1,20})?)"?')


class Market(msgspec.Struct, forbid_unknown_fields=True, rename="camel", tag_field="type", tag="market"):
    """A correct request for a market order, decoded; the amount is taken as it is written."""

    MARKS: ClassVar[int] = 14
    """Quotation marks about four names and three texts."""

    token_in: str
    token_out: str
    amount: msgspec.Raw
    slippage_bps: Annotated[int, msgspec.Meta(ge=0, le=SLIPPAGE_MAX_BPS)] | msgspec.UnsetType = msgspec.UNSET
    client_order_id: (
        Annotated[str, msgspec.Meta(pattern=rf"^[A-Za-z0-9._:\-]{{1,{CLIENT_ORDER_ID_MAX}}}\Z")] | msgspec.UnsetType
    ) = msgspec.UNSET

    @property
    def marks(self) -> int:
        """Count the marks of a body that names each field once: the decoder would silently take the last of two."""
        slippage = 0 if self.slippage_bps is msgspec.UNSET else 2
        client_order_id = 0 if self.client_order_id is msgspec.UNSET else 4
        return self.MARKS + bytes(self.amount).count(b'"') + slippage + client_order_id

    def terms(self, pair: Pair) -> dict[str, Any]:
        """Return what the order has beside a market order's fields, by the engine's names: nothing."""
        return {}


class Limit(Market, tag="limit", kw_only=True):
    """A correct request for a limit order that waits until it is cancelled; the price is taken as it is written."""

    MARKS: ClassVar[int] = 16
    """Quotation marks about five names and three texts."""

    limit_price: msgspec.Raw
    time_in_force: Literal["gtc"] | msgspec.UnsetType = msgspec.UNSET

    @property
    def marks(self) -> int:
        """Count the marks of a body that names each field once."""
        time_in_force = 0 if self.time_in_force is msgspec.UNSET else 4
        return super().marks + bytes(self.limit_price).count(b'"') + time_in_force

    def terms(self, pair: Pair) -> dict[str, Any]:
        """Return the price.

        Raises BadTerm, Unusual.
        """
        return {"limit_price": on_the_tick(number(self.limit_price), pair)}


class Unusual(ValueError):
    """Not written as a plain request is; the documented way has the word."""


DECODER = msgspec.json.Decoder(Market | Limit)
ENCODER = msgspec.json.Encoder()


def recognise(body: bytes, known: Catalogue) -> NewOrder | None:
    """Return the order a plain, correct request asks for; None for everything else."""
    # Without escapes a quotation mark is never inside a string, and the marks can be counted.
    if b"\\" in body:
        return None
    try:
        plain = DECODER.decode(body)
        pair = traded(known, plain.token_in, plain.token_out)
        if isinstance(pair, str) or body.count(b'"') != plain.marks:
            return None
        return order_of(plain, pair)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadAmount, BadTerm, Unusual, KeyError):
        return None


def order_of(plain: Market | Limit, pair: Pair) -> NewOrder:
    """Make the order.

    Raises BadAmount, BadTerm, Unusual.
    """
    units = to_units(number(plain.amount), pair.token_in)
    slippage_bps = SLIPPAGE_DEFAULT_BPS if plain.slippage_bps is msgspec.UNSET else plain.slippage_bps
    client_order_id = None if plain.client_order_id is msgspec.UNSET else plain.client_order_id
    kind = OrderType.LIMIT if isinstance(plain, Limit) else OrderType.MARKET
    return order_from(kind, pair, units, slippage_bps, client_order_id, **plain.terms(pair))


def number(written: msgspec.Raw) -> Decimal:
    """Read a number, in quotation marks or not.

    Raises Unusual.
    """
    found = NUMBER.fullmatch(bytes(written))
    if found is None:
        raise Unusual
    return Decimal(found[1].decode())


class Execute:
    """ASGI application for POST /api/orders/execute; `otherwise` serves what it does not recognise."""

    def __init__(self, otherwise: Application) -> None:
        self.otherwise = otherwise

    async def __call__(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Accept the order in `body`, already read, or hand everything on; `receive` yields the body again."""
        host = plain_host(scope)
        asked = host and await recognised(body)
        if not (host and asked):
            await self.otherwise(scope, receive, send)
            return
        try:
            accepted = await batcher().accept(asked)
        except Exception as reason:
            await answer_failure(reason, send)
            return
        await respond(send, 202, acknowledgement(accepted, scope["scheme"], host))


async def recognised(body: bytes) -> NewOrder | None:
    """Recognise by the catalogue at hand; without one the view says what is the matter."""
    try:
        known = catalogue.recent()
        if known is None:
            known = await batcher().beside.run(KNOWN_WITHIN_S, catalogue)
        return recognise(body, known)
    except DatabaseError:
        return None


async def answer_failure(reason: Exception, send: Send) -> None:
    """Answer an expected failure in the one error shape; a defect is logged and answered as one."""
    answer = describe(reason)
    if answer is None:
        log.error("order not accepted", exc_info=reason)
        answer = 500, {"error": {"code": "internal", "message": "the engine failed on this request", "fields": []}}
    await respond(send, *answer)


async def respond(send: Send, status: int, body: Any) -> None:
    """Send a JSON response."""
    payload = ENCODER.encode(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
    if status == 503:
        headers += [(name.lower().encode(), value.encode()) for name, value in headers_of(status, body).items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


def plain_host(scope: Scope) -> str | None:
    """Return the Host of a request with a JSON body and nothing unusual about it, else None."""
    if scope["query_string"]:
        return None
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in TELLING:
            if name in found or name not in EXPECTED:
                return None
            found[name] = value
    as_json = found.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"application/json"
    plain = as_json and found.get(b"accept", b"") in ANY_ANSWER
    host = found.get(b"host", b"").decode("latin-1")
    return host if plain and host and allowed(host, tuple(settings.ALLOWED_HOSTS)) else None


@lru_cache(maxsize=256)
def allowed(host: str, hosts: tuple[str, ...]) -> bool:
    """Tell whether the engine answers to this host, by Django's own rule."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, hosts)
