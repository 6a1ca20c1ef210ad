"""What the health probes answer."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from engine.event_kinds import Value
from orders.api.answers import ErrorBody


class Health(Value, frozen=True):
    """The process lives."""

    status: Literal["ok"]


class Parts(Value, frozen=True):
    """ "ok", or why a part is not well."""

    postgres: Annotated[str, Meta(description="Without it no order can be accepted: 503.")]
    redis: Annotated[str, Meta(description="Without it orders are accepted and wait: 503.")]
    quotes: Annotated[str, Meta(description="Whether every venue quotes; if not, orders may wait: degraded.")]
    workers: Annotated[str, Meta(description="Whether every queue has a live worker; if not: degraded.")]


class Ready(Value, frozen=True):
    """The process can do its work; `degraded` when something that orders can wait for is missing."""

    status: Literal["ready", "degraded"]
    parts: Parts


class NotReady(Value, frozen=True):
    """A store is away; the error names it.  `parts` is absent when there was no time to try them."""

    error: ErrorBody
    parts: Parts | UnsetType = UNSET


ANSWERS = (Health, Ready, NotReady)
