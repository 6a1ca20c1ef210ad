"""Limit orders: fire each order once, on a trusted price, lowest limit price first, then oldest first.

`price_changed` wakes the limit worker if a pair's price has reached any order. The stream worker calls it for each
quote it stores (price_watch.py), and waiting.py for orders that are new or back in the book. Beat's check every half
second is the safety net. Both lead to `fire`, which claims the orders that are reached, moves them to `triggered` and
wakes the order worker. A claim stays on record until its orders have moved, so a worker that dies loses none.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

import structlog
from django.db.models.functions import Now

from engine import events
from engine.event_kinds import Cancelled
from engine.lifecycle import Status
from engine.money import plain
from engine.orders import Order, TimeInForce
from engine.triggers import Distrust, Sighting, level, trusted
from orders import models
from orders.flow import dispatch, progress
from orders.flow.pauses import KNOWN_WITHIN_S, Pauses, pauses
from orders.flow.progress import Move
from orders.stores import book, live
from orders.stores import stopped as stopped_orders
from orders.stores.book import Claim
from orders.stores.live import Standing
from orders.telemetry import traces
from orders.telemetry.log_fields import about
from routing import quotes
from routing.catalogue import catalogue
from routing.quotes import Cached
from routing.risk_limits import risk_limits
from routing.store import now_ms

log = structlog.get_logger(__name__)

MOVES = 250
"""Orders moved in one step: more would block Redis for its other clients for too long."""

STOPPED_MS = 5_000, 60_000
"""How long an order stays out of the book whose price is reached while its account, or buying, is stopped: the first
time, and at most.  It doubles each time; the end of the stop brings the order back at once (Wakes)."""

IOC_WITHIN_MS = 5_000
"""How long after its acceptance an IOC order may be tried; later it is cancelled instead of fired."""
TOO_LATE = f"ioc: not tried within {IOC_WITHIN_MS // 1000} s of acceptance"

doubted: dict[str, str] = {}
"""Pairs whose price cannot be trusted, with the reason. Kept so that it is logged once, not on each check."""


def sight(pairs: Iterable[str]) -> dict[str, Sighting | Distrust]:
    """Return each pair's trusted price, or why there is none, and record it as one poll."""
    names = [name for name in dict.fromkeys(pairs) if name in catalogue().pairs]
    cached, now = quotes.cached(names), now_ms()
    return {name: stopped(name) or judged(name, cached[name], now) for name in names}


def stopped(pair: str) -> Distrust | None:
    """Return the reason if an operator has paused or halted the pair, so that its orders keep resting."""
    stop = pauses().of(pair)
    return Distrust(str(stop)) if stop else None


def judged(pair: str, known: Cached, now: int) -> Sighting | Distrust:
    """Judge one pair's quotes. An untrusted price resets the run of polls over which a trusted price has held."""
    ages = risk_limits.LIMIT_QUOTE_AGE_MS, risk_limits.QUOTE_STALE_MS
    best = trusted(known.quotes, now, *ages, risk_limits.LIMIT_VENUES_APART_MAX_BPS)
    if known.left_out and not isinstance(best, Distrust):
        # A venue that is left out still speaks against a price, and makes none.
        best = trusted(known.traded, now, *ages, risk_limits.LIMIT_VENUES_APART_MAX_BPS)
    if isinstance(best, Distrust):
        book.distrust(pair)
        doubt(pair, best.reason)
        return best
    doubted.pop(pair, None)
    polls = risk_limits.LIMIT_HOLD_POLLS
    at = level(best.net_price, catalogue().pair(pair).tick)
    held = at if polls == 1 else book.observe(pair, f"{best.venue}@{best.observed_at}", at, polls)
    if held is None:
        return Distrust(f"the price has not held for {polls} polls yet")
    return Sighting(held, best.venue, best.net_price, best.observed_at, now, polls)


def doubt(pair: str, reason: str) -> None:
    """Log why a pair has stopped firing orders, once when that begins."""
    if pair not in doubted:
        log.warning("no trusted price, limit orders keep resting", pair=pair, reason=reason)
    doubted[pair] = reason


