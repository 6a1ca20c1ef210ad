"""Compare-and-set on the live state: change an order's status, and reserve its end until that is committed.

Only orders/flow/progress.py and orders/flow/decisions.py change orders with these; orders/stores/order_view.py reads
reservations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.lifecycle import FINAL, Status
from orders.stores.live import FEED_MAX, key
from orders.stores.scripts import LUA, MSGPACK, PREFIX
from routing import epochs
from routing.crashpoints import Store, step
from routing.store import lua, redis, script

ADVANCE = script(epochs.CHECK + PREFIX + lua(LUA / "advance.lua"))
RESERVE = script(epochs.CHECK + PREFIX + lua(LUA / "reserve.lua"))
FINISH = script(epochs.CHECK + PREFIX + lua(LUA / "finish.lua"))


MOVED = ("triggered", "routing", "building", "submitted", "confirmed", "pending")
"""Statuses that a compare-and-set can move an order to; Postgres decides every other end."""


class Where(msgspec.Struct, frozen=True):
    """The state that a move expects of an order: its status, its `seq` and, if given, the `fence` of its claim.

    With `tx` instead: submitted as that transaction, at any seq.
    """

    order_id: str
    status: Status
    seq: int | None
    fence: str | None = None
    tx: str | None = None

    def packed(self) -> dict[str, Any]:
        """Return the fields in the format that `stands` in moves.lua reads."""
        found = {"id": self.order_id, "status": self.status, "seq": self.seq, "fence": self.fence, "tx": self.tx}
        return {name: value for name, value in found.items() if value is not None}


class Becoming(msgspec.Struct, frozen=True):
    """The new state of an order; see `settle` in moves.lua."""

    to: Status
    look_in_ms: int = 0
    """Milliseconds until the order is due again; ignored when `to` is final."""
    keep: bool = False
    """Whether the claim continues; otherwise any worker may claim the order after `look_in_ms`."""
    unused: bool = False
    """Whether the attempt does not count, because nothing could be tried."""
    sent: str | None = None
    """Signature of the transaction it is submitted as."""
    body: str | None = None
    """The order's new terms, if it returns to `pending` with changed terms."""

    @property
    def mode(self) -> str:
        """The mode of `settle` in moves.lua: how the order continues after the move."""
        if self.to in FINAL:
            return "final"
        if self.to is Status.PENDING:
            return "wait"
        if self.to is Status.TRIGGERED:
            return "free"
        if self.sent:
            return "submit"
        return "keep" if self.keep else "release"

    def packed(self) -> dict[str, Any]:
        """Return the fields in the format that `settle` reads."""
        found = {"to": self.to, "mode": self.mode, "look_in": self.look_in_ms, "sent": self.sent, "body": self.body}
        found |= {"unused": self.unused or None}
        return {name: value for name, value in found.items() if value is not None}


class Swap(msgspec.Struct, frozen=True):
    """One compare-and-set: the expected state, the new state, and one event for each status step in between."""

    where: Where
    becoming: Becoming
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reservation:
    """An order locked until its end or amendment is committed, with its events so far and those to be published."""

    order_id: str
    intent: str
    before: tuple[str, ...]
    events: tuple[str, ...]


@step("swap", Store.REDIS, "the live order is", *MOVED, kind=lambda epoch, swaps: str(swaps[0].becoming.to))
def advance(epoch: int, swaps: Sequence[Swap]) -> set[str]:
    """Apply compare-and-sets atomically; return the ids of the orders that moved.

    Raises ResponseError when the epoch is over, StoreError.
    """
    packed = [
        MSGPACK.encode({**swap.where.packed(), **swap.becoming.packed(), "events": swap.events}) for swap in swaps
    ]
    return set(ADVANCE()([], [epoch, FEED_MAX, *packed])) if packed else set()


@step("reserve", Store.REDIS, "the order is reserved for its end or amendment")
def reserve(epoch: int, lease_ms: int, asked: Sequence[tuple[Where, str, Sequence[str]]]) -> list[Reservation]:
    """Reserve orders, each with its intent and the events to publish; return those that were in the expected state.

    Raises ResponseError when the epoch is over, StoreError.
    """
    packed = [MSGPACK.encode({**where.packed(), "intent": intent, "events": events}) for where, intent, events in asked]
    found = RESERVE()([], [epoch, lease_ms, *packed]) if packed else []
    intents = {where.order_id: intent for where, intent, _ in asked}
    return [
        Reservation(order_id, intents[order_id], tuple(before), tuple(events.split("\n")))
        for order_id, events, *before in found
    ]


def reserved(order_ids: Sequence[str]) -> list[Reservation]:
    """Return those of these orders that are reserved by any process."""
    pipe = redis().pipeline(transaction=False)
    for order_id in order_ids:
        pipe.hmget(key(order_id), "intent", "intended")
        pipe.xrange(f"{key(order_id)}:events")
    answers = pipe.execute() if order_ids else []
    return [
        Reservation(order_id, intent, tuple(fields["e"] for _, fields in before), tuple(events.split("\n")))
        for order_id, (intent, events), before in zip(order_ids, answers[::2], answers[1::2], strict=True)
        if intent
    ]


@step("tell", Store.REDIS, "the end or amendment is published")
def finish(epoch: int, done: Sequence[tuple[Reservation, Becoming, bool]]) -> None:
    """Publish the reserved events that are committed; release the reservations that Postgres refused.

    Raises ResponseError when the epoch is over, StoreError.
    """
    packed = [
        MSGPACK.encode({"id": one.order_id, "intent": one.intent, "committed": committed, **becoming.packed()})
        for one, becoming, committed in done
    ]
    if packed:
        FINISH()([], [epoch, FEED_MAX, *packed])
