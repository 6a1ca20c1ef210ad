"""Incident notes: who looks after a part that is not well or an alert that fires, what is known, and until when."""

import re
from datetime import timedelta
from typing import Any

import structlog
from django.db.models.functions import Now

from engine.events import moment
from orders.models import IncidentNote, Order
from orders.operations.condition import OTHERS, STORES
from orders.stores.order_view import uuid_or_none
from orders.stores.terms import epoch_ms

log = structlog.get_logger(__name__)

TRADING = "trading"
PARTS = (*STORES, *OTHERS, TRADING)
"""The parts of the dashboard's strip; other subjects are alerts and orders."""
ALERT = re.compile(r"[A-Z][A-Za-z0-9]*", re.ASCII)
"""How alerts are named, those of deploy/monitoring and an operator's own."""
NOTES_MAX = 50


class UnknownSubject(ValueError):
    """There is nothing of that name to note an incident on; the message says what there is."""


def known(subject: str) -> str:
    """Return a subject as it is written: a part, the name of an alert, or the id of an order.

    Raises UnknownSubject, DatabaseError.
    """
    if subject in PARTS or ALERT.fullmatch(subject):
        return subject
    order_id = uuid_or_none(subject)
    if order_id and Order.objects.filter(pk=order_id).exists():
        return str(order_id)
    raise UnknownSubject(
        f"{subject!r} is no part ({', '.join(PARTS)}), no name of an alert such as QueueOld, and no order's id"
    )


def acknowledge(subject: str, note: str, by: str, span: timedelta) -> IncidentNote:
    """Note that an incident is being looked after for so long; a second note on the same subject replaces the first.

    Raises DatabaseError.
    """
    terms = {"note": note, "by": by, "noted_at": Now(), "until": Now() + span}
    row, _ = IncidentNote.objects.update_or_create(subject=subject, defaults=terms)
    row.refresh_from_db()
    log.warning("incident acknowledged", subject=subject, note=note, by=by, for_s=int(span.total_seconds()))
    return row


def end(row: IncidentNote, by: str) -> None:
    """Take a note back."""
    row.delete()
    log.warning("incident note ended", subject=row.subject, by=by)


def noted() -> list[dict[str, Any]]:
    """Return the notes that hold, for the dashboard."""
    rows = IncidentNote.objects.filter(until__gt=Now()).order_by("subject")[:NOTES_MAX]
    return [
        {"subject": row.subject, "note": row.note, "by": row.by, "until": moment(epoch_ms(row.until))} for row in rows
    ]
