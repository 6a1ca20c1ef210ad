"""What is measured and judged by people: recovery, lateness, refusals."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from tests.chaos.checker import stories
from tests.chaos.checker.world import FINAL, Json, Told, World

STORES = frozenset({"redis", "postgres"})
OTHERS = STORES | {"clock", "messages", "venues", "chain"}
"""What else may keep an order from moving on."""
NEEDED = STORES | {"venues", "chain"}
LONG_S = 30.0
"""An outage as long as a market order has time is a long one."""
HOLDING = frozenset({"kill", "freeze", "short freeze"})
AROUND_S = 3.0
"""How long a store's fault is felt after its end: connections are made anew, Postgres recovers."""
STOOD_S = 0.5
"""An order that moved on sooner was not held up."""

Span = tuple[float, float]
Move = tuple[float, str, str]
"""When an order came to what status, and its type."""


def measure(world: World) -> Json:
    """Return all figures of a run."""
    ends = Counter(end_of(world, row.id, row.status) for row in world.rows.values())
    told = [stories.of(messages) for messages in world.stories.values()]
    return {
        "orders": {"acknowledged": len(world.accepted), "rows": len(world.rows), "ends": dict(ends.most_common())},
        "executions": dict(Counter(one.landing for one in world.executions)),
        "stories": {
            "followed": len(told),
            "rewound": sum(story.rewinds > 0 for story in told),
            "ended more than once": sum(len(story.ends) > 1 for story in told),
        },
        "faults": dict(Counter(fault["kind"] for fault in world.faults if "kind" in fault)),
        "answers": answers(world, spans(world, STORES)),
        "stood still after a kill or freeze of an order worker, seconds": recovery(world),
        "went on after an outage of 30 s or more, seconds": resumption(world),
        "expired after its time, seconds": lateness(world),
        "ioc orders from 202 to their end, seconds": impatience(world),
    }


def end_of(world: World, order_id: str, status: str) -> str:
    """Name an order's end; a failed one by its code."""
    events = world.events.get(order_id)
    return f"failed: {events[-1].get('code')}" if status == "failed" and events else status


def answers(world: World, away: Sequence[Span]) -> Json:
    """Count answers by verb and status; refusals with and without a store's fault."""
    every = (*world.posts, *world.deletes, *world.patches, *world.pair_deletes)
    counted = Counter(f"{one.verb} {one.status or 'unanswered'}" for one in every)
    refused = [one for one in every if one.status == 503]
    during = sum(overlaps(away, one.asked_at, one.answered_at) for one in refused)
    return {**dict(sorted(counted.items())), "503 while a store had a fault": during, "503 else": len(refused) - during}


def recovery(world: World) -> Json:
    """Measure orders that stood still when an order worker was killed or frozen, by the times of their events.

    From the fault, or from when an order worker was there again; one that moved within STOOD_S was in other hands.
    """
    there = presence(world)
    lives = [moves(told) for told in world.stories.values()]
    others = spans(world, OTHERS)
    plain, troubled = [], []
    for fault in world.faults:
        if fault.get("kind") in HOLDING and str(fault.get("target", "")).startswith("order"):
            for begun, moved in standing(lives, fault["from"], is_held, STOOD_S):
                since = max(begun, first_after(there, begun))
                (troubled if overlaps(others, begun, moved) else plain).append(max(0.0, moved - since))
    return {"nothing else was wrong": spread(plain), "something else was, too": spread(troubled)}


def moves(told: Iterable[Told]) -> list[Move]:
    """Return when an order came to what status, with its type; as a client was told."""
    kind, found = "", []
    for one in told:
        if "status" in one.message:
            kind = one.message.get("type", kind)
            found.append((moment_of(one.message), str(one.message["status"]), kind))
    return sorted(found, key=lambda one: one[0])


def moment_of(event: Json) -> float:
    """Return when an event was, in epoch seconds of the store's clock."""
    return datetime.fromisoformat(event["at"]).timestamp()


def standing(
    lives: Iterable[Sequence[Move]], at: float, is_concerned: Callable[[Move], bool], least_s: float
) -> Iterable[Span]:
    """Yield those of the orders concerned that stood still then for longer than that: from then until they moved."""
    for life in lives:
        place = bisect_right(life, at, key=lambda one: one[0])
        if not 0 < place < len(life) or not is_concerned(life[place - 1]):
            continue
        moved = life[place][0]
        if moved - at > least_s:
            yield at, moved


def is_held(last: Move) -> bool:
    """Tell whether an order that was last heard of so may be in a worker's hands."""
    _, status, kind = last
    return status in ("triggered", "routing", "building") or (status == "pending" and kind == "market")


def presence(world: World) -> list[tuple[float, bool]]:
    """Return since when some order worker was there, and since when none."""
    return [(line["from"], bool(line["there"])) for line in world.faults if "there" in line]


def first_after(there: Sequence[tuple[float, bool]], at: float) -> float:
    """Return the first moment from `at` on at which an order worker was there."""
    place = bisect_right(there, at, key=lambda one: one[0])
    if place == 0 or there[place - 1][1]:
        return at
    return next((since for since, is_there in there[place:] if is_there), at)


def resumption(world: World) -> Json:
    """Measure how long after a long outage each order moved on that was under way at its end."""
    lives = [moves(told) for told in world.stories.values()]
    found: dict[str, Any] = {}
    for fault in world.faults:
        if fault.get("of") in NEEDED and fault["to"] - fault["from"] >= LONG_S:
            waited = [moved - fault["to"] for _, moved in standing(lives, fault["to"], is_under_way, 0.0)]
            found[fault["kind"]] = spread(waited)
    return found


def is_under_way(last: Move) -> bool:
    """Tell whether an order that was last heard of so neither rests nor is over."""
    return is_held(last) or last[1] == "submitted"


def lateness(world: World) -> Json:
    """Measure how long after its time an order expired, by the store's clock."""
    others = spans(world, OTHERS | {"process"})
    plain, troubled = [], []
    for told in world.stories.values():
        for one in told:
            if one.message.get("status") == "expired" and "expiresAt" in one.message:
                due, at = datetime.fromisoformat(one.message["expiresAt"]).timestamp(), moment_of(one.message)
                (troubled if overlaps(others, due, at) else plain).append(at - due)
    return {"nothing was wrong": spread(plain), "something was": spread(troubled)}


def impatience(world: World) -> Json:
    """Measure how long orders that are to be filled at once or not at all kept their client waiting."""
    accepted, found = world.accepted, []
    for (_, order_id), told in world.stories.items():
        ends = [one.at for one in told if one.message.get("status") in FINAL]
        if ends and told[0].message.get("timeInForce") == "ioc" and order_id in accepted:
            found.append(ends[0] - accepted[order_id].answered_at)
    return spread(found)


def spans(world: World, of: Collection[str]) -> list[Span]:
    """Return when faults of these parts were felt."""
    return merged((one["from"], one["to"] + AROUND_S) for one in world.faults if one.get("of") in of)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Join spans that overlap."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def overlaps(spans: Sequence[Span], begin: float, end: float) -> bool:
    """Tell whether any of these spans, which do not overlap one another, overlaps another one."""
    place = bisect_right(spans, end, key=lambda span: span[0])
    return place > 0 and spans[place - 1][1] >= begin


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Summarise a distribution."""
    ranked = sorted(values)
    if not ranked:
        return {"n": 0}
    at = {f"p{part}": ranked[min(len(ranked) - 1, len(ranked) * part // 100)] for part in (50, 90, 99)}
    return {"n": len(ranked), **{name: round(value, 2) for name, value in at.items()}, "max": round(ranked[-1], 2)}