def price_changed(pairs: Iterable[str]) -> None:
    """Wake the limit worker for the pairs whose price has reached an order."""
    resting = [pair for pair in pairs if book.has_levels(pair)]
    if not resting:
        return
    seen = sight(resting)
    reached = [pair for pair, one in seen.items() if isinstance(one, Sighting) and book.has_crossed(pair, one.level)]
    # Prices arrive several times a second, even while no worker is firing. Their messages must not fill Redis.
    if reached and not dispatch.is_long(dispatch.FIRE):
        dispatch.send(dispatch.FIRE, pairs=reached)


def check() -> None:
    """Fire every pair with resting orders, in case a wake-up was lost, and take over abandoned claims."""
    for pair in book.pairs():
        for claim in book.abandoned(pair, now_ms()):
            log.warning("claim taken over", pair=pair, **about(claim.ids))
            if pauses().of(pair):
                put_back(claim)
            else:
                trigger(claim)
        fire(pair)


def put_back(claim: Claim) -> None:
    """Return a paused pair's claimed orders to the book, to fire on a new price after the pause.

    By then the price that reached them is no longer valid evidence. An IOC order is cancelled.
    """
    for start in range(0, len(claim.ids), MOVES):
        standing = live.standing(claim.ids[start : start + MOVES]).values()
        out = still_out([one for one in standing if one.status is Status.PENDING and one.place])
        live.rest([one.order.id for one in out if one.order.time_in_force is not TimeInForce.IOC])
        fire_or_cancel([one.order.id for one in out if one.order.time_in_force is TimeInForce.IOC])
    book.settle(claim)


def fire(pair: str) -> int:
    """Fire the orders that the pair's price has reached; return how many orders were claimed."""
    seen = sight([pair]).get(pair)
    if not isinstance(seen, Sighting):
        return 0
    # Claim everything first: firing takes time, and later orders must not miss the price that reached them.
    claims: list[Claim] = []
    while now_ms() - seen.observed_at <= risk_limits.LIMIT_QUOTE_AGE_MS:
        claim = book.claim(pair, seen, now_ms(), len(claims))
        if claim is None:
            break
        claims.append(claim)
    for claim in claims:
        trigger(claim)
    return sum(len(claim.ids) for claim in claims)


def trigger(claim: Claim) -> None:
    """Move claimed orders to `triggered` and on to the order worker.

    An order that was amended, cancelled or expired meanwhile is skipped: that change has already put it where it
    belongs.
    """
    for start in range(0, len(claim.ids), MOVES):
        with traces.work("fire"):
            set_off(claim.ids[start : start + MOVES], claim)
    book.settle(claim)


def set_off(ids: Sequence[str], claim: Claim) -> None:
    """Fire these of the claimed orders."""
    standing = live.standing(ids)
    reached = [one for order_id in ids if (one := standing.get(order_id)) and is_reached(one, claim.sighting)]
    in_time = unstopped(without_late(still_out(reached)))
    won = progress.advance([triggered(one, claim.sighting) for one in in_time])
    if won:
        log.info("limit orders fired", pair=claim.pair, price=plain(claim.sighting.price), **about(won))
        dispatch.send(dispatch.EXECUTE, [order_id for order_id in ids if order_id in won])


def is_reached(one: Standing, seen: Sighting) -> bool:
    """Return whether an order rests in the book (not in a pause), has not expired, and its level is reached."""
    rests = one.status is Status.PENDING and bool(one.place) and not is_over(one.order, now_ms())
    return rests and one.level is not None and one.level <= seen.level


def unstopped(reached: Sequence[Standing]) -> list[Standing]:
    """Return the orders that may fire.  The others, stopped by themselves, not with their pair, are looked at later."""
    now = pauses()
    stopped = {one.order.id for one in reached if is_stopped(one, now)}
    if stopped:
        # Spread out, so that not all orders of a large account come back at once.
        stopped_orders.look_later({order_id: random.uniform(0.75, 1) for order_id in sorted(stopped)}, *STOPPED_MS)
    return [one for one in reached if one.order.id not in stopped]


def is_stopped(one: Standing, now: Pauses) -> bool:
    return now.keeping_out(one.order.pair, one.order.owner) is not None


