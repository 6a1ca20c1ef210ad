"""Sniper orders: armed until their market conditions hold, then put through the token checks, then fired or refused.

The sniper worker processes every market event once, and reads only the orders that watch the event's token and whose
threshold the market has reached. An order with several conditions watches one that is not met; once that one is met, it
watches the next. An order whose conditions all hold watches for its price, or for the market data that a token check
needs. An event is acknowledged after its orders have moved, so a worker that dies loses none.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import structlog
from django.db import DatabaseError
from msgspec import convert

from engine import event_kinds, events, token_checks
from engine.event_kinds import ConditionMet, Facts, MarketSeen, TokenCheck, Triggered
from engine.failures import Failure, NotTraded, RefusedByTokenChecks
from engine.lifecycle import Status
from engine.market import MarketEvent
from engine.orders import OrderType
from engine.quotes import AHEAD_MAX_MS, best
from engine.token_checks import Limits, TokenFacts, Verdict
from engine.triggers import Condition, Kind, TokenState, Watch, affords, first_unmet, level, price_watch, usd, valued
from orders.flow import dispatch, progress
from orders.flow.limits import is_over
from orders.flow.pauses import pauses
from orders.flow.progress import Move
from orders.stores import book, live
from orders.stores.book import Watched
from orders.stores.live import Standing
from orders.telemetry.log_fields import about
from routing import quotes, tape
from routing.catalogue import catalogue
from routing.facts import facts
from routing.group import me
from routing.risk_limits import risk_limits
from routing.store import StoreError, now_ms

log = structlog.get_logger(__name__)

matching = threading.Lock()

ITS_WORTH = Condition(Kind.LIQUIDITY)
"""The watch of an order whose token's liquidity is unknown."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the market shows of some orders' tokens at one moment (epoch ms)."""

    now: int
    states: Mapping[str, TokenState]
    facts: Mapping[str, TokenFacts]
    happened: Mapping[str, MarketEvent]
    """The last event of each token that has just had one."""
    prices: Mapping[str, Decimal]
    """The best fresh price of each pair that has one, net of fees: tokens out per token in."""

    def allows(self, one: Standing) -> bool:
        """Return whether the price is within the order's maximum. An unknown price passes: routing checks it later."""
        most, price = one.order.max_price, self.prices.get(one.order.pair.name)
        return most is None or price is None or affords(most, price)

    def verdicts(self, one: Standing) -> list[Verdict]:
        """Run the token checks."""
        limits = Limits(risk_limits.SNIPE_LIQUIDITY_MIN_USD * 100, risk_limits.SNIPE_TOP_HOLDER_MAX_BPS)
        return token_checks.judge(self.facts[mint_of(one)], limits, allow_unknown=one.order.allow_unknown)


def match() -> int:
    """Process all unprocessed market events; return how many there were."""
    # One at a time per process: a second call would only get the same events.
    if not matching.acquire(blocking=False):
        return 0
    try:
        return sum(map(take, tape.rounds(me())))
    finally:
        matching.release()


def take(entries: Sequence[tape.Entry]) -> int:
    """Process a batch of events, then acknowledge them; return how many there were."""
    try:
        react([event for _, event in entries])
    except (StoreError, DatabaseError):
        raise
    except Exception:
        # A bug must not block all later events. The next event of the same token checks its orders again.
        log.exception("market events not processed", events=[event.id for _, event in entries])
    tape.group.ack([entry_id for entry_id, _ in entries])
    return len(entries)


def react(happened: Sequence[MarketEvent]) -> None:
    """Fire the orders whose conditions these events complete."""
    latest, now = {event.mint: event for event in happened}, moment_of(happened)
    watched = book.watched(latest)
    states = tape.states({mint: one.windows for mint, one in watched.items()}, now)
    for mint, ids in book.met(reached(states, watched, now)):
        judge(ids, {mint: latest[mint]}, now)


def moment_of(happened: Sequence[MarketEvent]) -> int:
    """Return the moment at which these events are judged.

    An event may be stamped slightly ahead of this process's reading of the store's clock and must still count. One
    stamped far ahead must not make everything else look old.
    """
    now = now_ms()
    return max(now, min(now + AHEAD_MAX_MS, max(event.at for event in happened)))


def reached(
    states: Mapping[str, TokenState], watched: Mapping[str, Watched], now: int
) -> dict[str, dict[str, int | None]]:
    """Return, by token, the indexes whose orders may fire and the highest threshold reached in each."""
    levels = price_levels({pair for one in watched.values() for pair in one.pairs if not pauses().of(pair)}, now)
    found: dict[str, dict[str, int | None]] = {}
    for mint, state in states.items():
        found[mint] = {f"price:{pair}": levels[pair] for pair in watched[mint].pairs if pair in levels}
        if state.pools:
            found[mint]["launch"] = 0
        if state.liquidity is not None:
            found[mint]["liquidity"] = state.liquidity
        found[mint] |= {f"volume:{window // 1000}": traded for window, traded in state.volumes.items()}
    return found


def price_levels(pairs: Collection[str], now: int) -> dict[str, int | None]:
    """Return the level of each pair's best fresh price; None lets every order be checked.

    While a pair's venues are silent, only orders without a maximum price may fire: the others were held back by a price
    before. A retired pair is not quoted, so each of its orders is checked on its own.
    """
    if not pairs:
        return {}
    traded = catalogue()
    unknown: dict[str, int | None] = {pair: 0 if pair in traded.active else None for pair in pairs}
    known = {pair: price for pair, price in prices(pairs, now).items() if pair in traded.pairs}
    return unknown | {pair: level(price, traded.pairs[pair].tick) for pair, price in known.items()}


