"""Limit orders: fired by a price that can be trusted, each once, the lowest price first, at a price the oldest.

Whoever stores a new BEST calls `price_changed`, which wakes the limit worker if the price has reached anything; beat's
check every half second is the safety net.  Both lead to `fire`, which claims what is reached, moves it to `triggered`,
and wakes the order worker.  A claim stays on record until its orders have moved: a worker that dies loses none.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import structlog
from django.db.models.functions import Now

from engine import events
from engine.lifecycle import Status
from engine.money import plain
from engine.orders import Order, TimeInForce
from engine.quotes import Quote
from engine.triggers import Distrust, Sighting, level, trusted
from orders import models
from orders.flow import dispatch, progress
from orders.flow.pauses import pauses
from orders.flow.progress import Move
from orders.stores import book, live
from orders.stores.book import Claim
from orders.stores.live import Standing
from orders.telemetry import traces
from orders.telemetry.log_fields import about
from routing import quotes
from routing.catalogue import catalogue
from routing.guards import guards
from routing.store import now_ms

log = structlog.get_logger(__name__)

MOVES = 250
"""Orders that fire in one step: more would keep Redis from everybody else for too long."""

IOC_WITHIN_MS = 5_000
"""How long after its acceptance an ioc order may be tried: one that was found later is cancelled, not fired."""
TOO_LATE = f"ioc: not tried within {IOC_WITHIN_MS // 1000} s of its acceptance"

doubted: dict[str, str] = {}
"""Pairs whose price cannot be trusted, with the reason: to log it once, not at each look."""


def sight(pairs: Iterable[str]) -> dict[str, Sighting | Distrust]:
    """Return what limit orders of each pair may fire on now, and note it as one poll."""
    names = [name for name in dict.fromkeys(pairs) if name in catalogue().pairs]
    cached, now = quotes.cached(names), now_ms()
    return {name: halted(name) or judged(name, cached[name].quotes, now) for name in names}


def halted(pair: str) -> Distrust | None:
    """Say that a pair's orders rest because an operator has paused it, if so."""
    why = pauses().of(pair)
    return Distrust(f"{why[0]} is paused: {why[1]}") if why else None


def judged(pair: str, known: Sequence[Quote], now: int) -> Sighting | Distrust:
    """Judge one pair's quotes; a price that cannot be trusted ends the run of those that could."""
    best = trusted(known, now, guards.LIMIT_QUOTE_AGE_MS, guards.QUOTE_STALE_MS, guards.LIMIT_VENUES_APART_MAX_BPS)
    if isinstance(best, Distrust):
        book.distrust(pair)
        doubt(pair, best.reason)
        return best
    doubted.pop(pair, None)
    polls = guards.LIMIT_HOLD_POLLS
    at = level(best.net_price, catalogue().pair(pair).tick)
    held = at if polls == 1 else book.observe(pair, f"{best.venue}@{best.observed_at}", at, polls)
    if held is None:
        return Distrust(f"the price has not been seen for {polls} polls yet")
    return Sighting(held, best.venue, best.net_price, best.observed_at, now, polls)


def doubt(pair: str, reason: str) -> None:
    """Log why a pair fires nothing, when it begins to."""
    if pair not in doubted:
        log.warning("no price to trust, limit orders rest", pair=pair, reason=reason)
    doubted[pair] = reason


def price_changed(pairs: Iterable[str]) -> None:
    """Wake the limit worker for those of these pairs whose price has reached an order."""
    resting = [pair for pair in pairs if book.has_levels(pair)]
    if not resting:
        return
    seen = sight(resting)
    reached = [pair for pair, one in seen.items() if isinstance(one, Sighting) and book.has_crossed(pair, one.level)]
    # A price comes several times a second, also while nobody fires: that must not fill Redis.
    if reached and not dispatch.is_long(dispatch.FIRE):
        dispatch.send(dispatch.FIRE, pairs=reached)


def check() -> None:
    """Do for every pair with resting orders what a ring that was lost would have done."""
    for pair in book.pairs():
        for claim in book.abandoned(pair, now_ms()):
            log.warning("claim taken over", pair=pair, **about(claim.ids))
            if pauses().of(pair):
                put_back(claim)
            else:
                trigger(claim)
        fire(pair)


def put_back(claim: Claim) -> None:
    """Return claimed orders of a paused pair to the book, where its price finds them again after the pause.

    The price that reached them is no evidence any more by then.  One that must not wait is cancelled.
    """
    for start in range(0, len(claim.ids), MOVES):
        standing = live.standing(claim.ids[start : start + MOVES]).values()
        out = still_out([one for one in standing if one.status is Status.PENDING and one.place])
        live.rest([one.order.id for one in out if one.order.time_in_force is not TimeInForce.IOC])
        fire_or_cancel([one.order.id for one in out if one.order.time_in_force is TimeInForce.IOC])
    book.settle(claim)


