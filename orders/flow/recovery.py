"""Detect that Redis has lost data and make it agree with Postgres again.

An emptied Redis is rebuilt: active orders first, then resting ones. A Redis that was restarted may hold outdated
orders: everything that changed recently in Postgres is compared before any order moves on, and the rest is then rebuilt
as after any other loss. Orders are also compared periodically without a detected loss: this covers lost writes, as the
sweep covers lost messages.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import chain

import structlog
from django.db.models import Q, Subquery
from django.db.models.functions import Coalesce, Now

from engine.lifecycle import FINAL, AttemptState
from orders import models
from orders.flow import completion, dbsync, dispatch, pauses, restoring
from orders.stores import attempts, journal, live, rebuild_marks
from orders.stores.ids import first_at
from routing import epochs
from routing.epochs import Recall
from routing.store import now_ms

log = structlog.get_logger(__name__)

PAGE = 500
EVERY = Q()
SETTLED_IN_S = 2
"""Age from which an order that is open in Postgres should be in Redis."""
LATELY_S = 60
"""How far back before a restart Redis may have lost writes. A file written every second and a replica that keeps up
lose far less."""


def recover() -> None:
    """Compare Postgres with Redis and repair Redis: everything after a loss, only what is missing otherwise.

    There may be a million resting orders. Without a loss orders/operations/reconciliation.py checks them, a few at a
    time. After a loss one process rebuilds them, and the others keep their threads for active orders.
    """
    if noticed():
        if rebuild_marks.begin_rebuild():
            try:
                rebuild()
            finally:
                rebuild_marks.end_rebuild()
        return
    repaired = sum(map(repair, chain(moving(SETTLED_IN_S), placed_lately())))
    if repaired:
        log.warning("orders missing from redis restored", orders=repaired)


def noticed() -> bool:
    """Return whether Redis has lost data and has not been rebuilt since."""
    return epochs.recall() is not Recall.WHOLE or not rebuild_marks.is_rebuilt(epochs.current())


def rebuild() -> None:
    """Begin the next epoch and put every unfinished order into Redis from Postgres, active orders first."""
    if epochs.recall() is Recall.DOUBTFUL:
        comparison = epochs.compare()
        compare_lately()
        epochs.begin("Redis was started again", comparison)
    epoch = epochs.current()
    pauses.mirror()
    restored = 0
    for order_ids in chain(moving(0), waiting()):
        restored += repair(order_ids)
        rebuild_marks.rebuilding()
    # Their last events were committed before they were fed, and may never have been fed.
    journal.note_again(committed_lately())
    complete_lately()
    if rebuild_marks.mark_rebuilt(epoch):
        log.warning("live state rebuilt", orders=restored, epoch=epoch)


def complete_lately() -> None:
    """Write the event rows that orders lack which have ended lately: DBSync may have lost the rest with the feed."""
    for order_ids in chain([committed_lately()], tried_lately()):
        completion.complete(order_ids)
        rebuild_marks.rebuilding()


def compare_lately() -> None:
    """Restore live orders that contradict recent changes in Postgres; no order moves meanwhile."""
    restored = 0
    for order_ids in chain(moving(0), changed_lately()):
        restored += len(restoring.restore(order_ids, "Redis was started again"))
        rebuild_marks.rebuilding()
    log.warning("live state compared", orders=restored)


def moving(older_than_s: int, which: Q = EVERY) -> Iterator[list[str]]:
    """Yield pages of ids of active orders: unfinished in Postgres and not resting."""
    # Ordered like the partial index on these orders, so that no query plan scans the others.
    rows = models.Order.objects.filter(models.MOVING, which).order_by("created_at", "pk")
    rows = rows.filter(created_at__lt=Now() - timedelta(seconds=older_than_s))
    further = rows
    while page := list(further.values_list("pk", "created_at")[:PAGE]):
        yield [str(pk) for pk, _ in page]
        if len(page) < PAGE:
            return
        last, at = page[-1]
        further = rows.filter(created_at__gte=at).exclude(created_at=at, pk__lte=last)


def waiting(which: Q = EVERY) -> Iterator[list[str]]:
    """Yield pages of ids of orders that rest according to Postgres."""
    rows = models.Order.objects.filter(models.WAITING, which).order_by("pk").values_list("pk", flat=True)
    page = list(rows[:PAGE])
    while page:
        yield [str(pk) for pk in page]
        page = list(rows.filter(pk__gt=page[-1])[:PAGE])


def placed_lately() -> Iterator[list[str]]:
    """Yield pages of ids of recently accepted resting orders: their server may have died before placing them."""
    now = now_ms()
    first, last = first_at(now - LATELY_S * 1000), first_at(now - SETTLED_IN_S * 1000)
    return waiting(Q(pk__gt=first, pk__lt=last))


def changed_lately() -> Iterator[list[str]]:
    """Yield pages of ids of orders ended unfilled or tried within LATELY_S, or whose amendment Redis has lost."""
    ended = models.Order.objects.filter(closed_at__gt=Now() - timedelta(seconds=LATELY_S))
    found = [str(pk) for pk in ended.values_list("pk", flat=True)]
    yield from (found[start : start + PAGE] for start in range(0, len(found), PAGE))
    yield from amended()
    yield from tried_lately()


def committed_lately() -> list[str]:
    """Return the ids of orders whose end or amendment was committed since LATELY_S before DBSync's last round."""
    last_round = models.JournalRow.objects.order_by("-position").values("at")[:1]
    since = Coalesce(Subquery(last_round), Now()) - timedelta(seconds=LATELY_S)
    changed = Q(closed_at__gt=since) | (models.AMENDED & Q(updated_at__gt=since))
    return [str(pk) for pk in models.Order.objects.filter(changed).values_list("pk", flat=True)]