def evaluate(order_ids: Sequence[str]) -> None:
    """Check orders that were just armed, or armed again: what they wait for may be there already."""
    judge(order_ids, {}, now_ms())


def judge(order_ids: Sequence[str], happened: Mapping[str, MarketEvent], now: int) -> None:
    """Fire, refuse or leave armed each of these orders, by what the market shows of its token."""
    armed = armed_among(order_ids)
    seen = look_at(armed, happened, now)
    ready, left = [], []
    for one in armed:
        if kept := kept_by(one, seen):
            left.append((one.order, kept))
        else:
            ready.append(one)
    live.watch_for(left)
    if unknown := [order.id for order, watch in left if watch is ITS_WORTH]:
        log.info("sniper orders wait for the value of their token's pools", **about(unknown))
    moves = [fired(one, seen) for one in ready]
    won = progress.advance(moves)
    going = [move.order_id for move in moves if move.order_id in won and move.to is Status.TRIGGERED]
    if won:
        log.info("sniper orders fired", refused=len(won) - len(going), **about(going))
    if going:
        dispatch.send(dispatch.EXECUTE, going)


def kept_by(one: Standing, seen: Seen) -> Watch | None:
    """Return what an armed order must watch for next; None if nothing is missing and it fires or is refused."""
    order = one.order
    if unmet := first_unmet(order.trigger, seen.states[mint_of(one)]):
        return unmet
    if not seen.allows(one) or pauses().keeping_out(order.pair, order.owner):
        return price_watch(order.pair, order.max_price)
    # Market data may be lost or too old. Refusing the order for that would be permanent, so it waits instead.
    return ITS_WORTH if token_checks.awaits_market(seen.verdicts(one)) else None


def armed_among(order_ids: Sequence[str]) -> list[Standing]:
    """Return the current state of those orders that are armed.

    Reloads the catalogue if it lacks a pair, because the pair's token may have been listed a moment ago.
    """
    standing = live.standing(order_ids)
    if not all(is_traded(one) for one in standing.values()):
        catalogue.forget()
        standing = live.standing(order_ids)
    return [one for one in standing.values() if is_armed(one)]


def is_traded(one: Standing) -> bool:
    """Return whether the order's pair is in this process's copy of the catalogue."""
    return one.order.pair.name in catalogue().pairs


def is_armed(one: Standing) -> bool:
    """Return whether an order is a sniper order that waits and has not expired."""
    waits = one.order.type is OrderType.SNIPER and one.status is Status.PENDING
    return waits and not is_over(one.order, now_ms())


def mint_of(one: Standing) -> str:
    """Return the mint of the token an order would buy."""
    return one.order.pair.token_out.mint


def look_at(armed: Sequence[Standing], happened: Mapping[str, MarketEvent], now: int) -> Seen:
    """Collect what the market shows of these orders' tokens."""
    windows: dict[str, set[int]] = defaultdict(set)
    for one in armed:
        windows[mint_of(one)] |= {condition.window_ms for condition in one.order.trigger if condition.window_ms}
    states = tape.states(windows, now)
    known = prices({one.order.pair.name for one in armed if one.order.max_price}, now)
    return Seen(now, states, facts(states) if states else {}, happened, known)


def prices(pairs: Iterable[str], now: int) -> dict[str, Decimal]:
    """Return the best fresh price of each pair that has one, net of fees."""
    found = {}
    for name, cached in quotes.cached(pairs).items():
        if winner := best(quote for quote in cached.traded if quote.age(now) <= risk_limits.QUOTE_FRESH_MS):
            found[name] = winner.net_price
    return found


def fired(one: Standing, seen: Seen) -> Move:
    """Return the move of an order whose conditions hold: triggered, and then failed if it is refused."""
    mint = mint_of(one)
    verdicts = seen.verdicts(one)
    evidence = MarketSeen(
        event_seen(seen.happened.get(mint), seen.now),
        tuple(met(condition, seen.states[mint]) for condition in one.order.trigger),
    )
    steps: tuple[Facts, ...] = (Triggered(evidence, tuple(map(judged, verdicts))),)
    if failure := refusal(one, verdicts):
        steps = (*steps, events.failed(failure))
    return Move(one.order.id, one.order.type, one.status, one.seq, one.attempt, steps, look_in_ms=live.GRACE_MS)


def refusal(one: Standing, verdicts: Sequence[Verdict]) -> Failure | None:
    """Return why an order must not fire: a token check refuses its token, or its pair is not traded. None if it may."""
    if refused := token_checks.refusals(verdicts):
        return RefusedByTokenChecks(f"the token was refused: {refused}")
    if not is_traded(one):
        return NotTraded(f"{one.order.pair.name} is not a traded pair")
    return None


def event_seen(event: MarketEvent | None, now: int) -> event_kinds.MarketEvent | None:
    """State the event that fired an order; None if its conditions held when it was armed."""
    if event is None:
        return None
    return event_kinds.MarketEvent(
        id=event.id,
        kind=event.kind,
        venue=event.venue,
        usd=usd(event.amount),
        at=events.moment(event.at),
        age_ms=max(0, now - event.at),
    )


def met(condition: Condition, state: TokenState) -> ConditionMet:
    """State a condition and the market's value for it."""
    return convert(valued(condition, state), ConditionMet)


def judged(verdict: Verdict) -> TokenCheck:
    """State the result of one token check."""
    return convert(verdict.as_dict(), TokenCheck)
