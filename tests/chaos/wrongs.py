"""What can be wrong with a run: for each kind of violation, ways to bring it into the world in which all went well."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from tests.chaos.checker.world import Answer, Told, World
from tests.chaos.fabricated import AMENDED, ARMED, CANCELLED, EXACT, MARKET, NOW, RESTING, execute, read, state

TOLD = "socket"


def story(world: World, order_id: str = MARKET) -> list[Told]:
    """Return what a client was told of an order."""
    return world.stories[TOLD, order_id]


def say(world: World, place: int, order_id: str = MARKET, **message: object) -> None:
    """Have a client be told something else at that place."""
    story(world, order_id).insert(place, Told(4.0, message))


def end(world: World, order_id: str, status: str) -> None:
    """Have an order end otherwise, everywhere."""
    world.rows[order_id].status = status
    for events in (world.events[order_id], [told.message for told in story(world, order_id)]):
        events[-1]["status"] = status
    read(world, order_id)


def acknowledged_missing(world: World) -> None:
    world.posts.append(Answer("POST", {**world.posts[0].asked, "clientOrderId": "lost"}, 202, {"orderId": "lost"}))


def unfinished(world: World) -> None:
    for known in (world.events[MARKET], story(world), world.read_events[MARKET]):
        del known[3:]
    world.rows[MARKET].status, world.rows[MARKET].seq = "building", 3
    world.executions = [one for one in world.executions if one.order_id != MARKET]
    world.attempts[MARKET] = []
    read(world, MARKET)


def unfinished_past_its_time(world: World) -> None:
    world.rows[RESTING].expires_at = NOW.replace(hour=11)
    for known in (world.events[RESTING], [told.message for told in story(world, RESTING)]):
        known[0]["expiresAt"] = "2026-01-01T11:00:00.000Z"
    read(world, RESTING)


def ended_after_the_calm(world: World) -> None:
    world.calm_over -= 600
    for known in (world.best["SOL-USDC"],):
        known[:] = [(at - 600, price) for at, price in known]
    for order_id in (CANCELLED, AMENDED, EXACT):
        for events in (world.events[order_id], [told.message for told in story(world, order_id)]):
            events[-1]["at"] = "2026-01-01T11:49:59.000Z"
        read(world, order_id)


def unfinished_ioc(world: World) -> None:
    world.rows[RESTING].time_in_force = "ioc"


def ended_by_outage(world: World) -> None:
    unfinished(world)
    fail(world, MARKET, "chain_unreachable", "2026-01-01T11:58:04.000Z")


def ended_by_a_refusal_of_what_was_forgotten(world: World) -> None:
    unfinished(world)
    world.rows[MARKET].type = "sniper"
    fail(world, MARKET, "gate_refused", "2026-01-01T11:59:44.000Z")


def fail(world: World, order_id: str, code: str, at: str) -> None:
    """Have an order fail."""
    event = {**world.events[order_id][-1], "seq": 4, "status": "failed", "at": at, "code": code}
    world.events[order_id].append(event)
    story(world, order_id).append(Told(5.0, dict(event)))
    world.rows[order_id].status, world.rows[order_id].seq = "failed", 4
    read(world, order_id)


def resting_though_reached(world: World) -> None:
    world.best["SOL-USDC"] = [(at, Decimal(162)) for at, _ in world.best["SOL-USDC"]]


def armed_though_met(world: World) -> None:
    world.rows[ARMED].trigger = [{"kind": "liquidity", "atLeast": "1000"}]


def executed_twice(world: World) -> None:
    again = replace(world.executions[0], signature="another", memo=f"{MARKET}:2")
    world.executions.append(again)
    world.attempts[MARKET].append(replace(world.attempts[MARKET][0], number=2, signature="another"))


def executed_unconfirmed(world: World) -> None:
    end(world, MARKET, "failed")


def confirmed_unexecuted(world: World) -> None:
    world.executions = [one for one in world.executions if one.order_id != MARKET]
    world.attempts[MARKET] = []


def confirmed_otherwise(world: World) -> None:
    state(world, MARKET, replace(world.executions[0], amount_out=1))
    story(world)[-1].message.update(world.events[MARKET][-1])
    read(world, MARKET)


def executed_without_attempt(world: World) -> None:
    world.attempts[MARKET] = []


def attempt_contradicts_chain(world: World) -> None:
    world.attempts[MARKET][0].state = "withdrawn"


def attempt_the_chain_never_saw(world: World) -> None:
    world.attempts[MARKET].append(replace(world.attempts[MARKET][0], number=2, state="rejected", signature="unknown"))


def below_limit(world: World) -> None:
    one = next(one for one in world.executions if one.order_id == AMENDED)
    one.amount_out, one.minimum_out = one.amount_in * 159 // 1000, 0
    state(world, AMENDED, one)
    for event in (world.events[AMENDED][-1], story(world, AMENDED)[-1].message):
        event |= {"amountOut": str(Decimal(one.amount_out).scaleb(-6)), "executedPrice": "159"}
    read(world, AMENDED)


def stale_terms(world: World) -> None:
    one = next(one for one in world.executions if one.order_id == AMENDED)
    one.amount_in, one.amount_out = 2 * 10**9, 330 * 10**6
    one.minimum_out = one.amount_out
    state(world, AMENDED, one)
    story(world, AMENDED)[-1].message.update(world.events[AMENDED][-1])
    read(world, AMENDED)


def exact_fill(world: World, **facts: int) -> None:
    """Have the order that buys an exact amount be filled with other amounts, and everybody told so."""
    one = next(one for one in world.executions if one.order_id == EXACT)
    for name, value in facts.items():
        setattr(one, name, value)
    state(world, EXACT, one)
    price = Decimal(one.amount_out) * 1000 / one.amount_in
    world.events[EXACT][-1]["executedPrice"] = str(price)
    story(world, EXACT)[-1].message.update(world.events[EXACT][-1])
    read(world, EXACT)


def bought_another_amount(world: World) -> None:
    exact_fill(world, amount_out=166 * 10**6)


def spent_more_than_it_may(world: World) -> None:
    exact_fill(world, amount_in=1_600_000_000, maximum_in=1_600_000_000)


def took_more_than_signed_for(world: World) -> None:
    exact_fill(world, amount_in=1_000_000_002, maximum_in=1_000_000_001)


def took_without_a_bound(world: World) -> None:
    next(one for one in world.executions if one.order_id == EXACT).maximum_in = None


def cancelled_executed(world: World) -> None:
    world.events[CANCELLED][-1]["status"] = "confirmed"
    execute(world, CANCELLED)
    story(world, CANCELLED)[-1].message.update(world.events[CANCELLED][-1])
    end(world, CANCELLED, "confirmed")


def cancel_undone(world: World) -> None:
    end(world, CANCELLED, "failed")


def cancel_misanswered(world: World) -> None:
    world.deletes[0].body["status"] = "pending"


def pair_cancel_undone(world: World) -> None:
    world.pair_deletes.append(Answer("DELETE pair", {"pair": "SOL-USDC"}, 200, {"cancelled": 1, "lost": 0}))


def amendment_lost(world: World) -> None:
    world.patches.append(Answer("PATCH", {"order": RESTING, "ifMatch": 1, "changes": {"limitPrice": "170"}}, 200, {}))


def row_terms(world: World) -> None:
    world.rows[RESTING].limit_price = Decimal(170)


def first_event(world: World) -> None:
    next(post for post in world.posts if post.body["orderId"] == RESTING).asked["amount"] = "9"


def repeat_differs(world: World) -> None:
    world.posts.append(replace(world.posts[0], body={"orderId": CANCELLED}))


def answered_wrong(world: World) -> None:
    world.patches.append(Answer("PATCH", {"order": RESTING, "ifMatch": 1, "changes": {}}, 500, {}))


def told_unknown(world: World) -> None:
    say(world, 1, error={"code": "not_found"})


def story_gap(world: World) -> None:
    del story(world)[2]


def story_repeat(world: World) -> None:
    story(world).insert(2, story(world)[1])


def story_rewind(world: World) -> None:
    say(world, 2, rewoundTo=4, epoch=2)


def story_epoch(world: World) -> None:
    for known in (world.events[MARKET], [told.message for told in story(world)]):
        known[2]["epoch"] = 0
    read(world, MARKET)


def story_after_end(world: World) -> None:
    story(world, CANCELLED).append(Told(9.0, {**world.events[MARKET][1], "seq": 3}))


def story_unended(world: World) -> None:
    del story(world)[-1]


def story_end_overturned(world: World) -> None:
    told = story(world)
    say(world, 4, **{**told[-1].message, "seq": 5, "status": "failed"})
    say(world, 5, rewoundTo=4, epoch=2)
    for known in (world.events[MARKET][4], told[-1].message):
        known["epoch"] = 2
    read(world, MARKET)


def story_differs_at(world: World) -> None:
    story(world)[2].message["at"] = "2026-01-01T11:58:59.000Z"


def story_differs_facts(world: World) -> None:
    story(world)[2].message["venue"] = "METEORA"


def story_differs_events(world: World) -> None:
    story(world)[1].message["status"] = "triggered"


def rest_differs_rows(world: World) -> None:
    world.events[MARKET][2]["venue"] = "METEORA"


def rows_gap(world: World) -> None:
    world.rows[MARKET].seq = 6


def order_differs_event(world: World) -> None:
    world.read_orders[MARKET]["seq"] = 4


def order_terms(world: World) -> None:
    world.read_orders[RESTING]["amount"] = "1"


def unread(world: World) -> None:
    del world.read_orders[MARKET]


WRONGS: dict[str, list[Callable[[World], None]]] = {
    "acknowledged_missing": [acknowledged_missing],
    "unfinished": [unfinished, ended_after_the_calm, unfinished_past_its_time, unfinished_ioc],
    "resting_though_reached": [resting_though_reached, armed_though_met],
    "ended_by_outage": [ended_by_outage, ended_by_a_refusal_of_what_was_forgotten],
    "executed_twice": [executed_twice],
    "executed_unconfirmed": [executed_unconfirmed],
    "confirmed_unexecuted": [confirmed_unexecuted],
    "confirmed_otherwise": [confirmed_otherwise],
    "executed_without_attempt": [executed_without_attempt],
    "attempt_contradicts_chain": [attempt_contradicts_chain, attempt_the_chain_never_saw],
    "below_limit": [below_limit, took_more_than_signed_for, took_without_a_bound],
    "stale_terms": [stale_terms, bought_another_amount, spent_more_than_it_may],
    "cancelled_executed": [cancelled_executed],
    "cancel_undone": [cancel_undone],
    "cancel_misanswered": [cancel_misanswered],
    "pair_cancel_undone": [pair_cancel_undone],
    "amendment_lost": [amendment_lost],
    "row_terms": [row_terms],
    "first_event": [first_event],
    "repeat_differs": [repeat_differs],
    "answered_wrong": [answered_wrong],
    "told_unknown": [told_unknown],
    "story_gap": [story_gap],
    "story_repeat": [story_repeat],
    "story_rewind": [story_rewind],
    "story_epoch": [story_epoch],
    "story_after_end": [story_after_end],
    "story_unended": [story_unended],
    "story_end_overturned": [story_end_overturned],
    "story_differs_at": [story_differs_at],
    "story_differs_facts": [story_differs_facts],
    "story_differs_events": [story_differs_events],
    "rest_differs_rows": [rest_differs_rows],
    "rows_gap": [rows_gap],
    "order_differs_event": [order_differs_event],
    "order_terms": [order_terms],
    "unread": [unread],
}
