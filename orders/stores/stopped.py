"""Orders whose price is reached while a stop keeps them from firing: owner of the `orders:stopped` key.

| key | type | holds |
|---|---|---|
| `orders:stopped` | hash | ids of such orders: how many times this has happened to each |

They wait outside the book, without an event, and come back to it now and then in case a wake-up was lost.
"""

from collections.abc import Iterator, Mapping, Sequence

from orders.stores.scripts import LUA, PREFIX
from routing.store import lua, redis, script

STOPPED = "orders:stopped"
PAGE = 500

LOOK_LATER = script(PREFIX + lua(LUA / "look_later.lua"))
LOOK_NOW = script(PREFIX + lua(LUA / "look_now.lua"))


def look_later(shares: Mapping[str, float], first_ms: int, most_ms: int) -> None:
    """Take waiting orders out of the book, each for its share of a time that doubles as it returns, up to `most_ms`."""
    LOOK_LATER()([], [first_ms, most_ms, *(value for one in shares.items() for value in one)])


def look_now(order_ids: Sequence[str]) -> None:
    """Have the sweep put these orders back at once, as nothing stops them any more."""
    if order_ids:
        LOOK_NOW()([], order_ids)


def pages() -> Iterator[list[str]]:
    """Yield the ids of all such orders, about PAGE at a time."""
    cursor: int | None = None
    while cursor != 0:
        cursor, found = redis().hscan(STOPPED, cursor or 0, count=PAGE)
        yield [str(order_id) for order_id in found]
