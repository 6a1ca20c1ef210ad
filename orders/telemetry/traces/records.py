"""What a span is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

ROOT = 0
"""As a span's id or its parent: the root of whichever order's trace it is in."""
NOBODY = -1
"""As a parent: the span is the root."""


class Link(NamedTuple):
    """A span of another trace, or of the same: 128 and 64 bits; ROOT is the root of that trace."""

    trace: int
    span: int


class Told(NamedTuple):
    """Something that happened at a moment of a span."""

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
    """What went wrong; empty for a span that says it went well."""
    links: tuple[Link, ...] = ()
    events: tuple[Told, ...] = ()
