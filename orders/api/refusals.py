"""How refusals are described: each by what the API itself answers."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import DisallowedHost
from django.http import Http404
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from msgspec import Struct
from rest_framework.exceptions import NotAcceptable, UnsupportedMediaType

from engine.lifecycle import Status
from engine.money import Token
from engine.quotes import Pair
from orders.access import keys
from orders.access.callers import Forbidden, Unauthorized
from orders.access.limits import RateLimited, TooManyOpen
from orders.api import answers as read
from orders.api import examples
from orders.api import serializers as sent
from orders.api.components import reference
from orders.api.errors import STORE_AWAY, Field, Invalid, Unconditional, describe
from orders.api.filters import ACCEPTED, CANCELLED_PAIR
from orders.api.parsers import BODY_MAX
from orders.flow.batcher import Overloaded
from orders.flow.intake import Conflict
from orders.flow.pauses import Paused, Stop
from orders.flow.trading_limits import Rejected
from orders.flow.waiting import Changed, NotResting
from orders.models import PauseState, Scope

Responses = Mapping[Any, Any]
NONE: Mapping[str, Any] = {}


def answer(kind: type[Struct], said: str = "", values: Mapping[str, Any] = NONE) -> OpenApiResponse:
    """Describe an answer by examples, each with its name."""
    examples = [OpenApiExample(name, value) for name, value in values.items()]
    return OpenApiResponse(reference(kind.__name__), said, examples)


def refused(said: str, *reasons: Exception | tuple[int, Any]) -> Responses:
    """Describe an error answer by what these reasons, all of one status, are answered with."""
    answers = [one for reason in reasons if (one := describe(reason) if isinstance(reason, Exception) else reason)]
    (status,) = {status for status, _ in answers}
    return {status: answer(read.Error, said, {error["error"]["code"]: error for _, error in answers})}


def wrong(name: str, value: str | None, message: str, accepted: str) -> Invalid:
    """Make the error of one wrong field."""
    return Invalid(f"{name} {message}", [Field(name, value, message, accepted)])


WRONG_AMOUNT = wrong("amount", "-1", "must be greater than zero", sent.ACCEPTED["amount"])
BAD_PARAMETER = refused("A parameter is wrong.", wrong("limit", "0", "is not accepted", ACCEPTED["limit"]))
TICKS = "is not on the tick of 0.01; the nearest are 158.50 and 158.51"
OFF_TICK = refused(
    "The request is wrong; nothing was changed.", wrong("limitPrice", "158.505", TICKS, sent.ACCEPTED["limitPrice"])
)
NO_PAIR_NAMED = refused(
    "A parameter is wrong; nothing was cancelled.", wrong("pair", None, "is missing", CANCELLED_PAIR)
)
BAD_BATCH = refused(
    "The batch is wrong as a whole; nothing was done.", wrong("orders", "[]", f"must be {sent.BATCH}", sent.BATCH)
)
NO_ORDER = refused("There is no such order.", Http404(f"there is no order {examples.ORDER_ID}"))
NO_PAIR = refused("There is no such pair.", Http404("there is no pair SOL-DOGE; GET /api/pairs lists them"))
TAKEN = refused("The clientOrderId belongs to a different order.", Conflict("rebalance-2026-11-22", examples.ORDER_ID))
NOT_RESTING = refused("The order is not resting; nothing was done.", NotResting(examples.ORDER_ID, Status.CONFIRMED, 8))
CHANGED = refused("The order has changed since; nothing was changed.", Changed(examples.ORDER_ID, 8, 7))
UNCONDITIONAL = refused("If-Match is missing; nothing was changed.", Unconditional())
MEDIA_TYPE = refused("The body is not declared as application/json.", UnsupportedMediaType("text/plain"))
INVALID = refused(
    "The request is wrong; nothing was done.",
    WRONG_AMOUNT,
    Invalid("the body is not JSON: Expecting value: line 1 column 1 (char 0)", code="not_json"),
    Invalid(f"the body is larger than {BODY_MAX} bytes", code="too_large"),
)
AWAY = refused("A store is unavailable, or the engine is overloaded.", STORE_AWAY, Overloaded())
PURCHASE = Pair(Token("USDC", "USDC", 6), Token("SOL", "SOL", 9))
STOPPED = refused(
    "A store is unavailable, the engine is overloaded, or an operator has stopped trading; nothing was done.",
    STORE_AWAY,
    Overloaded(),
    Paused(Stop(Scope.PAIR, "USDC-SOL", PauseState.PAUSED, "a venue is being upgraded"), PURCHASE),
    Paused(Stop(Scope.EVERYTHING, "", PauseState.REDUCING, "positions are being closed"), PURCHASE),
)
NOT_FOR_US = refused(
    "The request is malformed, for example an unknown Host.",
    DisallowedHost("Invalid HTTP_HOST header: 'elsewhere'. You may need to add 'elsewhere' to ALLOWED_HOSTS."),
)
LIMITED = refused(
    "A limit of the key is reached; nothing was done.",
    RateLimited("the key reporting may place 600 orders per minute"),
    TooManyOpen("10000 orders of this account rest, of at most 10000; cancel some"),
)
EXPORTING = refused(
    "As CSV: another export of the account is being written; nothing was done.",
    RateLimited("another CSV export of reporting's account is being written; read it to its end first"),
)
REJECTED = refused(
    "The order is beyond a trading limit or the account's balance; nothing was done.",
    Rejected(
        "rejected_day_value",
        "the order is worth 3,132.00 USD, and of the 50,000.00 USD that user reporting may trade on 2026-11-28 (UTC) "
        "1,250.00 USD are left",
        *("amount", "3,132.00 USD", "at most 1,250.00 USD today"),
    ),
    Rejected(
        "insufficient_balance",
        "the order needs 20 SOL; 12.5 SOL of 40 SOL are available, 27.5 SOL are reserved by open orders",
        *("amount", "20 SOL", "at most 12.5 SOL"),
    ),
)
UNKNOWN = {
    **refused("Nobody knows who asks.", Unauthorized(keys.SEND_A_KEY)),
    **refused("The caller lacks a scope.", Forbidden("this needs the scope trade; the key reporting has: read")),
}
NOT_ACCEPTABLE = refused("Accept excludes JSON.", NotAcceptable())
