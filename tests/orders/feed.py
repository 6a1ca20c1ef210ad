"""Write to the feed that DBSync reads, and see what became of it."""

import msgspec

from orders.flow import dbsync
from orders.models import OrderEvent
from orders.stores import live
from routing.store import redis


def feed(*lines):
    """Put one entry into the feed."""
    redis().xadd(live.FEED, {"b": "\n".join(lines)})


def line(order_id, seq, status="routing", final=0, at="2026-11-22T12:00:00.123Z", **facts):
    """Spell one line of the feed."""
    event = {"orderId": order_id, "seq": seq, "status": status, "at": at, "attempt": 1, **facts}
    return f"{order_id} {seq} {final} {msgspec.json.encode(event).decode()}"


def archived(order_id):
    return list(OrderEvent.objects.filter(order_id=order_id).order_by("seq").values_list("seq", "status"))


def pending():
    return redis().xpending(live.FEED, dbsync.GROUP)["pending"]
