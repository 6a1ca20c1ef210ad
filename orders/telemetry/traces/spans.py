"""Which orders are traced, and how their spans leave this process."""

import atexit
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from random import getrandbits
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from django.conf import settings

from orders.telemetry.traces.records import Span

if TYPE_CHECKING:
    from orders.telemetry.otlp import Shipper

log = structlog.get_logger(__name__)

NOTHING: AbstractContextManager[None] = nullcontext()


def on() -> bool:
    """Tell whether orders are traced."""
    return bool(settings.OTEL_EXPORTER_OTLP_ENDPOINT)


def new_id() -> int:
    """Make a span's id: any 64 bits except 0."""
    return getrandbits(64) or 1


def trace_of(order_id: str) -> int:
    """Return an order's trace id: the order id, which also has 128 bits."""
    return UUID(order_id).int


def is_chosen(order_id: str) -> bool:
    """Tell whether an order is in the traced share, OTEL_TRACES_SAMPLER_ARG; every process decides the same."""
    share: float = settings.OTEL_TRACES_SAMPLER_ARG
    return share >= 1 or int(order_id[-8:], 16) < share * 2**32


@cache
def shipper() -> "Shipper":
    """Start the shipper with the process's first span."""
    from orders.telemetry.otlp import Shipper

    made = Shipper()
    made.start()
    # Servers and workers flush in their own shutdown hooks, because a forked process runs no exit handlers.
    atexit.register(flush)
    return made


def put(order_ids: Iterable[str], spans: Sequence[Span]) -> None:
    """Add these spans to the trace of each of these orders. Errors are only logged: tracing must not fail an order."""
    try:
        chosen = [order_id for order_id in order_ids if is_chosen(order_id)]
        if chosen:
            shipper().put([trace_of(order_id) for order_id in chosen], spans)
    except Exception as reason:
        log.warning("spans not kept", spans=len(spans), reason=repr(reason))


def flush(**_: object) -> None:
    """Send the remaining spans, for as long as the process may wait at exit."""
    if shipper.cache_info().currsize:
        shipper().stop()
