"""The short way in for the one hot request, POST /api/orders/execute.

Django's handler alone costs more than accepting an order.  This route decodes a plain, correct request itself; whatever
it does not recognise at once, right or wrong, goes on to the documented view with its body.  So the view's serializer
remains the one authority on what is accepted and how a refusal is worded; a property test holds the two together.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import structlog
from django.conf import settings
from django.db import DatabaseError
from django.http.request import split_domain_port, validate_host

from engine.money import BadAmount, to_units
from engine.orders import CLIENT_ORDER_ID_MAX, SLIPPAGE_DEFAULT_BPS, SLIPPAGE_MAX_BPS
from orders.api.errors import describe
from orders.api.links import acknowledgement
from orders.api.serializers import order_from, traded
from orders.aside import aside
from orders.gate import gate
from orders.intake import NewOrder
from routing.catalogue import Catalogue, catalogue

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

EXPECTED = frozenset({b"host", b"content-type"})
"""Headers of a plain request that matter here; each at most once."""
TELLING = EXPECTED | {b"idempotency-key", b"content-encoding"}
"""Headers that change what a request means."""
AMOUNT = re.compile(rb'"?(\d{1,20}(?:\.\d{1,20})?)"?')


class Plain(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A correct request, decoded; the amount is taken as it is written."""

    type: Literal["market"]
    token_in: str
    token_out: str
    amount: msgspec.Raw
    slippage_bps: Annotated[int, msgspec.Meta(ge=0, le=SLIPPAGE_MAX_BPS)] | msgspec.UnsetType = msgspec.UNSET
    client_order_id: (
        Annotated[str, msgspec.Meta(pattern=rf"^[A-Za-z0-9._:\-]{{1,{CLIENT_ORDER_ID_MAX}}}\Z")] | msgspec.UnsetType
    ) = msgspec.UNSET


DECODER = msgspec.json.Decoder(Plain)
ENCODER = msgspec.json.Encoder()


def recognise(body: bytes, known: Catalogue) -> NewOrder | None:
    """Return the order a plain, correct request asks for; None for everything else."""
    # Without escapes a quotation mark is never inside a string, and the marks can be counted below.
    if b"\\" in body:
        return None
    try:
        plain = DECODER.decode(body)
        number = AMOUNT.fullmatch(plain.amount)
        pair = traded(known, plain.token_in, plain.token_out)
        if number is None or isinstance(pair, str) or body.count(b'"') != quotation_marks(plain, number[0]):
            return None
        units = to_units(Decimal(number[1].decode()), pair.token_in)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadAmount, KeyError):
        return None
    slippage_bps = SLIPPAGE_DEFAULT_BPS if plain.slippage_bps is msgspec.UNSET else plain.slippage_bps
    client_order_id = None if plain.client_order_id is msgspec.UNSET else plain.client_order_id
    return order_from(plain.type, pair, units, slippage_bps, client_order_id)


def quotation_marks(plain: Plain, amount: bytes) -> int:
    """Count the marks of a body that names each field once: the decoder would silently take the last of two."""
    four_names_three_texts = 14
    slippage = 0 if plain.slippage_bps is msgspec.UNSET else 2
    client_order_id = 0 if plain.client_order_id is msgspec.UNSET else 4
    return four_names_three_texts + amount.count(b'"') + slippage + client_order_id


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
            accepted = await gate().accept(asked)
        except Exception as reason:
            await answer_failure(reason, send)
            return
        await respond(send, 202, acknowledgement(accepted, scope["scheme"], host))


async def recognised(body: bytes) -> NewOrder | None:
    """Recognise by the catalogue at hand; without one the view says what is the matter."""
    try:
        known = catalogue.recent()
        if known is None:
            known = await aside(catalogue)
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
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


def plain_host(scope: Scope) -> str | None:
    """Return the Host of a request with a JSON body and nothing unusual about it, else None."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in TELLING:
            if name in found or name not in EXPECTED:
                return None
            found[name] = value
    as_json = found.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"application/json"
    host = found.get(b"host", b"").decode("latin-1")
    return host if as_json and host and allowed(host, tuple(settings.ALLOWED_HOSTS)) else None


@lru_cache(maxsize=256)
def allowed(host: str, hosts: tuple[str, ...]) -> bool:
    """Tell whether the engine answers to this host, by Django's own rule."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, hosts)
