"""The address for Prometheus: what this server process has counted, and what the stores hold."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from orders import scrape


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Show the metrics; `?part=process` or `?part=stores` one half of them.

    The halves are scraped apart where several server processes share this address: each tells its own counts under an
    address of its own, and the stores' are the same whichever answers.
    """
    return HttpResponse(scrape.exposition(request.GET.get("part", "")), content_type=CONTENT_TYPE_PLAIN_0_0_4)
