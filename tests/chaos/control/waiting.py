"""The control's orders that wait: looked at in turn, fired when their price is there, ended when their time is over."""

import logging
import time
from datetime import UTC, datetime
from fractions import Fraction

from tests.chaos.control import book, market
from tests.chaos.control.tables import WAITING
from tests.chaos.control.tasks import execute

EVERY_S = 0.2
FAR = 10**11
PENDING = ("pending",)

log = logging.getLogger(__name__)


def watch() -> None:
    """Look at everything that waits, for ever, unless everything is paused."""
    while True:
        try:
            for order in book.sql(WAITING):
                look(order)
        except Exception as reason:
            log.warning("will look again: %r", reason)
        time.sleep(EVERY_S)


def look(order: book.Json) -> None:
    """Fire an order, end it, or let it wait."""
    order_id = str(order["id"])
    if order["expires_at"] and order["expires_at"] <= datetime.now(UTC):
        book.move(order_id, "expired", {"expiresAt": book.moment(order["expires_at"])}, only_from=PENDING)
    elif is_reached(order):
        if book.move(order_id, "triggered", {}, only_from=PENDING):
            execute.delay(order_id)
    elif order["time_in_force"] == "ioc":
        book.move(order_id, "cancelled", {"reason": "not at once"}, only_from=PENDING)


def is_reached(order: book.Json) -> bool:
    """Tell whether what an order waits for is there."""
    if order["limit_price"] is not None:
        return market.price(order["pair"]) >= Fraction(order["limit_price"])
    return all(float(condition["atLeast"]) < FAR for condition in order["trigger"])
