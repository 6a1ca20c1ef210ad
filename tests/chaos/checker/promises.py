"""What clients were answered binds: a cancellation, an amendment, a name."""

from collections import defaultdict
from datetime import datetime

from tests.chaos.checker.executions import by_order
from tests.chaos.checker.terms import decimal, history, in_force, is_in, same
from tests.chaos.checker.verdict import Verdict
from tests.chaos.checker.world import Answer, World, moment, units

DESERVED = {
    "POST": {0, 202, 503},
    "DELETE": {0, 200, 409, 503},
    "PATCH": {0, 200, 409, 412, 503},
    "DELETE pair": {0, 200, 503},
}
"""What a sound request may be answered; 0 is no answer."""
CLOCKS_S = 6.0
"""How far a store's clock may be ahead of a client's."""
PAIR_REASON = "all of the pair cancelled by the client"


def check(world: World, verdict: Verdict) -> None:
    """Hold every answer against what came of it."""
    answers(world, verdict)
    names(world, verdict)
    first_events(world, verdict)
    cancellations(world, verdict)
    pairs(world, verdict)
    amendments(world, verdict)
    rows(world, verdict)


def answers(world: World, verdict: Verdict) -> None:
    """Find answers that no sound request deserves."""
    for one in (*world.posts, *world.deletes, *world.patches, *world.pair_deletes):
        if one.status not in DESERVED[one.verb] and not came_too_late(one):
            says = f"{one.verb} answered {one.status}: {str(one.body)[:300]}"
            verdict.add("answered_wrong", one.asked.get("order"), says, asked=one.asked)


def came_too_late(one: Answer) -> bool:
    """Tell whether a request was refused for a time of expiry that was over, or nearly so, when it was read."""
    expires_at = {**one.asked, **one.asked.get("changes", {})}.get("expiresAt")
    fields = [field.get("field") for field in one.body.get("error", {}).get("fields", [])]
    late = expires_at and datetime.fromisoformat(expires_at).timestamp() < one.answered_at + CLOCKS_S
    return one.status == 400 and fields == ["expiresAt"] and bool(late)


def names(world: World, verdict: Verdict) -> None:
    """See that a clientOrderId, however often it was sent, is one order."""
    ids: dict[str, set[str]] = defaultdict(set)
    for post in world.posts:
        if post.status == 202:
            ids[str(post.asked["clientOrderId"])].add(str(post.body["orderId"]))
    for name, found in ids.items():
        if len(found) > 1:
            verdict.add(
                "repeat_differs", min(found), f"clientOrderId {name} is {len(found)} orders", orders=sorted(found)
            )


def first_events(world: World, verdict: Verdict) -> None:
    """See that event 1 states what was asked."""
    for order_id, post in world.accepted.items():
        events = history(world, order_id)
        if not events:
            continue
        asked = {"amountIn": post.asked["amount"]} | {
            name: post.asked[name]
            for name in ("amountOut", "limitPrice", "maxPrice", "expiresAt")
            if name in post.asked
        }
        wrong = {name: events[0].get(name) for name in asked if not same(name, events[0].get(name), asked[name])}
        if wrong:
            verdict.add("first_event", order_id, f"states {wrong}, asked was {asked}")


def cancellations(world: World, verdict: Verdict) -> None:
    """See that what was answered cancelled is cancelled, and was not executed."""
    landed = by_order(world)
    for one in world.deletes:
        if one.status != 200:
            continue
        order_id = str(one.asked["order"])
        row = world.rows.get(order_id)
        if one.body.get("status") != "cancelled":
            verdict.add("cancel_misanswered", order_id, f"200, and the body says {one.body.get('status')}")
        if row is None or row.status != "cancelled":
            verdict.add("cancel_undone", order_id, f"answered 200, the order is {row.status if row else 'missing'}")
        if order_id in landed:
            verdict.add("cancelled_executed", order_id, f"answered 200, and {landed[order_id][0].memo} landed")


def pairs(world: World, verdict: Verdict) -> None:
    """See that as many orders of a pair are cancelled as was answered."""
    answered: dict[str, int] = defaultdict(int)
    for one in world.pair_deletes:
        if one.status == 200:
            answered[str(one.asked["pair"])] += int(one.body["cancelled"])
    for pair, count in answered.items():
        done = sum(
            row.pair == pair and row.status == "cancelled" and row.result.get("reason") == PAIR_REASON
            for row in world.rows.values()
        )
        if done < count:
            verdict.add("pair_cancel_undone", None, f"{pair}: {count} were answered, {done} are cancelled so")


def amendments(world: World, verdict: Verdict) -> None:
    """See that what was answered amended is in the order's history."""
    for one in world.patches:
        order_id = str(one.asked["order"])
        if one.status == 200 and order_id in world.rows and not is_in(one, history(world, order_id)):
            verdict.add("amendment_lost", order_id, f"answered 200, no event makes {one.asked['changes']}")


def rows(world: World, verdict: Verdict) -> None:
    """See that a row's terms are those of the order's history."""
    for row in world.rows.values():
        events = history(world, row.id)
        if not events:
            continue
        terms = in_force(events)
        sold, bought = world.tokens(row.pair)
        expires_at = row.expires_at and moment(row.expires_at)
        held = (row.amount_in, row.amount_out, row.limit_price, row.max_price, expires_at)
        told = (
            units(terms.amount, sold),
            None if terms.amount_out is None else units(terms.amount_out, bought),
            decimal(terms.limit_price),
            decimal(terms.max_price),
            terms.expires_at,
        )
        if held != told:
            verdict.add("row_terms", row.id, f"the row has {held}, the history {told}")
