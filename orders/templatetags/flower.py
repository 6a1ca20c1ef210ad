"""Where Flower shows the queues."""

from django import template
from django.conf import settings
from django.http import HttpRequest

register = template.Library()

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


@register.simple_tag
def flower_url(request: HttpRequest) -> str:
    """Return Flower's address as this browser reaches it: a server that listens everywhere is where the page is."""
    host = settings.ENV["ENGINE_HOST"]
    if host in EVERYWHERE:
        host = request.get_host().rpartition(":")[0] or request.get_host()
    elif ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{settings.ENV['ENGINE_FLOWER_PORT']}"
