"""Order traces, made with OpenTelemetry's SDK: the hooks that the engine calls.

An order's id is its trace id, and its root span's id follows from it, so every process finds an order's trace by
itself, also after a crash or a loss of Redis. The root is the request that placed the order; below it are its stages.

Work on one order is in its trace. Work on several has a trace of its own, which links to each order; each order's trace
has a span of the same name that links back. What a message causes belongs to its sender's work (W3C Trace Context).

OpenTelemetry's instrumentations are not used, because each would show less than these hooks do:
Django's does not see the fast path, and a request's trace id is known only once its order is accepted;
Celery's makes a span for each of beat's messages, which are rarely about an order;
psycopg's sees only cursors that a connection makes, and `orders.stores.rows` makes its own;
redis' names a script `EVALSHA`, and a pipeline by all of its commands.
"""

from orders.telemetry.traces.calls import call, statement
from orders.telemetry.traces.doors import Door, accepted, door, serve
from orders.telemetry.traces.spans import flush, touch
from orders.telemetry.traces.stages import moved
from orders.telemetry.traces.work import processing, publishing, work

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