class Wakes:
    """Brings orders that a stop keeps out of the book back as soon as it ends."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.known: Pauses | None = None
        self.until = 0.0

    def look(self) -> int:
        """Wake what is stopped no more, if the stops have changed lately; return how many orders were woken."""
        now = pauses()
        if now != self.known:
            # Another process may know the stops of a moment ago, and set an order aside for them.
            self.until = self.clock() + 2 * KNOWN_WITHIN_S
        if self.clock() > self.until:
            return 0
        woken = sum(wake(ids, now) for ids in stopped_orders.pages())
        self.known = now
        return woken


def wake(order_ids: Sequence[str], now: Pauses) -> int:
    """Have the sweep look now at those of these orders that nothing stops; return how many."""
    standing = live.standing(order_ids)
    free = [i for i in order_ids if i not in standing or not is_stopped(standing[i], now)]
    stopped_orders.look_now(free)
    return len(free)


def still_out(claimed: Sequence[Standing]) -> list[Standing]:
    """Return the orders that have not returned to the book since they were claimed, such as by an amendment.

    Those that have wait for a price observed after that. If an order moves after this check, its compare-and-set fails.
    """
    back = book.where([one.order.id for one in claimed], [one.place for one in claimed])
    return [one for one, is_back in zip(claimed, back, strict=True) if not is_back]


def without_late(tried: Sequence[Standing]) -> list[Standing]:
    """Cancel the IOC orders that are tried too late; return the other orders."""
    late = late_among([one.order.id for one in tried if one.order.time_in_force is TimeInForce.IOC])
    if late:
        progress.advance([cancellation(one, TOO_LATE) for one in tried if one.order.id in late])
    return [one for one in tried if one.order.id not in late]


def late_among(impatient: Sequence[str]) -> set[str]:
    """Return the IOC orders that were accepted more than IOC_WITHIN_MS ago.

    This uses the clock of Postgres, which also stamped their acceptance, so clocks of two machines are never compared.
    """
    if not impatient:
        return set()
    latest = Now() - timedelta(milliseconds=IOC_WITHIN_MS)
    rows = models.Order.objects.filter(pk__in=impatient, created_at__lt=latest)
    return set(map(str, rows.values_list("pk", flat=True)))


def is_over(order: Order, now: int) -> bool:
    """Return whether an order has expired."""
    return order.expires_at is not None and order.expires_at <= now


def triggered(one: Standing, seen: Sighting) -> Move:
    step = events.price_seen(one.order, seen)
    return Move(one.order.id, one.order.type, one.status, one.seq, one.attempt, (step,), look_in_ms=live.GRACE_MS)


def fire_or_cancel(order_ids: Sequence[str]) -> None:
    """Fire these orders if their price is there; cancel the IOC orders that did not fire."""
    standing = live.standing(order_ids)
    for pair in sorted({one.order.pair.name for one in standing.values()}):
        fire(pair)
    left = [one for one in live.standing(order_ids).values() if one.status is Status.PENDING]
    impatient = without_late([one for one in left if one.order.time_in_force is TimeInForce.IOC])
    if impatient:
        seen = sight(one.order.pair.name for one in impatient)
        progress.advance([not_now(one, seen.get(one.order.pair.name)) for one in impatient])


def not_now(one: Standing, seen: Sighting | Distrust | None) -> Move:
    """Return the cancellation of an IOC order that could not fire at once, with the reason."""
    order = one.order
    stop = pauses().keeping_out(order.pair, order.owner)
    if stop and (stop.is_halt or isinstance(seen, Sighting)):
        return cancellation(one, f"ioc: {stop}", stop.failure.code if stop.is_halt else None)
    if isinstance(seen, Sighting):
        limit = plain(order.limit_price) if order.limit_price else "none"
        reason = f"ioc: BEST is {plain(seen.price)} at {seen.venue}, the limit {limit}"
    else:
        reason = f"ioc: no price to fire on: {seen.reason if seen else 'the pair is not traded'}"
    return cancellation(one, reason)


def cancellation(one: Standing, reason: str, code: str | None = None) -> Move:
    return Move(one.order.id, one.order.type, one.status, one.seq, one.attempt, (Cancelled(reason, code),))


def since(order: Order, before: Order, at: int, now: int) -> int:
    """Return an amended order's time priority: another price or a larger amount sends it to the back of the queue."""
    return now if order.limit_price != before.limit_price or order.amount_in > before.amount_in else at
