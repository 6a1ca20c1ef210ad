"""One shape for every error.

`{"error": {"code", "message", "fields": [{"field", "value", "message", "accepted"}]}}`
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import wraps
from typing import Any

import structlog
from django.core.exceptions import BadRequest, DisallowedHost, PermissionDenied, RequestDataTooBig
from django.db import Error as DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import status
from rest_framework.exceptions import APIException, MethodNotAllowed
from rest_framework.response import Response

from orders.access.callers import Forbidden, Unauthorized
from orders.access.limits import Limited
from orders.flow.batcher import Overloaded
from orders.flow.intake import Conflict
from orders.flow.pauses import Paused
from orders.flow.trading_limits import Rejected
from orders.flow.waiting import Changed, NotResting
from orders.stores.webhooks import TooManyWebhooks
from routing.store import StoreError

log = structlog.get_logger(__name__)

RETRY_AFTER_S = {
    "overloaded": 1,
    "store_unreachable": 2,
    "not_ready": 2,
    "paused": 10,
    "reducing": 10,
    "rate_limited": 5,
    "too_many_open": 60,
    "too_many_sockets": 5,
    "too_many_follows": 5,
}
"""Seconds after which to try again what was answered 429 or 503, by its code."""
SHOWN_MAX = 120
"""Characters of a client's own value that an error repeats."""
FIELDS_MAX = 20
"""Fields one error lists; a client who sends more wrong ones has enough to go on with."""


@dataclass(frozen=True, slots=True)
class Field:
    """What is wrong with one field."""

    field: str
    value: str | None
    message: str
    accepted: str


class Invalid(Exception):
    """The request cannot be understood or honoured; nothing was done."""

    def __init__(self, message: str, fields: Sequence[Field] = (), code: str = "invalid") -> None:
        super().__init__(message)
        self.message, self.fields, self.code = message, tuple(fields), code


class TooSlow(Exception):
    """The body of a request did not come in time; nothing was done."""


KNOWN_ETAG = 'the order\'s ETag, such as "7"'
RESTING_ONLY = "pending; a market order, which never rests, can be cancelled until it is routed"


class Unconditional(Exception):
    """The request would change an order without saying which state of it the client knows."""


def shown(value: object) -> str | None:
    """Repeat a client's value: bounded, and free of what cannot be encoded."""
    if value is None:
        return None
    text = value if isinstance(value, str) else spelled(value)
    return text[:SHOWN_MAX].encode("utf-8", "replace").decode()


def spelled(value: object) -> str:
    """Write a value as JSON does, which is how the client sent it; a decimal keeps its digits."""
    match value:
        case Decimal():
            return str(value)
        case list():
            return f"[{', '.join(map(spelled, value))}]"
        case dict():
            return f"{{{', '.join(f'{spelled(name)}: {spelled(inner)}' for name, inner in value.items())}}}"
    return json.dumps(value, ensure_ascii=False, default=str)


def body(code: str, message: str, fields: Sequence[Field] = ()) -> dict[str, Any]:
    """Build the one error shape."""
    return {"error": {"code": code, "message": message, "fields": [asdict(field) for field in fields[:FIELDS_MAX]]}}


STORE_AWAY = (503, body("store_unreachable", "the order store does not answer; try again in a few seconds"))


def describe(reason: Exception) -> tuple[int, dict[str, Any]] | None:  # noqa: PLR0911 - a table, one line a kind
    """Return status and body for an expected failure, or None for a defect."""
    match reason:
        case Invalid():
            return 400, body(reason.code, reason.message, reason.fields)
        case TooSlow():
            return 408, body("too_slow", str(reason))
        case Conflict() | TooManyWebhooks():
            return 409, conflict(reason)
        case NotResting() | Changed() | Unconditional():
            return unchanged(reason)
        case Unauthorized() | Forbidden() | Limited() | Rejected():
            return kept_out(reason)
        case Overloaded():
            return 503, body("overloaded", "the engine is overloaded; try again in a second")
        case Paused():
            return 503, body(reason.code, str(reason))
        case APIException():
            return reason.status_code, body(code_of(reason), str(reason.detail))
        case Http404():
            return 404, body("not_found", str(reason) or "there is nothing at this address")
        case RequestDataTooBig() | DisallowedHost() | BadRequest():
            return 400, body("bad_request", str(reason) or "the request is malformed")
        case PermissionDenied():
            return 403, body("forbidden", "you may not do this")
        case DatabaseError() | StoreError():
            log.error("store unreachable", reason=repr(reason))
            return STORE_AWAY
    return None


def kept_out(reason: Unauthorized | Forbidden | Limited | Rejected) -> tuple[int, dict[str, Any]]:
    """Say that nobody knows the caller, what it lacks, or which limit it has reached."""
    match reason:
        case Rejected():
            # Which field of the order is beyond the limit, and what the limit allows.
            field = Field(reason.field, reason.value, str(reason), reason.accepted)
            return 422, body(reason.code, str(reason), [field])
        case Unauthorized():
            return 401, body("unauthorized", str(reason))
        case Forbidden():
            return 403, body("forbidden", str(reason))
    return 429, body(reason.code, str(reason))


