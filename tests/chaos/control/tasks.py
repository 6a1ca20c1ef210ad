"""The control's worker: one task an order, acknowledged when it is done."""

import os
import random
import time

from celery import Celery, Task

from tests.chaos.control import book, market
from tests.chaos.control.tables import TOKENS

app = Celery("control", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue="order",
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 15, "socket_timeout": 5},
)

PATIENCE_S = 3.0
"""How long a transaction is waited for before another is sent."""
TRIES = 3


class NotConfirmed(Exception):
    """It may land yet, or not."""


@app.task(name="execute", bind=True, max_retries=TRIES, default_retry_delay=1)
def execute(self: Task, order_id: str) -> None:
    """Execute an order from its route to its confirmation."""
    order = book.load(order_id)
    if order["status"] in book.FINAL:
        return
    try:
        carry(order_id, order)
    except Exception as reason:
        if self.request.retries >= TRIES:
            book.move(order_id, "failed", {"code": "attempts_exhausted", "message": repr(reason)})
            return
        raise self.retry(exc=reason) from None


def carry(order_id: str, order: book.Json) -> None:
    """Route, build, send, save what was sent, wait, confirm."""
    time.sleep(random.uniform(0.01, 0.06))
    expected = market.pays(order)
    if expected < market.least(order):
        back = "cancelled" if order["time_in_force"] == "ioc" else "pending"
        book.move(order_id, back, {"returned": {"code": "price_gone"}})
        return
    if order["amount_out"] is not None and market.takes(order) > order["amount_in"]:
        book.move(order_id, "failed", {"code": "maximum_exceeded"})
        return
    if book.move(order_id, "routing", {"venue": "METEORA"}) is None:
        return
    attempt = order["attempt"] + 1
    book.sql("UPDATE orders_order SET attempt = %s WHERE id = %s", attempt, order_id)
    book.move(order_id, "building", {"venue": "METEORA"})
    signature = market.send(order, attempt, expected)
    book.sql("INSERT INTO orders_attempt VALUES (%s, %s, 'sent', %s)", order_id, attempt, signature)
    book.move(order_id, "submitted", {"venue": "METEORA", "txHash": signature})
    confirm(order_id, order, signature)


def confirm(order_id: str, order: book.Json, signature: str) -> None:
    """Wait until a transaction has landed, and state what it brought."""
    deadline = time.monotonic() + PATIENCE_S
    while (fill := market.landed(signature)) is None:
        if time.monotonic() > deadline:
            raise NotConfirmed(signature)
        time.sleep(0.1)
    book.sql("UPDATE orders_attempt SET state = 'landed' WHERE signature = %s", signature)
    sold, bought = (TOKENS[token][1] for token in order["pair"].split("-"))
    amount_in, amount_out = fill["amount_in"].scaleb(-sold), fill["amount_out"].scaleb(-bought)
    stated = {
        "venue": fill["venue"],
        "txHash": signature,
        "slot": fill["slot"],
        "amountIn": str(amount_in),
        "amountOut": str(amount_out),
        "executedPrice": str(amount_out / amount_in),
        "fees": {"networkFeeLamports": fill["fee_lamports"]},
    }
    book.move(order_id, "confirmed", stated)
