"""What must hold once a cell has come to rest: chain, Postgres, Redis and every client say the same."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engine.lifecycle import AttemptState
from engine.money import from_units, plain
from engine.orders import OrderType
from orders import models
from orders.models import SetAside
from orders.operations import reconciliation
from orders.stores import balances, event_codec, history, live, order_view, positions
from routing.risk_limits import risk_limits
from tests.chaos.matrix.blows import COSTS_A_TRY, Blow
from tests.chaos.matrix.follower import Event, Story
from tests.chaos.matrix.world import World

if TYPE_CHECKING:
    from tests.chaos.matrix.cells import Cell

SOLD = {OrderType.MARKET: 1_500_000_000, OrderType.LIMIT: 1_500_000_000, OrderType.SNIPER: 500_000_000}
SOLD_AMENDED = 7_000_000_000
IN_VAIN = (AttemptState.REJECTED, AttemptState.EXPIRED)


def wrong(world: World, cell: "Cell") -> list[str]:
    """Return what is wrong with a cell that has come to rest."""
    for order_id in world.followers:
        row = models.Order.objects.prefetch_related("events", "attempts").get(pk=order_id)
        is_first = order_id == world.order_id
        ends_rightly(world, cell, row, is_first=is_first)
        says_what_the_chain_says(world, row)
        keeps_to_its_terms(world, row)
        is_told_alike(world, row)
        uses_up_no_try(world, cell, row)
    finds_nothing_to_repair(world)
    return world.complaints


def ends_rightly(world: World, cell: "Cell", row: models.Order, *, is_first: bool) -> None:
    """Check the order's end."""
    allowed = {cell.life.ends}
    if cell.life.name == "replay":
        allowed = {"failed" if is_first else "confirmed"}
    answers = {wish.name: wish.answer for wish in world.wishes}
    if answers.get("cancel") == 200:
        allowed = {"cancelled"}
    elif cell.blow is Blow.EXPIRED:
        allowed = {"confirmed", "expired"}
    elif is_first and failed_at_last(row):
        allowed = {"failed"}
    if row.status not in allowed:
        world.complain(f"it ended {row.status}, not {' or '.join(sorted(allowed))}: {row.result}")


def says_what_the_chain_says(world: World, row: models.Order) -> None:
    """Check that the order is confirmed if a transaction of it landed, and only then, with what it sold and got."""
    landed = world.chain.landed(str(row.pk))
    if len(landed) > 1:
        world.complain(f"executed {len(landed)} times: {landed}")
    if bool(landed) != (row.status == "confirmed"):
        world.complain(f"{row.status}, while the chain executed {landed}")
    elif landed:
        one, pair = landed[0], world.pair
        truth = {
            "txHash": one.signature,
            "amountIn": plain(from_units(one.amount_in, pair.token_in)),
            "amountOut": plain(from_units(one.amount_out, pair.token_out)),
        }
        if said := {name: row.result.get(name) for name in truth if row.result.get(name) != truth[name]}:
            world.complain(f"it says {said}, the chain {truth}")
    unsettled = [a for a in row.attempts.all() if a.state in (AttemptState.PREPARED, AttemptState.SENT)]
    if unsettled:
        world.complain(f"attempts are left: {[attempt.state for attempt in unsettled]}")
    holding = [a.signature for a in row.attempts.all() if a.state == AttemptState.LANDED]
    if holding != [one.signature for one in landed]:
        world.complain(f"attempts say that {holding} landed, the chain {landed}")


def keeps_to_its_terms(world: World, row: models.Order) -> None:
    """Check that what was executed is what the order asked for, as it was last amended, at its limit or better."""
    was_answered = any(wish.name == "amend" and wish.answer == 200 for wish in world.wishes)
    is_amended = row.terms_seq > 1
    if was_answered and not is_amended:
        world.complain("an amendment that was answered is gone")
    for one in world.chain.landed(str(row.pk)):
        if (
            one.amount_in != (SOLD_AMENDED if is_amended else SOLD[OrderType(row.type)])
            or one.amount_in != row.amount_in
        ):
            world.complain(f"it sold {one.amount_in}, its terms are {row.amount_in}, amended: {is_amended}")
        paid, sold = from_units(one.amount_out, world.pair.token_out), from_units(one.amount_in, world.pair.token_in)
        if row.limit_price is not None and paid < sold * row.limit_price:
            world.complain(f"it was filled at {paid / sold}, below its limit of {row.limit_price}")


