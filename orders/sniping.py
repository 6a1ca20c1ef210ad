"""Sniper orders: armed until the market shows what they wait for, then judged by the gates, then fired or refused.

Every market event is looked at once, by the sniper worker, for the orders it can concern: those that watch its token
for a condition its state now meets.  An order of several conditions watches one that is not met; when that is, either
all hold, or it watches the next.  An event is acknowledged after its orders have moved: a worker that dies loses none.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import structlog
from django.db import DatabaseError

from engine import events, gates
from engine.gates import Limits, TokenFacts, Verdict
from engine.lifecycle import Status
from engine.money import MATHS
from engine.orders import OrderType
from engine.quotes import best
from engine.retry import Failure
from engine.triggers import Condition, Kind, TokenState, first_unmet, usd
from orders import book, dispatch, live, progress
from orders.control import pauses
from orders.limits import is_over
from orders.lines import about
from orders.live import Standing
from orders.progress import Move
from routing import quotes, tape
from routing.catalogue import catalogue
from routing.facts import facts
from routing.group import me
from routing.guards import guards
from routing.store import StoreError, now_ms
from routing.tape import MarketEvent

log = structlog.get_logger(__name__)

matching = threading.Lock()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the market shows of the tokens that some orders wait for, at one moment (epoch ms)."""

    now: int
    states: Mapping[str, TokenState]
    facts: Mapping[str, TokenFacts]
    happened: Mapping[str, MarketEvent]
    """The last event of each token, for those that have just had one."""
    prices: Mapping[str, Decimal]
    """The best fresh price, less fee, of each pair that has one: tokens out per token in."""

    def allows(self, one: Standing) -> bool:
        """Tell whether the price is within what the order would pay; one that nobody knows yet is found out later."""
        most, price = one.order.max_price, self.prices.get(one.order.pair.name)
        return most is None or price is None or MATHS.multiply(price, most) >= 1


def match() -> int:
    """Look at the market events nobody has looked at yet; return how many there were."""
    # One look in this process at a time: a second would only be given the same events.
    if not matching.acquire(blocking=False):
        return 0
    try:
        return sum(map(take, tape.rounds(me())))
    finally:
        matching.release()


def take(entries: Sequence[tape.Entry]) -> int:
    """Look at a batch of events, then acknowledge them; return how many there were."""
    try:
        react([event for _, event in entries])
    except (StoreError, DatabaseError):
        raise
    except Exception:
        # A defect must not hold up every later event; its orders are looked at again with the next of their token.
        log.exception("market events not looked at", events=[event.id for _, event in entries])
    tape.group.ack(entry_id for entry_id, _ in entries)
    return len(entries)


def react(happened: Sequence[MarketEvent]) -> None:
    """Fire the orders that these events complete."""
    latest = {event.mint: event for event in happened}
    # An event may carry a time just ahead of this process's reading of the store's clock, and must count all the same.
    now = max(now_ms(), *(event.at for event in happened))
    states = tape.states(book.windows(latest), now)
    for mint, ids in book.met(states).items():
        judge(ids, {mint: latest[mint]}, now)


def evaluate(order_ids: Sequence[str]) -> None:
    """Look at orders just armed, or armed again: what they wait for may be there already."""
    judge(order_ids, {}, now_ms())


def judge(order_ids: Sequence[str], happened: Mapping[str, MarketEvent], now: int) -> None:
    """Fire, refuse, or leave armed each of these orders by what the market shows of its token."""
    armed = armed_among(order_ids)
    seen = look_at(armed, happened, now)
    ready, left = [], []
    for one in armed:
        unmet = first_unmet(one.order.trigger, seen.states[mint_of(one)])
        if unmet is None and seen.allows(one) and not pauses().of(one.order.pair.name):
            ready.append(one)
        else:
            # One that only its price, or a pause, keeps is looked at again with every event of its token.
            left.append((one.order, unmet or one.order.trigger[0]))
    live.watch_for(left)
    moves = [fired(one, seen) for one in ready]
    won = progress.advance(moves)
    going = [move.order_id for move in moves if move.order_id in won and move.to is Status.TRIGGERED]
    if won:
        log.info("sniper orders fired", refused=len(won) - len(going), **about(going))
    if going:
        dispatch.send(dispatch.EXECUTE, going)


