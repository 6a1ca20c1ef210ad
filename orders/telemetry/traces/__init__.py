"""Traces: what becomes a span of an order's trace, and the hooks that say so.

An order's id is its trace's id, and the id of the trace's root span follows from it.  So each process adds its spans on
its own: nothing has to travel with a batch's message, and nothing is lost with Redis.

The root is the request that placed the order.  Below it are the pieces of work on batches with that order in them
(`accept`, `process order`, `look`, `archive` ...), each with the calls it made to the stores, and the order's own
stages (`route`, `build`, `settle` ...), each from what was told before to what was told at its end.  Without
OTEL_EXPORTER_OTLP_ENDPOINT every hook returns at once, and nothing of OpenTelemetry is imported.
"""

from orders.telemetry.traces.doors import Door, accepted, door, serve
from orders.telemetry.traces.messages import processing, publishing
from orders.telemetry.traces.pieces import call, statement, touch, work
from orders.telemetry.traces.spans import flush
from orders.telemetry.traces.stages import moved

__all__ = [
    "Door",
    "accepted",
    "call",
    "door",
    "flush",
    "moved",
    "processing",
    "publishing",
    "serve",
    "statement",
    "touch",
    "work",
]
