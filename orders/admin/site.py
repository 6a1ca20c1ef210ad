"""What all pages of the admin share: the navigation, the style sheet and the icon."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

from orders.templatetags.flower import flower_url

Lists = tuple[tuple[str, str, str, str], ...]

LISTS: tuple[tuple[str, Lists], ...] = (
    (
        "Orders",
        (
            ("Orders", "receipt_long", "orders", "order"),
            ("Attempts", "send", "orders", "attempt"),
            ("Dead letters", "dangerous", "orders", "deadletter"),
            ("Records not saved", "report", "orders", "setaside"),
            ("Archive", "inventory_2", "orders", "archivedorder"),
        ),
    ),
    (
        "Market",
        (
            ("Pairs", "sync_alt", "routing", "pair"),
            ("Tokens", "toll", "routing", "token"),
            ("Sandbox ledger", "menu_book", "routing", "ledgerentry"),
        ),
    ),
    (
        "Engine",
        (
            ("Audit", "history", "orders", "act"),
            ("Schedule", "schedule", "django_celery_beat", "periodictask"),
            ("API keys", "key", "orders", "apikey"),
            ("Webhooks", "webhook", "orders", "webhook"),
            ("Users", "person", "auth", "user"),
            ("Groups", "group", "auth", "group"),
            ("Failed logins", "lock", "axes", "accessattempt"),
        ),
    ),
)
"""Lists by heading: title, icon, app and model."""


CONTROLS = (
    ("Pauses", "pause_circle", "orders", "pause"),
    ("Incident notes", "sticky_note_2", "orders", "incidentnote"),
    ("Trading limits", "speed", "orders", "tradinglimit"),
    ("Risk limits", "tune", "orders", "guard"),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar, limited to what this user may view."""
    owner = request.user.has_perm("orders.restart_role")
    now = [
        {"title": "Dashboard", "icon": "monitoring", "link": reverse("admin:index")},
        *items(request, CONTROLS),
        *([{"title": "Restart a role", "icon": "restart_alt", "link": reverse("admin:restart")}] if owner else []),
        {"title": "Queues (Flower)", "icon": "stacks", "link": flower_url(request), "active": False},
    ]
    return [{"title": "Now", "items": now}, *(group(request, title, lists) for title, lists in LISTS)]


def group(request: HttpRequest, title: str, lists: Lists) -> dict[str, Any]:
    """Return one heading with its lists."""
    return {"title": title, "separator": True, "items": items(request, lists)}


def items(request: HttpRequest, lists: Lists) -> list[dict[str, Any]]:
    """Return links to the lists that this user may view."""
    return [
        {"title": name, "icon": icon, "link": reverse(f"admin:{app}_{model}_changelist")}
        for name, icon, app, model in lists
        if request.user.has_perm(f"{app}.view_{model}")
    ]


def style(request: HttpRequest) -> str:
    """Return the URL of our style sheet."""
    return static("orders/admin/admin.css")


def favicon(request: HttpRequest) -> str:
    """Return the URL of the favicon."""
    return static("orders/admin/favicon.svg")
