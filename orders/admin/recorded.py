"""What is done in the admin is an operator's act, on record with who, from where and why; not in Django's own log."""

import json
from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from orders.stores import acts

VERBS = {ADDITION: "add", CHANGE: "change", DELETION: "delete"}


def reason_of(request: HttpRequest) -> str:
    """Return the reason that a form or a button sends along."""
    return request.POST.get("reason", "").strip()


class Recorded:
    """Puts on record what Django would log; an object's history is its part of the audit log."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> None:
        record(request, obj, ADDITION, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> None:
        record(request, obj, CHANGE, message)

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Model]) -> None:
        for obj in queryset:
            record(request, obj, DELETION, "Deleted.")

    def history_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        address = reverse("admin:orders_act_changelist")
        return HttpResponseRedirect(f"{address}?{urlencode({'q': object_id})}")


def note(request: HttpRequest, what: str, subject: object, outcome: str) -> None:
    """Put on record what was done to more than one row, for the reason that the form sends along."""
    who, origin = request.user.get_username(), str(request.META.get("REMOTE_ADDR", ""))
    acts.record(who, origin, what, subject, outcome, reason=reason_of(request))


def record(request: HttpRequest, obj: Model, flag: int, message: Any) -> None:
    text = message if isinstance(message, str) else json.dumps(message)
    acts.record(
        request.user.get_username(),
        str(request.META.get("REMOTE_ADDR", "")),
        f"{VERBS[flag]} {obj._meta.verbose_name}",
        obj,
        LogEntry(action_flag=flag, change_message=text).get_change_message(),
        reason=reason_of(request),
        page="" if flag == DELETION else page_of(obj),
    )


def page_of(obj: Model) -> str:
    try:
        return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[quote(obj.pk)])
    except NoReverseMatch:
        return ""
