"""Orders as REST shows them after the calm, against their last event and their terms."""

from datetime import datetime

from tests.chaos.checker.terms import begins_well, decimal, in_force
from tests.chaos.checker.verdict import Verdict
from tests.chaos.checker.world import Json, World, facts, moment, normal


def check(world: World, verdict: Verdict) -> None:
    """Judge every order that was read."""
    for order_id in world.accepted:
        if order_id not in world.read_orders or order_id not in world.read_events:
            verdict.add("unread", order_id, "GET was not answered 200")
    for order_id, order in world.read_orders.items():
        events = world.read_events.get(order_id)
        if events and not expired_between(world, order, events):
            against_last(order, normal(events[-1]), verdict)
        if events and begins_well(events):
            against_terms(order, events, verdict)


def expired_between(world: World, order: Json, events: list[Json]) -> bool:
    """Tell whether an order's time was over after its events were read, and before it was."""
    at = datetime.fromisoformat(order["updatedAt"]).timestamp()
    return order["status"] == "expired" != events[-1]["status"] and at > world.calm_over


def against_last(order: Json, last: Json, verdict: Verdict) -> None:
    """Compare an order with its last event."""
    shown = {
        "status": order["status"],
        "seq": order["seq"],
        "attempt": order["attempt"],
        "at": moment(datetime.fromisoformat(order["updatedAt"])),
        "epoch": order.get("epoch", 0),
        "facts": order["result"],
    }
    told = {name: last[name] for name in ("status", "seq", "attempt", "at", "epoch")} | {"facts": facts(last)}
    if order["seq"] == 1 and not shown["facts"].keys() - {"kind"}:
        # As the API's own example has it: what was asked is among the order's own fields.
        del shown["facts"]
    wrong = {name: (shown[name], told[name]) for name in shown if shown[name] != told[name]}
    if wrong:
        verdict.add("order_differs_event", order["orderId"], f"order and last event: {str(wrong)[:400]}")


def against_terms(order: Json, events: list[Json], verdict: Verdict) -> None:
    """Compare the terms that an order shows with those of its history."""
    terms = in_force(events)
    names = ("amount", "amountOut", "limitPrice", "maxPrice")
    shown = (*(decimal(order[name]) for name in names), order["expiresAt"])
    told = (terms.amount, terms.amount_out, terms.limit_price, terms.max_price, terms.expires_at)
    if shown != told:
        verdict.add("order_terms", order["orderId"], f"shows {shown}, its history {told}")
