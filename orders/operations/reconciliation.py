"""Reconciliation: continuously compare orders in Postgres, the live state and the book, one range at a time.

The book is derived from the live state, and the live state from Postgres. A lost write, a Redis that came back with
older data, or a manual change puts them out of step; this module finds and repairs the differences. Orders that do not
rest are compared every few seconds (recovery.repair). This module covers resting orders, and what Redis holds but
should not. Repairs are counted by kind in `book:repaired`, and logged.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError

from engine.lifecycle import FINAL, AttemptState, Status
from orders import models
from orders.flow import dbsync, restoring, waiting
from orders.stores import attempts, balances, book, live, positions
from orders.stores.live import Standing
from orders.telemetry import metrics
from routing.store import redis

log = structlog.get_logger(__name__)

STRETCH = 20_000
"""Orders, or keys, compared per call; the next call continues where this one ended."""
PAGE = 1_000
REPAIRED = "book:repaired"
BOOKMARK = "book:bookmark"
LIVE_CURSOR = "book:cursor:live"
BOOK_CURSOR = "book:cursor:book"
BALANCES = "balances:compared"
BALANCES_EVERY_S = 3_600
"""How often balances are compared with all that is on record, which reads every attempt that is not archived."""

Repairs = Counter[str]
"""Number of repairs by kind: see KINDS."""

KINDS = {
    "missing": "an order rests in Postgres and is not in Redis",
    "contradicted": "a live order was behind its row: with older terms, or without its last event",
    "sent": "an order rested although a transaction of it was on its way",
    "misplaced": "an order was not in the book where its live state says",
    "behind": "Postgres lacked the last events of an order, and no entry of the feed will bring them",
    "ended": "an order went on in Redis that has ended in Postgres",
    "stray": "the book had an order that does not rest there",
}


def take() -> Repairs:
    """Compare the next range of each kind and repair the differences; return the number of repairs by kind."""
    repaired = Counter(dict.fromkeys(KINDS, 0))
    repaired.update(resting())
    repaired.update(scanned(LIVE_CURSOR, live.ANY, "HASH", outlived))
    repaired.update(scanned(BOOK_CURSOR, book.BUCKETS, "ZSET", strays_of))
    repaired.update(scanned(f"{BOOK_CURSOR}:snipe", book.INDEXES, "ZSET", strays_of))
    count_up(repaired)
    compare_balances()
    return repaired


def compare_balances() -> None:
    """Compare balances and positions with what is on record, now and then; count what differs and change nothing.

    A difference means that a change and its reason were not committed together: somebody has to look.
    """
    if not redis().set(BALANCES, 1, nx=True, ex=BALANCES_EVERY_S):
        return
    try:
        compared: list[balances.Difference | positions.Difference] = [*balances.compared(), *positions.compared()]
    except DatabaseError as reason:
        log.warning("balances not compared with the ledger", reason=str(reason).strip())
        return
    wrong = [one for one in compared if one.differs]
    metrics.balances_wrong(len(wrong))
    for one in wrong:
        log.error("balance or position differs from the ledger", **asdict(one))


def resting() -> Repairs:
    """Compare a range of the orders that rest according to Postgres."""
    repaired: Repairs = Counter()
    after = UUID(str(redis().get(BOOKMARK) or UUID(int=0)))
    for _ in range(STRETCH // PAGE):
        page = list(models.Order.objects.filter(models.WAITING, pk__gt=after).order_by("pk")[:PAGE])
        repaired.update(compare(page))
        after = page[-1].pk if len(page) == PAGE else UUID(int=0)
        if not after.int:
            break
    redis().set(BOOKMARK, str(after))
    return repaired


def compare(page: Sequence[models.Order]) -> Repairs:
    """Compare one page of rows with the live state and the book, and repair the differences."""
    rows = {str(row.pk): row for row in page}
    standing = live.standing(list(rows))
    at_rest = [one for one in standing.values() if one.status is Status.PENDING]
    missing = sorted(rows.keys() - standing.keys())
    older = [one.order.id for one in standing.values() if is_older(one, rows[one.order.id])]
    sent = with_transaction([one.order.id for one in at_rest])
    misplaced = strays(at_rest)
    unheard = unwritten([one for one in standing.values() if one.status is not Status.PENDING])
    live.feed_again(unheard)
    restored = restoring.restore([*missing, *older, *sent], "found by reconciliation")
    waiting.resume(misplaced)
    found = {"missing": missing, "contradicted": older, "sent": sent}
    counts = {kind: len(restored.intersection(ids)) for kind, ids in found.items()}
    return Counter({**counts, "misplaced": len(misplaced), "behind": len(unheard)})


def is_older(one: Standing, row: models.Order) -> bool:
    """Tell whether a live order is behind its row: Postgres has later terms or a later event."""
    return one.status not in FINAL and (one.order.terms_seq < row.terms_seq or one.seq < row.seq)


def unwritten(moved_on: Sequence[Standing]) -> list[str]:
    """Return the orders whose rows lack their last event although DBSync has nothing left to write."""
    if not moved_on or dbsync.backlog():
        return []
    seqs = dict(models.Order.objects.filter(pk__in=[one.order.id for one in moved_on]).values_list("pk", "seq"))
    return [one.order.id for one in moved_on if seqs.get(UUID(one.order.id), one.seq) < one.seq]


def with_transaction(order_ids: Sequence[str]) -> list[str]:
    """Return those of these orders that have a transaction in flight or landed."""
    return [one.order_id for one in attempts.holding(order_ids) if one.state is not AttemptState.PREPARED]


def strays(at_rest: Sequence[Standing]) -> list[str]:
    """Return the orders that are not in their place in the book, although no claim on them is open.

    A claimed order is out of its bucket until it has been triggered. Claims are read last: a claim that was settled
    before that has already moved its orders.
    """
    again = live.standing(out_of_place(at_rest))
    out = out_of_place(list(again.values()))
    fired = book.claimed({again[order_id].order.pair.name for order_id in out}) if out else set()
    return [order_id for order_id in out if order_id not in fired]


def out_of_place(at_rest: Sequence[Standing]) -> list[str]:
    """Return the orders that are not where their live state says they rest. One in backoff has no place to check."""
    placed = [one for one in at_rest if one.place and one.status is Status.PENDING]
    there = book.where([one.order.id for one in placed], [one.place for one in placed])
    return [one.order.id for one, is_there in zip(placed, there, strict=True) if not is_there]


def scanned(cursor_key: str, match: str, kind: str, look: Any) -> Repairs:
    """Scan a range of Redis keys, from where the last scan ended."""
    repaired: Repairs = Counter()
    cursor = int(str(redis().get(cursor_key) or 0))
    for _ in range(STRETCH // PAGE):
        cursor, keys = redis().scan(cursor, match=match, count=PAGE, _type=kind)
        repaired.update(look(keys))
        if not cursor:
            break
    redis().set(cursor_key, cursor)
    return repaired


def outlived(keys: Sequence[str]) -> Repairs:
    """Restore live orders that are still unfinished although they have ended in Postgres."""
    standing = live.statuses([live.id_of(key) for key in keys])
    going = [order_id for order_id, one in standing.items() if one.status not in FINAL]
    ended = models.Order.objects.filter(pk__in=going, status__in=models.FINALS).values_list("pk", flat=True)
    return Counter(ended=len(restoring.restore([str(pk) for pk in ended], "has ended in Postgres")))


def strays_of(keys: Sequence[str]) -> Repairs:
    """Remove from the book the orders that do not rest where they are."""
    return Counter(stray=sum(live.evict(book.place_of(key), book.members(key, PAGE)) for key in keys))


def count_up(repaired: Repairs) -> None:
    """Log the repairs, and add them to the all-time counts."""
    if any(repaired.values()):
        log.warning("book repaired", **repaired)
        metrics.repaired(repaired)
        for kind, count in repaired.items():
            redis().hincrby(REPAIRED, kind, count)
