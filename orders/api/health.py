"""Health probes: the process lives, and what it needs answers."""

from rest_framework.request import Request
from rest_framework.response import Response

from orders.api import health_schema as schema
from orders.api.errors import body, headers_of
from orders.api.open_views import Open
from orders.operations import condition
from orders.operations.condition import State


class Health(Open):
    """Says that the process lives."""

    @schema.health
    def get(self, request: Request) -> Response:
        """Answer as long as the process can."""
        return Response({"status": "ok"})


class Ready(Open):
    """Says whether the process can do its work."""

    @schema.readiness
    def get(self, request: Request) -> Response:
        """Try each part and say which is not well.

        Without Postgres no order can be accepted: `503`.  Without Redis, fresh quotes or workers orders are accepted,
        kept, and executed later: `degraded`, which is no reason to send clients elsewhere.
        """
        parts = condition.parts()
        told = {part.name: part.said for part in parts}
        down = [f"{part.name}: {part.said}" for part in parts if part.state is State.DOWN]
        if down:
            error = body("not_ready", "; ".join(down))
            return Response({**error, "parts": told}, status=503, headers=headers_of(503, error))
        well = all(part.state is State.OK for part in parts)
        return Response({"status": "ready" if well else "degraded", "parts": told})
