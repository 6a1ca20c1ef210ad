"""The trading desk's page: all it shows comes from the API and the sockets, all it runs from this server."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from orders.api.errors import read_only

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; connect-src 'self' ws://{host} wss://{host}"
)
"""Nothing inline, nothing from elsewhere.  Not every browser takes 'self' to cover sockets, so these are named."""


@read_only
def desk(request: HttpRequest) -> HttpResponse:
    """Show the desk."""
    response = render(request, "desk/desk.html")
    # Django has checked the host: it is one of ours, and cannot smuggle anything into the policy.
    response["Content-Security-Policy"] = POLICY.format(host=request.get_host())
    response["Referrer-Policy"] = "same-origin"
    return response
