"""Wait until a server follows orders."""

from engine.event_kinds import Cancelled, Head
from engine.events import moment
from engine.lifecycle import Status
from orders.sockets import tail
from orders.stores import event_codec, live
from routing.store import redis
from tests.orders.bench import STAGES
from tests.orders.doors import NOBODY, until


def check(events, first=1):
    """Hold that these are the rest of a confirmed order's events, each once."""
    assert [event["seq"] for event in events] == list(range(first, 6))
    assert [event["status"] for event in events] == STAGES[first - 1 :]


async def following(order_id, count=1):
    """Wait until so many sockets follow an order."""
    await until(lambda: len(tail.tail().followers.get(order_id, ())) == count, f"{count} followers")


async def reading():
    """Wait until the feed is being read: from then on nothing but events makes a follower look."""
    with tail.tail().inbox("probe") as inbox:
        tail.tail().ensure_reading()

        head = Head(NOBODY, 1, 7, Status.PENDING, moment(0), 0)
        said = event_codec.encode(head, Cancelled("never"))

        def heard():
            redis().xadd(live.FEED, {"b": f"probe 7 0 {said}"})
            return said in [inbox.get_nowait().text for _ in range(inbox.qsize())]

        await until(heard, "the feed is being read")
