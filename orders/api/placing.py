"""The one way in: every door that places orders calls `accepted`, or `execute` and `batch` with the answer's wording.

Django's handler alone costs more than accepting an order.  So requests with ordinary headers are answered here, right
or wrong; those that need Django's content negotiation go on to the documented views, which call the same functions.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from orders.access import keys, limits
from orders.access.callers import Caller, Scope, Unauthorized
from orders.api import http
from orders.api.decoder import DECODED_WITHIN_S, Given, Split, decoder, one
from orders.api.errors import FIELDS_MAX, Field, Invalid, describe, shown
from orders.api.http import Application, Receive, Send, refuse, respond
from orders.api.links import acknowledgement
from orders.api.serializers import BATCH, IDEMPOTENCY_KEY, ORDERS_MAX
from orders.flow import intake
from orders.flow.batcher import Overloaded, Verdict, batcher
from orders.flow.intake import Accepted, Conflict, NewOrder
from orders.flow.pauses import Paused
from orders.flow.trading_limits import Rejected

Answer = tuple[int, dict[str, Any], Mapping[str, str]]
"""Status, body and headers of its own."""
REPLAYED = {"Idempotency-Replayed": "true"}
"""Says that the order, or every accepted one of a batch, stood before this request."""
Door = Callable[[bytes, str | None, Caller, str, str], Awaitable[Answer]]
"""Answers a body, an Idempotency-Key, who asks, and the scheme and host for the links."""


async def placed(text: bytes | str, key: str | None, caller: Caller, split: Split) -> Sequence[Verdict]:
    """Place the orders of a request; return what became of each, in their sequence.

    Raises what refuses the request as a whole.
    """
    caller.require(Scope.TRADE)
    decoded = await decoder.decode(text, key, split, caller.owner)
    decoded = [replace(asked, key=caller.key) if isinstance(asked, NewOrder) else asked for asked in decoded]
    new = [asked for asked in decoded if isinstance(asked, NewOrder)]
    try:
        counted_at = await limits.spend(caller, [asked.order for asked in new])
    except limits.Limited as full:
        verdicts = iter(await repeated(new, full))
    else:
        found = await batcher().accept(new)
        uncount(caller, counted_at, new, found)
        verdicts = iter(found)
    return [next(verdicts) if isinstance(asked, NewOrder) else asked for asked in decoded]


def uncount(caller: Caller, counted_at: float | None, asked: Sequence[NewOrder], found: Sequence[Verdict]) -> None:
    """Give back what repeats and refused orders were counted for; an order whose outcome is unknown stays counted."""
    repeats = [isinstance(one, Accepted) and one.repeat for one in found]
    refused = [isinstance(one, Conflict | Paused | Rejected | Overloaded) for one in found]
    spare = (new.order for new, *why in zip(asked, repeats, refused, strict=True) if any(why))
    limits.give_back(caller, counted_at, repeats=sum(repeats), not_resting=sum(order.waits for order in spare))


async def repeated(asked: Sequence[NewOrder], full: Exception) -> list[Verdict]:
    """Answer those that stand already; the others are beyond the limit.

    Raises `full` if it is the answer to all of them.
    """
    with_name = [one for one in asked if one.order.client_order_id]
    there = await batcher().beside.run(DECODED_WITHIN_S, intake.standing, with_name)
    if not there:
        raise full
    return [there.get(one.order.id, full) for one in asked]


async def accepted(text: bytes | str, key: str | None, caller: Caller) -> Accepted:
    """Place one order.

    Raises what keeps it out, as `orders.api.errors.answer` words it.
    """
    (outcome,) = await placed(text, key, caller, one)
    if isinstance(outcome, Exception):
        try:
            raise outcome
        finally:
            del outcome  # else a cycle with its own traceback: under overload there are thousands of them
    return outcome


async def execute(text: bytes, key: str | None, caller: Caller, scheme: str, host: str) -> Answer:
    """Place one order and say where it is."""
    found = await accepted(text, key, caller)
    return 202, acknowledgement(found, scheme, host), REPLAYED if found.repeat else http.NONE


async def batch(text: bytes, key: str | None, caller: Caller, scheme: str, host: str) -> Answer:
    """Place many orders, each with its own verdict.

    Raises what keeps all of them out for now, so that it is answered as for one: with the time to try again.
    """
    outcomes = await placed(text, key, caller, many)
    results = [verdict(outcome, scheme, host) for outcome in outcomes]
    if isinstance(outcomes[0], Exception) and all(result["status"] == 503 for result in results):
        raise outcomes[0]
    count = sum(result["status"] == 202 for result in results)
    anew = [outcome for outcome in outcomes if isinstance(outcome, Accepted) and not outcome.repeat]
    replayed = REPLAYED if count and not anew else http.NONE
    return 200, {"results": results, "accepted": count, "refused": len(results) - count}, replayed


def many(data: Any, key: str | None) -> Sequence[Given]:
    """Find the orders of a batch.

    Raises Invalid.
    """
    if not isinstance(data, Mapping):
        raise Invalid("the body must be a JSON object")
    wrong = [Field(shown(n) or "", shown(data[n]), "is not a field of a batch", "only orders") for n in data]
    wrong = [field for field in wrong if field.field != "orders"]
    if key is not None:
        message = "does not apply to a batch"
        wrong.append(Field(IDEMPOTENCY_KEY, shown(key), message, "a clientOrderId in each order"))
    orders = data.get("orders")
    if not isinstance(orders, list) or not 1 <= len(orders) <= ORDERS_MAX:
        message = f"must be {BATCH}" if "orders" in data else "is missing"
        wrong.append(Field("orders", shown(orders), message, BATCH))
    if wrong:
        raise Invalid("; ".join(f"{field.field} {field.message}" for field in wrong[:FIELDS_MAX]), wrong)
    return [(order, None) for order in orders or ()]


def verdict(outcome: Verdict, scheme: str, host: str) -> dict[str, Any]:
    """Word what became of one order as it would be answered alone.

    Raises a defect: the client cannot know what became of any.
    """
    if isinstance(outcome, Accepted):
        return {"status": 202, "order": acknowledgement(outcome, scheme, host)}
    expected = describe(outcome)
    if expected is None:
        raise outcome
    status, error = expected
    return {"status": status, **error}


DOORS: dict[str, Door] = {"/api/orders/execute": execute, "/api/orders/batch": batch}

ORDINARY = frozenset({b"host", b"content-type", b"accept", b"idempotency-key", b"authorization"})
"""Headers of an ordinary request that matter here; each at most once."""
ANY_ANSWER = frozenset({b"", b"*/*", b"application/json", b"application/json, text/plain, */*"})
"""What clients that take JSON put into Accept; whether anything else allows it, Django knows."""
TELLING = ORDINARY | {b"content-encoding", b"cookie"}
"""Headers that change what a request means.  Those of a page, which has no key but a session, are Django's."""


