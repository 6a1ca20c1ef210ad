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
from django.http.request import split_domain_port, validate_host

from engine.money import BadAmount, to_units
from engine.orders import CLIENT_ORDER_ID_MAX, SLIPPAGE_DEFAULT_BPS, SLIPPAGE_MAX_BPS
from orders.api.errors import describe
from orders.api.links import links
from orders.api.serializers import order_from, traded
from orders.aside import aside
from orders.gate import gate
from orders.intake import Accepted, NewOrder
from routing.catalogue import Catalogue, catalogue

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

AMOUNT = re.compile(rb'"?(\d{1,20}(?:\.\d{1,20})?)"?')


class Plain(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A correct request, decoded; the amount is taken as it is written."""

    type: Literal["market"]
    token_in: str
    token_out: str
    amount: msgspec.Raw
    slippage_bps: Annotated[int, msgspec.Meta(ge=0, le=SLIPPAGE_MAX_BPS)] = SLIPPAGE_DEFAULT_BPS
    client_order_id: (
        Annotated[str, msgspec.Meta(pattern=rf"^[A-Za-z0-9._:\-]{{1,{CLIENT_ORDER_ID_MAX}}}\Z")] | msgspec.UnsetType
    ) = msgspec.UNSET


DECODER = msgspec.json.Decoder(Plain)
ENCODER = msgspec.json.Encoder()


def recognise(body: bytes, known: Catalogue) -> NewOrder | None:
    """Return the order a plain, correct request asks for; None for everything else."""
    try:
        plain = DECODER.decode(body)
        number = AMOUNT.fullmatch(plain.amount)
        pair = traded(known, plain.token_in, plain.token_out)
        if number is None or isinstance(pair, str):
            return None
        units = to_units(Decimal(number[1].decode()), pair.token_in)
    except (msgspec.DecodeError, msgspec.ValidationError, BadAmount, KeyError, UnicodeDecodeError):
        return None
    client_order_id = None if plain.client_order_id is msgspec.UNSET else plain.client_order_id
    return order_from(plain.type, pair, units, plain.slippage_bps, client_order_id)


class Execute:
    """ASGI application for POST /api/orders/execute; `otherwise` serves what it does not recognise."""

    def __init__(self, otherwise: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.otherwise = otherwise

    async def __call__(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Accept the order in `body`, already read, or hand everything on; `receive` yields the body again."""
        host = plain_host(scope)
        try:
            asked = recognise(body, catalogue.recent() or await aside(catalogue)) if host else None
            if asked is None or host is None:
                await self.otherwise(scope, receive, send)
                return
            accepted = await gate().accept(asked)
        except Exception as reason:
            await answer_failure(reason, send)
            return
        await respond(send, 202, acknowledgement(accepted, scope["scheme"], host))


def acknowledgement(accepted: Accepted, scheme: str, host: str) -> dict[str, Any]:
    """Build the answer to an accepted order."""
    return {
        "orderId": accepted.order_id,
        "status": accepted.status,
        "createdAt": accepted.created_at,
        "links": links(scheme, host, accepted.order_id),
    }


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
    host = None
    as_json = False
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"content-type":
            as_json = value.partition(b";")[0].strip().lower() == b"application/json"
        elif name in (b"idempotency-key", b"content-encoding"):
            return None
    return host if as_json and host and allowed(host) else None


@lru_cache(maxsize=256)
def allowed(host: str) -> bool:
    """Tell whether the engine answers to this host, by Django's own rule."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
