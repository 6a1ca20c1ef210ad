"""Which orders are traced, the ids of their roots, and the work that is being traced."""

import atexit
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from django.conf import settings
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, StatusCode, TraceFlags, set_span_in_context

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from orders.telemetry.otlp import Sdk

log = structlog.get_logger(__name__)

NOTHING: AbstractContextManager[None] = nullcontext()
CALLS_MAX = 64
"""Maximum number of calls that are spans in one piece of work; further ones are counted in its attributes."""


def on() -> bool:
    """Tell whether orders are traced."""
    return bool(settings.OTEL_EXPORTER_OTLP_ENDPOINT) and is_set_up()


@cache
def is_set_up() -> bool:
    """Set up the SDK; if one of OpenTelemetry's variables is wrong, orders go on without traces."""
    try:
        sdk()
    except Exception as reason:
        log.warning("orders not traced", reason=repr(reason))
        return False
    return True


def is_chosen(order_id: str) -> bool:
    """Tell whether an order is in the traced share, OTEL_TRACES_SAMPLER_ARG; every process decides the same.

    OpenTelemetry's own sampler by share needs random ids; an order's id begins with the time.
    """
    share: float = settings.OTEL_TRACES_SAMPLER_ARG
    return share >= 1 or int(order_id[-8:], 16) < share * 2**32


def root_of(order_id: str) -> SpanContext:
    """Identify an order's root span by the lower half of its trace id, of which 62 bits are random (RFC 9562, 5.7)."""
    trace, flags = UUID(order_id).int, TraceFlags(TraceFlags.SAMPLED if is_chosen(order_id) else TraceFlags.DEFAULT)
    return SpanContext(trace, trace & (2**64 - 1), is_remote=True, trace_flags=flags)


def below_root(order_id: str) -> Context:
    """Return the context in which a new span is a child of the order's root."""
    return set_span_in_context(NonRecordingSpan(root_of(order_id)), Context())


@cache
def sdk() -> "Sdk":
    """Set up the SDK with the process's first span."""
    from orders.telemetry.otlp import Sdk

    # Servers and workers flush in their own shutdown hooks, because a forked process runs no exit handlers.
    atexit.register(flush)
    return Sdk(hold)


def flush(**_: object) -> None:
    """Send the remaining spans, for as long as the process may wait at exit."""
    if sdk.cache_info().currsize:
        sdk().stop()


class Work:
    """A piece of work. Its spans are held until it ends, and dropped if no traced order was involved."""

    def __init__(self, span: Span, outer: "Work | None", began: int) -> None:
        self.span, self.outer, self.began = span, outer, began
        self.orders: set[str] = set()
        self.linked: list[str] = []
        self.calls, self.traced, self.ended = 0, False, False
        self.error: str | None = None
        self.held: list[ReadableSpan] = []

    def touch(self, order_ids: Iterable[str]) -> None:
        """Add orders that the work turns out to be about."""
        new = set(order_ids) - self.orders
        self.orders |= new
        for root, order_id in ((root_of(order_id), order_id) for order_id in new if is_chosen(order_id)):
            self.traced = True
            if root.trace_id != self.span.get_span_context().trace_id:
                self.linked.append(order_id)
                self.span.add_link(root)

    def show(self, name: str) -> None:
        """Add a span to the trace of each order that the work is linked to."""
        facts = {"engine.batch.orders": len(self.orders)}
        self.span.set_attributes(facts)
        if self.calls > CALLS_MAX:
            self.span.set_attribute("engine.calls_left_out", self.calls - CALLS_MAX)
        links = [Link(self.span.get_span_context())] if self.span.is_recording() else []
        for order_id in self.linked:
            start, context = sdk().tracer.start_span, below_root(order_id)
            span = start(name, context, attributes=facts, links=links, start_time=self.began)
            if self.error:
                span.set_status(StatusCode.ERROR, self.error)
            span.end()

    def release(self) -> None:
        """Send the held spans, or drop them."""
        self.ended = True
        for span in self.held if self.traced else ():
            sdk().sender.send(span)
        if self.traced and self.outer:
            self.outer.traced = True


doing: ContextVar[Work | None] = ContextVar("work", default=None)


def hold(span: "ReadableSpan") -> bool:
    """Tell whether a span that has ended is not to be sent now: its work goes on, or has involved no order."""
    here = doing.get()
    if here is None or here.ended:
        return here is not None and not here.traced
    here.held.append(span)
    return True


def touch(order_ids: Iterable[str]) -> None:
    """Add orders to the current work."""
    here = doing.get()
    if here:
        here.touch(order_ids)