def fire(pair: str) -> int:
    """Fire what the pair's price has reached; return how many orders were claimed."""
    seen = sight([pair]).get(pair)
    if not isinstance(seen, Sighting):
        return 0
    # All that is reached is claimed first: what takes long to fire must not miss the price that reached it.
    claims: list[Claim] = []
    while now_ms() - seen.observed_at <= guards.LIMIT_QUOTE_AGE_MS:
        claim = book.claim(pair, seen, now_ms(), len(claims))
        if claim is None:
            break
        claims.append(claim)
    for claim in claims:
        trigger(claim)
    return sum(len(claim.ids) for claim in claims)


def trigger(claim: Claim) -> None:
    """Move claimed orders to `triggered` and on to the order worker.

    One that was amended, cancelled or expired meanwhile is not moved: that step has put it where it belongs.
    """
    for start in range(0, len(claim.ids), MOVES):
        with traces.work("fire"):
            set_off(claim.ids[start : start + MOVES], claim)
    book.settle(claim)


def set_off(ids: Sequence[str], claim: Claim) -> None:
    """Move these of the claimed orders."""
    standing = live.standing(ids)
    reached = [one for order_id in ids if (one := standing.get(order_id)) and is_reached(one, claim.sighting)]
    in_time = without_late(still_out(reached))
    won = progress.advance([triggered(one, claim.sighting) for one in in_time])
    if won:
        log.info("limit orders fired", pair=claim.pair, price=plain(claim.sighting.price), **about(won))
        dispatch.send(dispatch.EXECUTE, [order_id for order_id in ids if order_id in won])


def is_reached(one: Standing, seen: Sighting) -> bool:
    """Tell whether an order still rests, in time, and at a level the price has reached; one that pauses does not."""
    rests = one.status is Status.PENDING and bool(one.place) and not is_over(one.order, now_ms())
    return rests and one.level is not None and one.level <= seen.level


def still_out(claimed: Sequence[Standing]) -> list[Standing]:
    """Return the orders that have not gone back into the book since they were claimed: to an amendment, say.

    Those that have wait for a price of their own time; a step between this look and the next fails that one's swap.
    """
    back = book.where([one.order.id for one in claimed], [one.place for one in claimed])
    return [one for one, is_back in zip(claimed, back, strict=True) if not is_back]


def without_late(tried: Sequence[Standing]) -> list[Standing]:
    """Cancel the ioc orders that are tried too late; return the other orders."""
    late = late_among([one.order.id for one in tried if one.order.time_in_force is TimeInForce.IOC])
    if late:
        progress.advance([cancellation(one, TOO_LATE) for one in tried if one.order.id in late])
    return [one for one in tried if one.order.id not in late]


def late_among(impatient: Sequence[str]) -> set[str]:
    """Return those of these ioc orders that were accepted longer than IOC_WITHIN_MS ago.

    By Postgres' clock, which stamped their acceptance: no two machines' clocks are compared.
    """
    if not impatient:
        return set()
    latest = Now() - timedelta(milliseconds=IOC_WITHIN_MS)
    rows = models.Order.objects.filter(pk__in=impatient, created_at__lt=latest)
    return set(map(str, rows.values_list("pk", flat=True)))


def is_over(order: Order, now: int) -> bool:
    """Tell whether an order's time has passed."""
    return order.expires_at is not None and order.expires_at <= now


def triggered(one: Standing, seen: Sighting) -> Move:
    """Make the move of an order that fires."""
    step = (Status.TRIGGERED, events.price_seen(one.order, seen))
    return Move(one.order.id, one.order.type, one.status, one.seq, one.attempt, (step,), look_in_ms=live.GRACE_MS)


def fire_or_cancel(order_ids: Sequence[str]) -> None:
    """Fire these orders if their price is there, and cancel those of them that must not wait."""
    standing = live.standing(order_ids)
    for pair in sorted({one.order.pair.name for one in standing.values()}):
        fire(pair)
    left = [one for one in live.standing(order_ids).values() if one.status is Status.PENDING]
    impatient = without_late([one for one in left if one.order.time_in_force is TimeInForce.IOC])
    if impatient:
        seen = sight(one.order.pair.name for one in impatient)
        progress.advance([not_now(one, seen.get(one.order.pair.name)) for one in impatient])


def not_now(one: Standing, seen: Sighting | Distrust | None) -> Move:
    """Make the move of an order that could not fire at once."""
    order = one.order
    if isinstance(seen, Sighting):
        limit = plain(order.limit_price) if order.limit_price else "none"
        reason = f"ioc: BEST is {plain(seen.price)} at {seen.venue}, the limit {limit}"
    else:
        reason = f"ioc: no price to fire on: {seen.reason if seen else 'the pair is not traded'}"
    return cancellation(one, reason)


def cancellation(one: Standing, reason: str) -> Move:
    """Make the move of an order that must not wait any longer."""
    step = (Status.CANCELLED, events.cancelled(reason))
    return Move(one.order.id, one.order.type, one.status, one.seq, one.attempt, (step,))


def since(order: Order, before: Order, at: int, now: int) -> int:
    """Return an amended order's turn: asking for another price, or for more, sends it to the back of the queue."""
    return now if order.limit_price != before.limit_price or order.amount_in > before.amount_in else at