def answer(reason: Exception) -> tuple[int, dict[str, Any]]:
    """Return status and body for any failure; a defect is logged, and its traceback is not shown."""
    expected = describe(reason)
    if expected is None:
        log.error("request failed", exc_info=reason)
    return expected or (500, DEFECT)


DEFECT = body("internal", "the engine failed on this request; the log has the details")


def headers_of(status: int, error: dict[str, Any]) -> dict[str, str]:
    """Return what goes with an error besides its body."""
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if status == 408:
        return {"Connection": "close"}
    return {"Retry-After": str(RETRY_AFTER_S[error["error"]["code"]])} if status in (429, 503) else {}


def code_of(reason: APIException) -> str:
    """Name a DRF error as DRF does."""
    codes = reason.get_codes()
    if codes == "permission_denied":
        return "forbidden"
    return codes if isinstance(codes, str) else "invalid"


def conflict(reason: Conflict | TooManyWebhooks) -> dict[str, Any]:
    """Say which order holds the client order id, or how many webhooks there are."""
    if isinstance(reason, TooManyWebhooks):
        return body("too_many_webhooks", str(reason))
    accepted = "a new id, or exactly the request that first used this one"
    message = f"already belongs to order {reason.order_id}, which differs from this request"
    return body(
        "client_order_id_taken",
        f"clientOrderId {message}",
        [Field("clientOrderId", reason.client_order_id, message, accepted)],
    )


def unchanged(reason: NotResting | Changed | Unconditional) -> tuple[int, dict[str, Any]]:
    """Say why an order was left as it is."""
    match reason:
        case NotResting():
            message = f"the order is {reason.status}; only a resting order can be cancelled or amended"
            field = Field("status", reason.status, f"is {reason.status}", RESTING_ONLY)
            return 409, body("not_resting", message, [field])
        case Changed():
            message = f"does not match the order's seq, which is {reason.seq}"
            field = Field("If-Match", f'"{reason.known}"', message, f'"{reason.seq}", the order\'s ETag')
            return 412, body("changed", f"If-Match {message}", [field])
    return 428, body(
        "precondition_required", "If-Match is missing", [Field("If-Match", None, "is missing", KNOWN_ETAG)]
    )


def handle(reason: Exception, context: dict[str, Any]) -> Response | None:
    """Answer an exception in a DRF view; a defect goes on to Django, which logs it."""
    expected = describe(reason)
    if expected is None:
        return None
    headers = headers_of(*expected)
    if isinstance(reason, APIException) and getattr(reason, "wait", None):
        headers["Retry-After"] = str(reason.wait)  # type: ignore[attr-defined]
    return Response(expected[1], status=expected[0], headers=headers or None)


View = Callable[..., HttpResponse]


def taking(*methods: str) -> Callable[[View], View]:
    """Let a page take these methods, and refuse the rest in the one error shape."""

    def limited(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method in methods:
                return view(request, *args, **kwargs)
            refusal = MethodNotAllowed(str(request.method))
            told = body(code_of(refusal), str(refusal.detail))
            return JsonResponse(told, status=refusal.status_code, headers={"Allow": ", ".join(methods)})

        return answer

    return limited


def read_only(view: View) -> View:
    """Let a view answer GET and HEAD; it changes nothing, and Django's refusal for want of a token is HTML."""
    return csrf_exempt(taking("GET", "HEAD")(view))


def no_token(request: HttpRequest, reason: str = "") -> JsonResponse:
    """Answer a form or a script that does not show that one of our own pages sent it."""
    return JsonResponse(body("forbidden", f"CSRF: {reason}; reload the page"), status=status.HTTP_403_FORBIDDEN)


def bad_request(request: HttpRequest, exception: Exception) -> JsonResponse:
    """Answer what Django itself refused."""
    message = shown(str(exception)) or "the request is malformed"
    return JsonResponse(body("bad_request", message), status=status.HTTP_400_BAD_REQUEST)


def forbidden(request: HttpRequest, exception: Exception) -> JsonResponse:
    """Answer a refused permission."""
    return JsonResponse(body("forbidden", "you may not do this"), status=status.HTTP_403_FORBIDDEN)


def not_found(request: HttpRequest, exception: Exception) -> JsonResponse:
    """Answer an address that does not exist."""
    return JsonResponse(
        body("not_found", f"there is nothing at {shown(request.path)}"), status=status.HTTP_404_NOT_FOUND
    )


def server_error(request: HttpRequest) -> JsonResponse:
    """Answer what no view expected: a store that went away under the admin, or a defect, whose traceback is logged."""
    reason = sys.exception()
    expected = describe(reason) if isinstance(reason, DatabaseError | StoreError) else None
    told = expected or (500, DEFECT)
    return JsonResponse(told[1], status=told[0], headers=headers_of(*told))
