"""Complete the event rows of ended orders: a Redis that was emptied may have lost events before DBSync read them.

The events before an attempt are committed with it, and DBSync writes the last one with the order's end.  The others,
the first and an attempt's `submitted`, follow from the rows of the order and its attempts.
"""

from collections.abc import Collection

import structlog
from django.db import transaction

from engine.lifecycle import FINAL
from orders.models import FINALS
from orders.stores import event_codec, event_rows, history
from orders.stores.rows import fetch
from orders.telemetry.log_fields import named

log = structlog.get_logger(__name__)


def lacking(order_ids: Collection[str]) -> list[str]:
    """Return those of these orders that have ended and have fewer event rows than events."""
    if not order_ids:
        return []
    found = fetch(
        """
        SELECT o.id::text FROM orders_order o
        WHERE o.id = ANY(%s::uuid[]) AND o.status = ANY(%s)
          AND o.seq > (SELECT count(*) FROM orders_orderevent e WHERE e.order_id = o.id)
        """,
        list(order_ids),
        FINALS,
    )
    return [order_id for (order_id,) in found]


def complete(order_ids: Collection[str]) -> list[str]:
    """Write the event rows that ended orders lack; return the orders of which Postgres does not know every event.

    Raises DatabaseError.
    """
    lack = lacking(order_ids)
    known = history.of_many(lack) if lack else {}
    whole = {order_id: events for order_id, events in known.items() if events[-1]["status"] in FINAL}
    if whole:
        with transaction.atomic():
            event_rows.write_history([event_codec.dump(one) for one in events] for events in whole.values())
        for field in named(list(whole)):
            log.warning("events lost with Redis written again", **field)
    return [order_id for order_id in lack if order_id not in whole]
