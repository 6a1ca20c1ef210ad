"""Order traces: which work becomes a span of an order's trace, and the hooks that record it.

An order's id is its trace id, and the id of the trace's root span is derived from it. So each process adds its spans
independently: no trace context has to travel with a batch's message, and none is lost with Redis.

The root is the request that placed the order. Below it are the pieces of work on batches that included the order
(`accept`, `process order`, `look`, `archive` ...), each with its calls to the stores, and the order's own stages
(`route`, `build`, `settle` ...), each from the previous event to the event that ended it. Without
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
