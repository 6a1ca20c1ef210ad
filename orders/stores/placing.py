"""Place orders in Redis: new ones, and those restored from Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.lifecycle import FINAL, Status
from engine.orders import Order
from orders.stores import order_codec
from orders.stores.live import FEED_MAX, Live
from orders.stores.scripts import LUA, MSGPACK, PREFIX
from routing.crashpoints import Store, step
from routing.store import lua, script


@dataclass(frozen=True, slots=True)
class Placement:
    """An order to put into Redis, with the events it already has.

    An order that waits rests in the book with the time priority `since` (epoch ms).  With `look_in_ms` above 0 the
    sweep also picks it up after that time.
    """

    order: Order
    status: Status
    attempt: int
    events: tuple[str, ...]
    look_in_ms: int
    since: int = 0
    base: int = 0
    tx: str | None = None
    """Signature of its open attempt."""
    instead: Live | None = None
    """Expected state of the live order that this one replaces; without it, an existing live order is kept."""


PLACE = script(PREFIX + lua(LUA / "place.lua"))


@step("place", Store.REDIS, "orders are in Redis")
def place(placements: Sequence[Placement]) -> set[str]:
    """Put orders into Redis, except those already there; return the ids placed."""
    args = [FEED_MAX, *map(packed, placements)]
    return set(PLACE()([], args)) if len(args) > 1 else set()


def packed(one: Placement) -> bytes:
    instead = one.instead
    return MSGPACK.encode(
        {
            "id": one.order.id,
            "status": one.status,
            "attempt": one.attempt,
            "final": one.status in FINAL,
            "body": order_codec.dumps(one.order, one.since),
            "events": one.events,
            "look_in": one.look_in_ms,
            "waits": one.order.type if one.order.waits else None,
            "base": one.base,
            "tx": one.tx,
            "owner": one.order.owner,
            "instead": instead and {"status": instead.status, "seq": instead.seq, "fence": instead.fence},
        }
    )
