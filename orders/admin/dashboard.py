"""The dashboard: the admin's index page, and the URL that serves its figures while it is open."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.cache import never_cache

from orders.admin import restarts
from orders.operations.figures import figures


def may_look(request: HttpRequest) -> bool:
    """Tell whether this user may view orders."""
    return request.user.has_perm("orders.view_order")


def shown(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the figures to the page, so that it is complete before its first poll."""
    return {**context, "figures": now(request)} if may_look(request) else context


def now(request: HttpRequest) -> dict[str, Any]:
    """Return the figures, with links to the pages they refer to."""
    letters, pauses = reverse("admin:orders_deadletter_changelist"), reverse("admin:orders_pause_changelist")
    links = {"letters": f"{letters}?replay=safe", "controls": pauses}
    links["notes"] = reverse("admin:orders_incidentnote_changelist")
    if request.user.has_perm("orders.add_incidentnote"):
        links["acknowledge"] = reverse("admin:orders_incidentnote_add")
    found = figures() | {"links": links}
    oldest = found.get("oldest")
    if oldest:
        found["oldest"] = {**oldest, "link": reverse("admin:orders_order_change", args=[oldest["id"]])}
    return found


@never_cache
def figures_view(request: HttpRequest) -> JsonResponse:
    """Answer the page's poll."""
    if not may_look(request):
        raise PermissionDenied
    return JsonResponse(now(request))


def addresses() -> list[URLPattern]:
    """Return the admin's URLs in addition to its lists."""
    return [
        path("figures/", admin.site.admin_view(figures_view), name="figures"),
        path("restart/", admin.site.admin_view(restarts.restart_view), name="restart"),
    ]


# The theme's admin site reads this attribute; the type stubs only know Django's own.
admin.site.extra_urls = addresses  # type: ignore[attr-defined]
