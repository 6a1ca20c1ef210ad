"""Every acknowledged order is kept, and is final or rests rightly."""

from datetime import datetime, timedelta
from decimal import Decimal

from tests.chaos.checker.verdict import Verdict
from tests.chaos.checker.world import FINAL, Row, World

CLOSELY = Decimal("0.005")
"""By how much BEST must be past a limit before the order has to have fired: depth and fees of its own size."""
SEEN_S = 20.0
"""For how long, up to the end of the calm, BEST must have been there."""
EXPIRED_S = 10.0
"""How long after its time an order may still wait for its expiry."""
LATE_S = 2.0
"""How long after the calm an end may be dated that came within it: clocks of stores differ."""
AWAY = frozenset({"no_quote", "chain_unreachable", "store_unreachable", "gate_refused"})
"""Codes of failures that say that something was away: the tokens of a run pass every token check."""
DEADLINE_S = 30.0
"""How long a market order is tried that states no deadline."""
OUT_OF_REACH = Decimal(10) ** 11
"""A sniper's threshold in USD that no market reaches; a launch of a token nobody launches is as far."""


def check(world: World, verdict: Verdict) -> None:
    """Judge how every order stands."""
    for order_id in world.accepted:
        if order_id not in world.rows:
            verdict.add("acknowledged_missing", order_id, "answered 202, and there is no row")
    for row in world.rows.values():
        if why := ended_by_outage(row, world):
            verdict.add("ended_by_outage", row.id, f"{row.type} order: {why}")
        if row.status in FINAL:
            if late := ended_late(row, world):
                verdict.add("unfinished", row.id, f"{row.type} order {row.status} {late:.1f} s after the calm")
            continue
        known = "acknowledged" if row.id in world.accepted else "not acknowledged"
        if why := unrested(row, world):
            verdict.add("unfinished", row.id, f"{row.type} order {row.status} at seq {row.seq}, {known}: {why}")
        elif why := reached(row, world):
            verdict.add("resting_though_reached", row.id, f"{row.type} order at seq {row.seq}: {why}")


def ended_by_outage(row: Row, world: World) -> str:
    """Say why an order's failure is not its own; nothing for any other end."""
    events = world.events.get(row.id, [])
    if row.status != "failed" or not events or events[-1].get("code") not in AWAY:
        return ""
    first, last = events[0], events[-1]
    deadline = first.get("deadline")
    if row.type == "market" and datetime.fromisoformat(last["at"]) >= due(first["at"], deadline):
        return ""
    return f"{last['code']} at {last['at']}, placed at {first['at']}, its deadline is {deadline}: {last.get('message')}"


def due(placed: str, deadline: str | None) -> datetime:
    """Return until when a market order is tried, whatever is away."""
    return (
        datetime.fromisoformat(deadline) if deadline else datetime.fromisoformat(placed) + timedelta(seconds=DEADLINE_S)
    )


def ended_late(row: Row, world: World) -> float:
    """Return how many seconds after the calm an order ended, other than by its own time; 0 for in time."""
    events = world.events.get(row.id)
    if not events or row.status == "expired":
        return 0.0
    late = datetime.fromisoformat(events[-1]["at"]).timestamp() - world.calm_over
    return late if late > LATE_S else 0.0


def unrested(row: Row, world: World) -> str:
    """Say why an order that is not final does not rest rightly; nothing when it may."""
    if row.type == "market" or row.status != "pending":
        return "nothing it could wait for"
    if row.time_in_force == "ioc":
        return "an ioc order waits for nothing"
    if row.expires_at and row.expires_at.timestamp() < world.calm_over - EXPIRED_S:
        return f"it expired at {row.expires_at}"
    return ""


def reached(row: Row, world: World) -> str:
    """Say why an order that rests should have fired; nothing when it should not."""
    if row.limit_price is not None:
        least = lowest(row.pair, world)
        if least is not None and least >= row.limit_price * (1 + CLOSELY):
            return f"BEST was at least {least} for {SEEN_S:g} s, the limit is {row.limit_price}"
        return ""
    if row.max_price is None and not any(map(is_far, row.trigger)):
        return f"every condition holds: {row.trigger}"
    return ""


def lowest(pair: str, world: World) -> Decimal | None:
    """Return the least that BEST was lately; None when nobody knows."""
    seen = world.best.get(pair, [])
    since = world.calm_over - SEEN_S
    lately = [price for at, price in seen if at >= since]
    return min(lately) if lately and seen[0][0] <= since else None


def is_far(condition: dict[str, object]) -> bool:
    """Tell whether a condition is one that never comes to hold."""
    return condition["kind"] == "launch" or Decimal(str(condition.get("atLeast", 0))) >= OUT_OF_REACH
