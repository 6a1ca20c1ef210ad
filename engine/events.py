"""Build the events that clients receive at each stage; their shapes are in `event_kinds`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from msgspec import to_builtins

from engine.event_kinds import (
    AMENDABLE,
    Amended,
    Building,
    Change,
    Confirmed,
    Expired,
    Failed,
    Fees,
    Offer,
    Pending,
    PriceSeen,
    Retry,
    Routing,
    Triggered,
    Wait,
)
from engine.failures import Failure
from engine.money import BPS, excess_bps, plain, price_of, shortfall_bps, shown
from engine.orders import Order
from engine.quotes import Offer as Offered
from engine.quotes import Pair
from engine.triggers import Sighting


@dataclass(frozen=True, slots=True)
class Fill:
    """A swap that the chain executed; `amount_out` is in base units."""

    venue: str
    signature: str
    slot: int
    amount_out: int
    fee_lamports: int


@lru_cache(maxsize=256)
def moment(epoch_ms: int) -> str:
    """Write epoch milliseconds as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def pending(order: Order) -> Pending:
    """State the order as it was requested."""
    return Pending(
        type=order.type,
        pair=order.pair.name,
        amount_in=shown(order.amount_in, order.pair.token_in),
        slippage_bps=order.slippage_bps,
        deadline=moment(order.deadline) if order.deadline else None,
        **terms(order),
    )


def terms(order: Order) -> dict[str, Any]:
    """Return the fields of `pending` that not every order has: an exact amount; what it waits for and for how long."""
    if order.amount_out is not None:
        return {"amount_out": shown(order.amount_out, order.pair.token_out)}
    if not order.waits:
        return {}
    stated = {
        "limit_price": order.limit_price and plain(order.limit_price),
        "max_price": order.max_price and plain(order.max_price),
        "time_in_force": order.time_in_force,
        "expires_at": order.expires_at and moment(order.expires_at),
        "trigger": [condition.as_dict() for condition in order.trigger] or None,
        "allow_unknown": order.allow_unknown or None,
    }
    return {name: value for name, value in stated.items() if value is not None}


def price_seen(order: Order, seen: Sighting) -> Triggered:
    """State the price that triggered a limit order: BEST, its age, and for how many polls it had held."""
    return Triggered(
        PriceSeen(
            venue=seen.venue,
            price=plain(seen.price),
            limit_price=plain(order.limit_price or Decimal()),
            observed_at=moment(seen.observed_at),
            age_ms=max(0, seen.seen_at - seen.observed_at),
            polls=seen.polls,
        )
    )


def amended(before: Order, after: Order) -> Amended:
    """State which terms of a resting order an amendment changed, with the old and new values."""
    old, new = to_builtins(pending(before)), to_builtins(pending(after))
    changed = [name for name in AMENDABLE if old.get(name) != new.get(name)]
    return Amended({name: Change(old.get(name), new.get(name)) for name in changed})


def expired(order: Order) -> Expired:
    """Give the expiry time that has passed."""
    return Expired("expiresAt has passed", moment(order.expires_at or 0))


def quoted(order: Order, offer: Offered, now: int) -> Offer:
    """State one venue's quote at the moment it was used for an order."""
    quote, pair = offer.quote, order.pair
    return Offer(
        venue=quote.venue,
        price=plain(quote.price),
        fee_bps=quote.fee_bps,
        net_price=plain(quote.net_price),
        age_ms=quote.age(now),
        amount_out=shown(offer.amount_out, pair.token_out),
        amount_in=None if order.amount_out is None else shown(offer.amount_in, pair.token_in),
    )


def routing(
    order: Order, offers: Sequence[Offered], missing: Sequence[str], source: str, reason: str, now: int
) -> Routing:
    """State the routing decision: venue, reason, the quotes compared, and the venues without a usable quote."""
    return Routing(
        venue=offers[0].quote.venue,
        reason=reason,
        source=source,
        quotes=tuple([quoted(order, offer, now) for offer in offers]),
        missing=tuple(missing),
    )


def retry(failure: Failure, wait_ms: int) -> Retry:
    """Give the failure and the wait before the next try."""
    return Retry(Wait(failure.code, failure.message, wait_ms))


def building(order: Order, offer: Offered, minimum_out: int, maximum_in: int) -> Building:
    """Give the expected output and the minimum the order accepts; of one that buys an exact amount, also the input."""
    sold, bought, exact = order.pair.token_in, order.pair.token_out, order.amount_out is not None
    return Building(
        venue=offer.quote.venue,
        expected_out=shown(offer.amount_out, bought),
        minimum_out=shown(minimum_out, bought),
        quoted_price=plain(price_of(offer.amount_in, offer.amount_out, sold, bought)),
        expected_in=shown(offer.amount_in, sold) if exact else None,
        maximum_in=shown(maximum_in, sold) if exact else None,
    )


def confirmed(
    pair: Pair, amount_in: int, expected_out: int, fee_bps: int, fill: Fill, expected_in: int | None = None
) -> Confirmed:
    """State the fill: the amounts, the slippage against the quote, and the fees.

    `expected_in` is given for an order that bought an exact amount: its slippage is in what it sold.
    """
    token_in, token_out = pair.token_in, pair.token_out
    slippage = (
        shortfall_bps(expected_out, fill.amount_out) if expected_in is None else excess_bps(expected_in, amount_in)
    )
    return Confirmed(
        venue=fill.venue,
        tx_hash=fill.signature,
        slot=fill.slot,
        amount_in=shown(amount_in, token_in),
        amount_out=shown(fill.amount_out, token_out),
        executed_price=plain(price_of(amount_in, fill.amount_out, token_in, token_out)),
        slippage_bps=plain(slippage),
        fees=Fees(
            venue_fee_bps=fee_bps,
            # The pool deducts its fee from the input before the swap, rounded up.
            venue_fee=shown(-(-amount_in * fee_bps // BPS), token_in),
            venue_fee_token=token_in.symbol,
            network_fee_lamports=fill.fee_lamports,
        ),
    )


def failed(failure: Failure) -> Failed:
    """Give the failure's code, its message, and whether a replay may help."""
    return Failed(failure.code, failure.message, failure.replayable)
