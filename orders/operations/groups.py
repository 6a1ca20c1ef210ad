"""What operators may do, by group; each run of the migrations brings these groups to this table."""

from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Q

SEEN = (
    *("orders.order", "orders.attempt", "orders.deadletter", "orders.setaside", "orders.archivedorder"),
    *("orders.pause", "orders.guard", "orders.tradinglimit", "routing.pair", "routing.token", "routing.ledgerentry"),
    *("orders.act", "orders.incidentnote", "django_celery_beat.periodictask"),
)
VIEWER = frozenset(name.replace(".", ".view_") for name in SEEN)
"""Looks at everything but users, failed logins and webhooks."""
OPERATOR = VIEWER | {
    *("orders.change_order", "orders.change_deadletter"),
    *("orders.add_pause", "orders.delete_pause", "orders.add_incidentnote", "orders.delete_incidentnote"),
    # Their addresses may hold a password of the receiver's.
    *("orders.view_webhook", "orders.change_webhook"),
}
"""Cancels, replays, pauses, resumes and acknowledges incidents; sees webhooks, disables, enables and replays them."""
OWNER = OPERATOR | {
    *(
        "orders.add_tradinglimit",
        "orders.delete_tradinglimit",
        "orders.change_guard",
        "orders.restart_role",
        "django_celery_beat.change_periodictask",
    ),
    *("routing.add_token", "routing.change_token", "routing.delete_token"),
    *("routing.add_pair", "routing.change_pair"),
    *("orders.view_apikey", "orders.add_apikey", "orders.change_apikey"),
    *("axes.view_accessattempt", "axes.delete_accessattempt"),
    *(f"auth.{act}_{model}" for act in ("view", "add", "change", "delete") for model in ("user", "group")),
}
"""Decides trading and risk limits, catalogue, schedule and API keys, and who may do what."""
GROUPS = {"viewer": VIEWER, "operator": OPERATOR, "owner": OWNER}


def make() -> None:
    """Bring the groups to the table; other groups stay as they are."""
    with transaction.atomic():
        for name, names in GROUPS.items():
            group, _ = Group.objects.get_or_create(name=name)
            group.permissions.set(permissions(names))


def permissions(names: frozenset[str]) -> list[Permission]:
    """Return the permissions of these names.

    Raises LookupError for one that does not exist, rather than to grant less than the table says.
    """
    wanted = Q()
    for name in names:
        app, codename = name.split(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    found = list(Permission.objects.filter(wanted))
    if len(found) != len(names):
        raise LookupError(f"of {len(names)} permissions there are {len(found)}")
    return found