class Placing:
    """ASGI application for POST to DOORS; `otherwise` serves requests with unusual headers."""

    def __init__(self, otherwise: Application) -> None:
        self.otherwise = otherwise

    async def __call__(self, scope: http.Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Answer a request whose body has been read, or hand everything on; `receive` yields the body again."""
        found = ordinary(scope)
        if found is None:
            await self.otherwise(scope, receive, send)
            return
        host, key, authorization = found
        try:
            if authorization is None:
                raise Unauthorized(keys.SEND_A_KEY)
            caller = await keys.caller_soon(authorization)
            status, answer, more = await DOORS[scope["path"]](body, key, caller, scope["scheme"], host)
        except Exception as reason:
            await refuse(send, reason)
            return
        await respond(send, status, answer, {**limits.told(caller), **more})


def ordinary(scope: http.Scope) -> tuple[str, str | None, str | None] | None:
    """Return Host, Idempotency-Key and Authorization of a request with a JSON body and nothing unusual about it."""
    if scope["query_string"]:
        return None
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in TELLING:
            if name in found or name not in ORDINARY:
                return None
            found[name] = value
    as_json = found.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"application/json"
    plain = as_json and found.get(b"accept", b"") in ANY_ANSWER
    host = found.get(b"host", b"").decode("latin-1")
    if not (plain and host and allowed(host, tuple(settings.ALLOWED_HOSTS))):
        return None
    key, authorization = (
        None if value is None else value.decode("latin-1")
        for value in (found.get(b"idempotency-key"), found.get(b"authorization"))
    )
    return host, key, authorization


@lru_cache(maxsize=256)
def allowed(host: str, hosts: tuple[str, ...]) -> bool:
    """Tell whether the engine answers to this host, by Django's own rule."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, hosts)
