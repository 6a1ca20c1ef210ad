"""The records of spans, independent of the OpenTelemetry SDK."""

from collections.abc import Mapping
from typing import Any, NamedTuple

ROOT = 0
"""As a span's id or parent: the root span of the order's trace that it is in."""
NOBODY = -1
"""As a parent: none, because the span is the root."""


class Link(NamedTuple):
    """A link to a span of this or another trace: ids of 128 and 64 bits; ROOT is the root of that trace."""

    trace: int
    span: int


class Told(NamedTuple):
    """An event within a span."""

    name: str
    at: int
    facts: Mapping[str, Any]


class Span(NamedTuple):
    """One span, finished; times are epoch nanoseconds."""

    name: str
    kind: str
    id: int
    parent: int
    began: int
    ended: int
    attributes: Mapping[str, Any]
    error: str | None = None
    """What went wrong; empty for success, None for neither."""
    links: tuple[Link, ...] = ()
    events: tuple[Told, ...] = ()
