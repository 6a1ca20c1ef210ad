"""An order's terms along its history: what was asked, and what was amended."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.chaos.checker.world import Answer, Json, World

NAMES = {"amount": "amountIn", "limitPrice": "limitPrice", "maxPrice": "maxPrice", "expiresAt": "expiresAt"}
"""Fields of a PATCH, and what events call them."""


@dataclass(frozen=True)
class Terms:
    """The terms in force, as whole tokens and prices."""

    amount: Decimal
    limit_price: Decimal | None
    max_price: Decimal | None
    expires_at: str | None
    amount_out: Decimal | None = None
    """What is bought exactly; `amount` is then the most that may be spent."""


def decimal(value: Any) -> Decimal | None:
    """Read a decimal that may be absent."""
    return None if value is None else Decimal(str(value))


def stated(event: Json) -> Terms:
    """Return the terms that event 1 states."""
    return Terms(
        Decimal(str(event["amountIn"])),
        decimal(event.get("limitPrice")),
        decimal(event.get("maxPrice")),
        event.get("expiresAt"),
        decimal(event.get("amountOut")),
    )


def in_force(events: list[Json]) -> Terms:
    """Return the terms at the end of a history: those of event 1, and every amendment."""
    known: Json = {name: events[0].get(name) for name in (*NAMES.values(), "amountOut")}
    for event in events:
        for name, change in event.get("amended", {}).items():
            known[name] = change["to"]
    return stated(known)


def is_in(patch: Answer, events: list[Json]) -> bool:
    """Tell whether a history has an amendment that makes just these changes."""
    return any(makes(event.get("amended"), patch.asked["changes"]) for event in events)


def makes(amended: Json | None, changes: Json) -> bool:
    """Tell whether an event's amendment makes these changes."""
    if not amended:
        return False
    wanted = {NAMES[name]: value for name, value in changes.items()}
    return wanted.keys() == amended.keys() and all(same(name, amended[name]["to"], wanted[name]) for name in wanted)


def same(name: str, one: Any, other: Any) -> bool:
    """Compare two values of a term, however they are written."""
    if name == "expiresAt" or one is None or other is None:
        return bool(one == other)
    return decimal(one) == decimal(other)


def history(world: World, order_id: str) -> list[Json]:
    """Return an order's events as Postgres has them, if they begin with what was asked."""
    events = world.events.get(order_id, [])
    return events if begins_well(events) else []


def begins_well(events: list[Json]) -> bool:
    """Tell whether events begin with the one that states what was asked."""
    return bool(events) and events[0]["seq"] == 1 and "amountIn" in events[0]
