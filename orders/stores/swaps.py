"""Compare-and-sets on the live state: how an order's status changes, and how an end is reserved until it is committed.

Only orders/flow/progress.py and orders/flow/decisions.py call these.
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
"""Where a swap can take an order; every other end is decided by Postgres."""


class Where(msgspec.Struct, frozen=True):
    """Where an order is believed to stand: at its `seq` and, if that is given, in the hands of `fence`.

    Or, with `tx`, submitted as that transaction, whatever seq it has come to.
    """

    order_id: str
    status: Status
    seq: int | None
    fence: str | None = None
    tx: str | None = None

    def packed(self) -> dict[str, Any]:
        """Write it as `stands` in moves.lua reads it."""
        found = {"id": self.order_id, "status": self.status, "seq": self.seq, "fence": self.fence, "tx": self.tx}
        return {name: value for name, value in found.items() if value is not None}


class Becoming(msgspec.Struct, frozen=True):
    """Where an order goes; see `settle` in moves.lua."""

    to: Status
    look_in_ms: int = 0
    """When somebody must look again; ignored when `to` is final."""
    keep: bool = False
    """Whether the claim goes on; otherwise anyone may claim the order once `look_in_ms` have passed."""
    unused: bool = False
    """Whether the attempt is given back: nothing could be tried."""
    sent: str | None = None
    """The transaction it is submitted as."""
    body: str | None = None
    """The order's new terms, if it goes back to `pending` with others."""

    @property
    def mode(self) -> str:
        """Name what becomes of the order's claim."""
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
        """Write it as `settle` reads it."""
        found = {"to": self.to, "mode": self.mode, "look_in": self.look_in_ms, "sent": self.sent, "body": self.body}
        found |= {"unused": self.unused or None}
        return {name: value for name, value in found.items() if value is not None}


class Swap(msgspec.Struct, frozen=True):
    """One move: from where to where, told by `events`, one for each step on the way."""

    where: Where
    becoming: Becoming
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reservation:
    """An order kept still until what is intended for it is committed, with the events it has and those to come."""

    order_id: str
    intent: str
    before: tuple[str, ...]
    events: tuple[str, ...]


@step("swap", Store.REDIS, "the live order is", *MOVED, kind=lambda epoch, swaps: str(swaps[0].becoming.to))
def advance(epoch: int, swaps: Sequence[Swap]) -> set[str]:
    """Carry out compare-and-sets in one step and return the ids that won.

    Raises ResponseError when the epoch is over, StoreError.
    """
    packed = [
        MSGPACK.encode({**swap.where.packed(), **swap.becoming.packed(), "events": swap.events}) for swap in swaps
    ]
    return set(ADVANCE()([], [epoch, FEED_MAX, *packed])) if packed else set()


@step("reserve", Store.REDIS, "the order is reserved for its end or amendment")
def reserve(epoch: int, lease_ms: int, asked: Sequence[tuple[Where, str, Sequence[str]]]) -> list[Reservation]:
    """Reserve orders, each with what is intended and the events that will tell it; return those that stood there.

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
    """Return those of these orders that are reserved, by whomever."""
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


@step("tell", Store.REDIS, "clients are told of the end or amendment")
def finish(epoch: int, done: Sequence[tuple[Reservation, Becoming, bool]]) -> None:
    """Tell what was reserved and is committed; give up what Postgres refused.

    Raises ResponseError when the epoch is over, StoreError.
    """
    packed = [
        MSGPACK.encode({"id": one.order_id, "intent": one.intent, "committed": committed, **becoming.packed()})
        for one, becoming, committed in done
    ]
    if packed:
        FINISH()([], [epoch, FEED_MAX, *packed])
