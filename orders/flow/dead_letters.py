"""Dead letters: orders that failed permanently, the reason, and whether they can be replayed."""

from collections.abc import Sequence
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q, TextChoices
from django.utils import timezone

from engine.lifecycle import OPEN_ATTEMPT, AttemptState, Status
from orders import models
from orders.flow import intake
from orders.flow.intake import Accepted, NewOrder
from orders.flow.pauses import Paused
from orders.flow.trading_limits import Rejected
from orders.models import DeadLetter, Verdict
from orders.stores import event_codec, history, live, terms
from orders.stores.rows import fetch, recordset
from orders.telemetry import metrics
from routing.crashpoints import Store, step

log = structlog.get_logger(__name__)


class NotSafe(Exception):
    """This dead letter must not be replayed; the message says why."""


class Outlook(TextChoices):
    """The expected result of replaying a dead letter, as far as is known."""

    SAFE = "safe", "may be replayed"
    CANNOT_HELP = "cannot-help", "cannot help"
    LANDED = "landed", "landed, do not"
    WAIT = "wait", "wait"
    REPLAYED = "replayed", "replayed"


OPEN = Q(replayed_at=None)
"""The letters that were not replayed."""
LETTERS = {
    Outlook.SAFE: OPEN & Q(verdict=Verdict.SAFE, replay_may_help=True),
    Outlook.CANNOT_HELP: OPEN & Q(verdict=Verdict.SAFE, replay_may_help=False),
    Outlook.LANDED: OPEN & Q(verdict=Verdict.LANDED),
    Outlook.WAIT: OPEN & Q(verdict=Verdict.WAIT),
    Outlook.REPLAYED: ~OPEN,
}
"""The query that selects the letters of each outlook."""


def outlook(one: DeadLetter) -> Outlook:
    """Return what a replay would do, by the letter's last verdict. `replay` itself judges again."""
    return outlook_of(one.verdict, may_help=one.replay_may_help, replayed=one.replayed_at is not None)


def outlook_of(verdict: str, *, may_help: bool, replayed: bool) -> Outlook:
    """Return the same for what a letter says of these."""
    if replayed:
        return Outlook.REPLAYED
    if verdict != Verdict.SAFE:
        return Outlook(verdict)
    return Outlook.SAFE if may_help else Outlook.CANNOT_HELP


def keep(order_ids: Sequence[str]) -> int:
    """Write dead letters for the failed orders that have none yet; return the number written."""
    rows = models.Order.objects.filter(pk__in=order_ids, dead_letter=None).prefetch_related("events", "attempts")
    told_of = [(row, told(row)) for row in rows]
    letters = [letter(row, events, end) for row, events in told_of if (end := failure(row, events))]
    new = insert(letters) if letters else set()
    for one in letters:
        if one["order_id"] in new:
            log.warning("dead letter kept", order_id=one["order_id"], code=one["code"], verdict=one["verdict"])
    metrics.dead_letters(one["code"] for one in letters if one["order_id"] in new)
    return len(new)


@step("letter", Store.POSTGRES, "the dead letter is committed")
def insert(letters: Sequence[dict[str, Any]]) -> set[str]:
    """Insert letters; return the orders whose letter is new."""
    rows = fetch(
        """
        INSERT INTO orders_deadletter (order_id, code, reason, replay_may_help, history, verdict)
        SELECT order_id, code, reason, replay_may_help, history, verdict
        FROM json_to_recordset(%s) AS l(order_id uuid, code text, reason text, replay_may_help bool, history jsonb,
                                        verdict text)
        ON CONFLICT DO NOTHING
        RETURNING order_id::text
        """,
        recordset(letters),
    )
    return {order_id for (order_id,) in rows}


def told(row: models.Order) -> list[dict[str, Any]]:
    """Return the events published to the client, from the live state if it still exists, otherwise from Postgres."""
    texts = live.events([str(row.id)]).get(str(row.id))
    return [event_codec.load(text) for text in texts] if texts else history.of(row)


def failure(row: models.Order, events: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the facts of an order's failure; None if the order did not fail.

    Falls back to the order's row, so that a gap in the history does not prevent a dead letter.
    """
    if events[-1]["status"] == Status.FAILED:
        return events[-1]
    facts: dict[str, Any] | None = row.result if row.status == Status.FAILED else None
    return facts


def letter(row: models.Order, events: Sequence[dict[str, Any]], end: dict[str, Any]) -> dict[str, Any]:
    return {
        "order_id": str(row.id),
        "code": end["code"],
        "reason": end["message"],
        "replay_may_help": end["replayMayHelp"],
        "history": events,
        "verdict": verdict(row, [attempt.state for attempt in row.attempts.all()]),
    }


def verdict(order: models.Order, states: Sequence[str]) -> Verdict:
    """Judge by the order's attempts: one landed, one may still land, or none can ever settle."""
    if AttemptState.LANDED in states:
        return Verdict.LANDED
    possible = order.closed_at is None or set(states) & set(OPEN_ATTEMPT)
    return Verdict.WAIT if possible else Verdict.SAFE


def missing(limit: int = 500) -> list[str]:
    """Return failed orders in Postgres that have no dead letter because their wake-up was lost."""
    rows = models.Order.objects.filter(status=Status.FAILED, dead_letter=None).order_by("pk")
    return [str(pk) for pk in rows.values_list("pk", flat=True)[:limit]]


@step("replay", Store.POSTGRES, "the dead letter's order is placed again")
def replay(order_id: str, by: str) -> Accepted:
    """Place a dead letter's order again under a new id; a second replay returns the same new order as a repeat.

    Raises DeadLetter.DoesNotExist, or NotSafe with the reason.
    """
    with transaction.atomic():
        letters = DeadLetter.objects.select_for_update(of=("self",)).select_related("order")
        one = letters.get(order_id=order_id)
        states = list(one.order.attempts.values_list("state", flat=True))
        one.verdict = verdict(one.order, states)
        one.save(update_fields=["verdict"])
    refuse_unsafe(one)
    again = NewOrder.replay(terms.order_of(one.order), one.order.api_key)
    try:
        placed = intake.accept([again])[0]
    except (Paused, Rejected) as reason:
        raise NotSafe(f"{order_id}: {reason}") from None
    DeadLetter.objects.filter(pk=one.pk, replayed_at=None).update(replayed_at=timezone.now(), replayed_by=by)
    if not placed.repeat:
        log.info("dead letter replayed", order_id=order_id, replayed_as=placed.order_id, by=by)
    return placed


def refuse_unsafe(one: DeadLetter) -> None:
    """Refuse a letter whose replay could settle twice or would certainly fail.

    Raises NotSafe.
    """
    if one.verdict != Verdict.SAFE:
        raise NotSafe(f"{one.order_id}: {Verdict(one.verdict).label}")
    if not one.replay_may_help:
        raise NotSafe(f"{one.order_id}: failed with {one.code}, which a replay cannot help: {one.reason}")
