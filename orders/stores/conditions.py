"""What the market shows of each condition that sniper orders wait for."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from django.db import DatabaseError

from engine.triggers import condition_from, judged
from orders import models
from routing import tape
from routing.catalogue import catalogue
from routing.store import StoreError, now_ms

log = structlog.get_logger(__name__)


def seen(rows: Iterable[models.Order]) -> dict[str, Sequence[dict[str, Any]]]:
    """Return, by order id, each condition with its value now and whether it is met, in one round trip.

    Empty while the stores that have them are away.
    """
    asked = {
        str(row.id): (catalogue().pair(row.pair).token_out.mint, [condition_from(one) for one in row.trigger])
        for row in rows
    }
    windows: defaultdict[str, set[int]] = defaultdict(set)
    for mint, trigger in asked.values():
        windows[mint] |= {one.window_ms for one in trigger if one.window_ms}
    try:
        states = tape.states(windows, now_ms())
    except (StoreError, DatabaseError) as reason:
        log.warning("market data unreachable, orders shown without it", orders=len(asked), reason=str(reason))
        return {}
    return {order_id: [judged(one, states[mint]) for one in trigger] for order_id, (mint, trigger) in asked.items()}
