"""The address for Prometheus: what this server process has counted, and what the stores hold."""

from typing import Any

from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request

from orders.api import health_schema as schema
from orders.api.errors import Field, Invalid, shown
from orders.api.filters import refuse_unknown
from orders.api.open_views import Open
from orders.operations import scrape


class AsItIs(BaseContentNegotiation):
    """Answers in the one form there is, whatever the scraper prefers: every scraper reads the plain one."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Take the first parser."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Take the first renderer."""
        return renderers[0], renderers[0].media_type


class Metrics(Open):
    """Shows the metrics."""

    content_negotiation_class = AsItIs

    @schema.metrics
    def get(self, request: Request) -> HttpResponse:
        """Show the metrics; `?part=process` or `?part=stores` one half of them.

        The halves are scraped apart where several server processes share this address: each tells its own counts under
        an address of its own, and the stores' are the same whichever answers.
        """
        refuse_unknown(request.query_params, ("part",))
        part = request.query_params.get("part", "")
        if part and part not in schema.PARTS:
            message = "is not a part of the metrics"
            raise Invalid(f"part {message}", [Field("part", shown(part), message, schema.PARTS_ACCEPTED)])
        return HttpResponse(scrape.exposition(part), content_type=CONTENT_TYPE_PLAIN_0_0_4)
