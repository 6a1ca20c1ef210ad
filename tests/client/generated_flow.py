"""Places, follows, amends and cancels with a generated client; the test reads what it prints."""

import os
import time

from engine_client import AuthenticatedClient
from engine_client.api.orders import amend_order, cancel_order, execute_order, get_order, get_order_events
from engine_client.models import (
    Accepted,
    AmendedEvent,
    Amendment,
    CancelledResult,
    ConfirmedResult,
    Error,
    LimitOrder,
    MarketOrder,
    Order,
)

client = AuthenticatedClient(os.environ["ENGINE_URL"], os.environ["ENGINE_API_KEY"])


def ended(order_id):
    """Return what an order ended with, read again and again."""
    deadline = time.monotonic() + 30
    while True:
        order = get_order.sync(order_id, client=client)
        assert isinstance(order, Order), order
        if order.status in ("confirmed", "failed", "cancelled", "expired"):
            return order
        assert time.monotonic() < deadline, f"{order_id} is still {order.status}"
        time.sleep(0.1)


def placed(order):
    """Place an order."""
    accepted = execute_order.sync(client=client, body=order)
    assert isinstance(accepted, Accepted), accepted
    return accepted.order_id


filled = ended(
    placed(MarketOrder(type_="market", token_in="SOL", token_out="USDC", amount="1.5", slippage_bps=2000))
).result
assert isinstance(filled, ConfirmedResult), filled
print("confirmed", filled.amount_out, filled.fees.venue_fee_token)

limit = placed(LimitOrder(type_="limit", token_in="SOL", token_out="USDC", amount="2", limit_price="1000"))
amended = amend_order.sync(limit, client=client, body=Amendment(limit_price="1001.5"), if_match='"1"')
assert isinstance(amended, Order), amended
print(amended.limit_price, amended.seq)

stale = amend_order.sync_detailed(limit, client=client, body=Amendment(limit_price="1002"), if_match='"1"')
assert isinstance(stale.parsed, Error)
print(stale.status_code.value, stale.parsed.error.code)

cancelled = cancel_order.sync(limit, client=client)
assert isinstance(cancelled, Order) and isinstance(cancelled.result, CancelledResult)
print("cancelled", cancelled.result.reason)

for event in get_order_events.sync(limit, client=client).events:
    print(f"amended {event.amended['limitPrice'].to}" if isinstance(event, AmendedEvent) else event.status)