def is_told_alike(world: World, row: models.Order) -> None:
    """Check that Postgres, Redis, REST and every client tell the same story, without a gap."""
    told = [history.as_wire(event) for event in row.events.order_by("seq")]
    if [event["seq"] for event in told] != list(range(1, row.seq + 1)):
        world.complain(f"Postgres has the events {brief(told)} of an order at {row.seq}")
    here = [event_codec.load(text) for text in live.events([str(row.pk)]).get(str(row.pk), [])]
    if here and not same(here, told):
        world.complain(f"Redis has {brief(here)}, Postgres {brief(told)}")
    if not same(history.of(row), told):
        world.complain(f"history has {brief(history.of(row))}, Postgres {brief(told)}")
    follower = world.followers[str(row.pk)]
    for story in follower.all_told():
        if not same(story.events, told):
            world.complain(f"a client was told {brief(story.events)}, Postgres has {brief(told)}")
    if follower.closed is None:
        world.complain("no client was told the end")
    elif not same(without_epoch(follower.closed), [{**event, "epoch": 0} for event in told]):
        world.complain(f"a client that left was told {brief(follower.closed.events)}, Postgres has {brief(told)}")
    shown_alike(world, row, told[-1])


def shown_alike(world: World, row: models.Order, last: Event) -> None:
    """Check that REST shows the last event."""
    (shown,) = order_view.shown([row], lambda _: {})
    at = shown["updatedAt"] if isinstance(shown["updatedAt"], str) else history.events.moment(
        history.terms.epoch_ms(shown["updatedAt"])
    )  # fmt: skip
    said = (shown["status"], shown["seq"], shown["epoch"], at, shown["result"])
    if said != (last["status"], last["seq"], last["epoch"], last["at"], event_codec.facts_of(last)):
        world.complain(f"REST shows {said}, the last event is {last}")


def without_epoch(story: Story) -> list[Event]:
    """Return a story's events for one who did not hear in which epoch they are told now."""
    return [{**event, "epoch": 0} for event in story.events]


def same(one: Iterable[Event], other: Iterable[Event]) -> bool:
    """Tell whether two stories are the same."""
    return list(one) == list(other)


def brief(events: Iterable[Event]) -> list[Any]:
    """Say which events these are."""
    return [(event["seq"], event["epoch"], event["status"], event["at"][-8:]) for event in events]


def failed_at_last(row: models.Order) -> bool:
    """Tell whether the last try an order has was tried in vain; `uses_up_no_try` checks that it had come to that."""
    attempts = list(row.attempts.order_by("number"))
    return bool(attempts) and attempts[-1].state in IN_VAIN and attempts[-1].tries == risk_limits.MAX_ATTEMPTS


def uses_up_no_try(world: World, cell: "Cell", row: models.Order) -> None:
    """Check that an order has used up tries for what was tried alone, and for a worker that was gone."""
    most = 1 + int(cell.blow in COSTS_A_TRY) + int(cell.life.name.startswith("left"))
    for one in row.attempts.order_by("number"):
        if one.tries > most:
            world.complain(f"its attempt {one.number} was try {one.tries}, not {most} at most")
        most += one.state in IN_VAIN


def finds_nothing_to_repair(world: World) -> None:
    """Check that nothing is left to repair, nothing was set aside, and balances and positions equal the ledger."""
    repaired = {kind: count for kind, count in reconciliation.take().items() if count}
    if repaired:
        world.complain(f"reconciliation finds {repaired}")
    if wrong := [one for one in (*balances.compared(), *positions.compared()) if one.differs]:
        world.complain(f"balances or positions differ from the ledger: {wrong}")
    if SetAside.objects.exists():
        world.complain(f"set aside: {list(SetAside.objects.values_list('reason', flat=True))}")