def amended() -> Iterator[list[str]]:
    """Yield pages of ids of resting orders whose amendment Redis has lost, however long ago it was made.

    An order that moved on with its old terms would publish events for which no attempt can be committed.
    """
    rows = dict(models.Order.objects.filter(models.AMENDED).values_list("pk", "terms_seq"))
    ids = sorted(rows)
    for start in range(0, len(ids), PAGE):
        page = {str(pk): rows[pk] for pk in ids[start : start + PAGE]}
        here = live.versions(list(page))
        yield [order_id for order_id, version in page.items() if here.get(order_id, version) < version]


def tried_lately() -> Iterator[list[str]]:
    """Yield pages of ids of orders that had an attempt within LATELY_S."""
    rows = models.Attempt.objects.order_by("-pk").annotate(lately=Q(created_at__gt=Now() - timedelta(seconds=LATELY_S)))
    page = list(rows.values_list("pk", "order_id", "lately")[:PAGE])
    while page:
        yield sorted({str(order_id) for _, order_id, lately in page if lately})
        oldest, _, lately = page[-1]
        page = list(rows.filter(pk__lt=oldest).values_list("pk", "order_id", "lately")[:PAGE]) if lately else []


def repair(order_ids: Sequence[str]) -> int:
    """Restore orders that Redis lacks or holds without their sent attempt; return how many were restored.

    Finished orders are sent to DBSync again; orders whose attempt has landed are concluded.
    """
    here = live.statuses(order_ids)
    missing = [order_id for order_id in order_ids if order_id not in here]
    open_here = [order_id for order_id, one in here.items() if one.status not in FINAL]
    sent = {one.order_id: one for one in attempts.holding(open_here) if one.state is not AttemptState.PREPARED}
    astray = [order_id for order_id, one in sent.items() if here[order_id].tx != one.signature]
    landed = [order_id for order_id, one in sent.items() if one.state is AttemptState.LANDED]
    restored = restoring.restore(missing, "missing from Redis") | restoring.restore(astray, "has an attempt on its way")
    if landed:
        dispatch.send(dispatch.EXECUTE, landed)
    finished = [order_id for order_id, one in here.items() if one.status in FINAL]
    restored |= restoring.restore(superseded(finished), "ended in an epoch that is over")
    rearchive([order_id for order_id in finished if order_id not in restored])
    return len(restored)


def superseded(finished: Sequence[str]) -> list[str]:
    """Return the finished orders whose end Postgres will never take: its row is of a later epoch.

    They moved on just while their last events were told anew.
    """
    last = live.last_events(finished)
    rows = models.Order.objects.filter(pk__in=finished).values_list("pk", "epoch") if finished else ()
    return [str(pk) for pk, epoch in rows if str(pk) in last and last[str(pk)]["epoch"] < epoch]


def rearchive(finished: Sequence[str]) -> None:
    """Feed finished orders to DBSync again if it never got their events. With a backlog they may still arrive."""
    if finished and dbsync.backlog() == 0:
        live.feed_again(finished)
        dbsync.nudge()
