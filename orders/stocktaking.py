"""Stocktaking: comparing the book with Postgres, a stretch at a time, and repairing what differs.

The book follows from the live state, and the live state from Postgres; this finds what a lost write or an operator's
hand has put out of step.  What was repaired is counted by kind in `book:repaired`, and logged.
"""

from collections.abc import Sequence
from uuid import UUID

import structlog

from engine.lifecycle import FINAL, Status
from engine.money import MATHS, plain
from orders import archive, book, live, models, observe, recovery, waiting
from orders.live import Standing
from routing.store import redis

log = structlog.get_logger(__name__)

STRETCH = 20_000
"""Orders compared in one go; the next goes on where this one ended."""
PAGE = 1_000
REPAIRED = "book:repaired"
BOOKMARK = "book:bookmark"


def take() -> dict[str, int]:
    """Compare the next STRETCH of resting orders and repair them; return how many of each kind were repaired."""
    repaired = {"missing": 0, "misplaced": 0, "behind": 0}
    after = UUID(str(redis().get(BOOKMARK) or UUID(int=0)))
    for _ in range(STRETCH // PAGE):
        page = list(models.Order.objects.filter(models.WAITING, pk__gt=after).order_by("pk")[:PAGE])
        for kind, count in compare(page).items():
            repaired[kind] += count
        after = page[-1].pk if len(page) == PAGE else UUID(int=0)
        if not after.int:
            break
    redis().set(BOOKMARK, str(after))
    count_up(repaired)
    return repaired


def compare(page: Sequence[models.Order]) -> dict[str, int]:
    """Compare one page of rows with the live state and the book, and repair what differs."""
    rows = {str(row.pk): row for row in page}
    standing = live.standing(list(rows))
    resting = [one for one in standing.values() if one.status is Status.PENDING]
    missing = sorted(rows.keys() - standing.keys())
    misplaced = strays(resting)
    behind = [one.order.id for one in standing.values() if is_behind(rows[one.order.id], one)]
    # With a backlog, what the archive lacks may yet come.
    unheard = behind if archive.backlog() == 0 else []
    live.feed_again(unheard)
    recovery.rebuild(missing)
    waiting.resume(misplaced)
    return {"missing": len(missing), "misplaced": len(misplaced), "behind": len(unheard)}


def is_behind(row: models.Order, one: Standing) -> bool:
    """Tell whether a row has not heard of its order's end, or of its last terms."""
    return one.status in FINAL or (one.status is Status.PENDING and differs(one, row))


def strays(resting: Sequence[Standing]) -> list[str]:
    """Return the orders that nobody is firing and that are not where they rest.

    One that is being fired is out of its bucket until it has moved; the claims are read last, since one that was
    settled before that has moved its orders.
    """
    again = live.standing(out_of_place(resting))
    out = out_of_place(list(again.values()))
    fired = book.claimed({again[order_id].order.pair.name for order_id in out}) if out else set()
    return [order_id for order_id in out if order_id not in fired]


def out_of_place(resting: Sequence[Standing]) -> list[str]:
    """Return the orders that are not where their live state says they rest; one that pauses is nowhere, and rightly."""
    placed = [one for one in resting if one.place and one.status is Status.PENDING]
    there = book.where([one.order.id for one in placed], [one.place for one in placed])
    return [one.order.id for one, is_there in zip(placed, there, strict=True) if not is_there]


def differs(one: Standing, row: models.Order) -> bool:
    """Tell whether a row has older terms than the live state."""
    price = row.limit_price and plain(MATHS.normalize(row.limit_price))
    return one.order.amount_in != row.amount_in or (one.order.limit_price and plain(one.order.limit_price)) != price


def count_up(repaired: dict[str, int]) -> None:
    """Add to the counts of what was ever repaired."""
    if any(repaired.values()):
        log.warning("book repaired", **repaired)
        observe.repaired(repaired)
        for kind, count in repaired.items():
            redis().hincrby(REPAIRED, kind, count)
