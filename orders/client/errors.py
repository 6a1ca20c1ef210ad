"""What keeps a request from being done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STOPPED = ("paused", "reducing")
"""The codes of refusals that last until an operator ends them."""
UNAVAILABLE = 503


class ClientError(Exception):
    """The engine did not do it, or nobody knows; the message says why."""


@dataclass(frozen=True, slots=True)
class WrongField:
    """What the engine has against one field."""

    field: str
    value: str | None
    message: str
    accepted: str

    def __str__(self) -> str:
        """Name the field, what it was and what it accepts."""
        return f"{self.field}={self.value!r}; accepted: {self.accepted}"


class Refused(ClientError):
    """The engine did not do it; `status` is the HTTP status, of a socket's refusal the one it stands for.

    `retry_after` is the number of seconds after which the engine says to try again, by the header of the same name: it
    comes with every 429 and 503 over HTTP; otherwise, and from a socket that was open, it is None.
    """

    def __init__(
        self,
        code: str,
        message: str,
        fields: tuple[WrongField, ...] = (),
        status: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__("\n  ".join([f"{code}: {message}", *map(str, fields)]))
        self.code, self.message, self.fields, self.status = code, message, fields, status
        self.retry_after = retry_after

    @property
    def passes(self) -> bool:
        """Tell whether the same request may be accepted in a moment: a store was away, or too much came at once."""
        return self.status == UNAVAILABLE and self.code not in STOPPED


class Unauthorized(Refused):
    """No API key came with the request, or the engine knows no such key (any more); its code is `unauthorized`."""


class Forbidden(Refused):
    """The API key does not allow this; its code is `forbidden`."""


class Unreachable(ClientError):
    """The engine cannot be connected to: nothing was done."""


class AnswerLost(ClientError):
    """The connection broke before the answer: what was asked may have been done."""


class Unreadable(ClientError):
    """Whoever answered does not answer as this engine does."""


class NothingFurther(ClientError):
    """The order ended before the event from which it was to be followed."""


class Unfinished(ClientError):
    """Time ran out before the order was final; the message is the last trouble, empty if there was none."""


NAMED = {401: Unauthorized, 403: Forbidden}
"""The refusals that have a class of their own, by their HTTP status."""


def refusal(error: Any, status: int, headers: Mapping[str, str] | None = None) -> Refused:
    """Read the engine's one error shape, and of the headers that came with it when to try again.

    Raises Unreadable.
    """
    try:
        kind, fields = NAMED.get(status, Refused), tuple(map(wrong, error.get("fields", ())))
        return kind(
            str(error["code"]), str(error["message"]), fields, status, seconds((headers or {}).get("Retry-After"))
        )
    except (KeyError, TypeError, AttributeError):
        raise Unreadable(f"{error!r} is no error as this engine writes it") from None


def seconds(text: str | None) -> float | None:
    """Read Retry-After, which a proxy may have written as a date, or as anything."""
    return float(text) if text and text.isascii() and text.isdigit() else None


def wrong(told: Mapping[str, Any]) -> WrongField:
    """Read what is wrong with one field."""
    return WrongField(told["field"], told["value"], told["message"], told["accepted"])