def armed_among(order_ids: Sequence[str]) -> list[Standing]:
    """Return how those orders stand that are armed, with the pair of a token that was listed a moment ago."""
    standing = live.standing(order_ids)
    if not all(is_traded(one) for one in standing.values()):
        catalogue.forget()
        standing = live.standing(order_ids)
    return [one for one in standing.values() if is_armed(one)]


def is_traded(one: Standing) -> bool:
    """Tell whether the catalogue, as this process remembers it, has the order's pair."""
    return one.order.pair.name in catalogue().pairs


def is_armed(one: Standing) -> bool:
    """Tell whether an order is a sniper's that waits, and in time."""
    waits = one.order.type is OrderType.SNIPER and one.status is Status.PENDING
    return waits and not is_over(one.order, now_ms())


def mint_of(one: Standing) -> str:
    """Name the token an order would buy."""
    return one.order.pair.token_out.mint


def look_at(armed: Sequence[Standing], happened: Mapping[str, MarketEvent], now: int) -> Seen:
    """Gather what the market shows of these orders' tokens."""
    windows: dict[str, set[int]] = defaultdict(set)
    for one in armed:
        windows[mint_of(one)] |= {condition.window_ms for condition in one.order.trigger if condition.window_ms}
    states = tape.states(windows, now)
    known = {mint: facts(mint, states[mint]) for mint in windows}
    return Seen(
        now, states, known, happened, prices({one.order.pair.name for one in armed if one.order.max_price}, now)
    )


def prices(pairs: Iterable[str], now: int) -> dict[str, Decimal]:
    """Return the best fresh price of each pair that has one."""
    found = {}
    for name, cached in quotes.cached(pairs).items():
        if winner := best(quote for quote in cached.quotes if quote.age(now) <= guards.QUOTE_FRESH_MS):
            found[name] = winner.net_price
    return found


def fired(one: Standing, seen: Seen) -> Move:
    """Make the move of an order whose conditions hold: on its way, or refused by a gate."""
    mint = mint_of(one)
    limits = Limits(guards.SNIPE_LIQUIDITY_MIN_USD * 100, guards.SNIPE_TOP_HOLDER_MAX_BPS)
    verdicts = gates.judge(seen.facts[mint], limits, allow_unknown=one.order.allow_unknown)
    evidence = {
        "trigger": {
            "kind": "market",
            "event": event_facts(seen.happened.get(mint), seen.now),
            "conditions": [
                {**condition.as_dict(), "value": shown(condition, seen.states[mint])} for condition in one.order.trigger
            ],
        },
        "gates": [verdict.as_dict() for verdict in verdicts],
    }
    steps: tuple[tuple[Status, events.Facts], ...] = ((Status.TRIGGERED, evidence),)
    if failure := refusal(one, verdicts):
        steps = (*steps, (Status.FAILED, events.failed(failure)))
    return Move(one.order.id, one.order.type, one.status, one.seq, one.attempt, steps, look_in_ms=live.GRACE_MS)


def refusal(one: Standing, verdicts: Sequence[Verdict]) -> Failure | None:
    """Say why an order that would fire must not: a gate refuses its token, or nobody sells it for the order's."""
    if refused := gates.refusals(verdicts):
        return Failure("gate_refused", f"the token was refused: {refused}", False, False)
    if not is_traded(one):
        return Failure("no_pair", f"{one.order.pair.name} is not a traded pair", False, False)
    return None


def event_facts(event: MarketEvent | None, now: int) -> dict[str, object] | None:
    """State the event on which an order fired; none for one whose conditions held when it was armed."""
    if event is None:
        return None
    return {
        "id": event.id,
        "kind": event.kind,
        "venue": event.venue,
        "usd": usd(event.amount),
        "at": events.moment(event.at),
        "ageMs": max(0, now - event.at),
    }


def shown(condition: Condition, state: TokenState) -> str:
    """Write what the market had of a condition: how many pools, or dollars."""
    match condition.kind:
        case Kind.LAUNCH:
            return str(state.pools)
        case Kind.LIQUIDITY:
            return usd(state.liquidity or 0)
        case Kind.VOLUME:
            return usd(state.volumes.get(condition.window_ms, 0))
