"""The OpenAPI description of the probes and the metrics."""

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from orders.api import answers as read
from orders.api import examples
from orders.api.refusals import AWAY, NOT_FOR_US, answer, refused, wrong
from orders.api.schema import operation

PARTS = ("process", "stores")
PARTS_ACCEPTED = f"one of: {', '.join(PARTS)}; both if omitted"
EXPOSITION = "text/plain"

health = operation("health", "Check liveness", {200: answer(read.Health)}, NOT_FOR_US, auth=[])
readiness = operation(
    "readiness",
    "Check readiness",
    {
        200: answer(
            read.Ready,
            "Ready; if `degraded`, `parts` names what orders may wait for.",
            {
                "All is well": examples.READY,
                "No limit worker": examples.DEGRADED,
                "Redis is unavailable": examples.WITHOUT_REDIS,
            },
        ),
        503: answer(read.NotReady, "Postgres is unavailable.", {"Postgres is unavailable": examples.NOT_READY}),
    },
    NOT_FOR_US,
    auth=[],
)
metrics = extend_schema(
    auth=[],
    operation_id="metrics",
    summary="Show the metrics, for Prometheus",
    responses={
        (200, EXPOSITION): OpenApiResponse(str, "The metrics, in Prometheus' text format."),
        **refused("A parameter is wrong.", wrong("part", "queues", "is not a part of the metrics", PARTS_ACCEPTED)),
        **AWAY,
    },
    parameters=[OpenApiParameter("part", str, enum=list(PARTS), description=PARTS_ACCEPTED)],
)
