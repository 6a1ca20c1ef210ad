"""Build the events that clients receive at each stage.  Amounts are decimal strings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from engine.failures import Failure
from engine.lifecycle import Status
from engine.money import BPS, plain, price_of, shortfall_bps, shown
from engine.orders import Order
from engine.quotes import Offer, Pair, Quote
from engine.triggers import Sighting

Facts = dict[str, Any]


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


def event(
    order_id: str, epoch: int, seq: int, status: Status, at: int, attempt: int, facts: Mapping[str, Any]
) -> Facts:
    """Build an event; `at` is in epoch milliseconds, `attempt` is 0 until the first try.

    `epoch` and `seq` identify the event permanently.  The order of the first fields is fixed: some readers find them by
    position.
    """
    return {
        "orderId": order_id,
        "epoch": epoch,
        "seq": seq,
        "status": status,
        "at": moment(at),
        "attempt": attempt,
        **facts,
    }


def pending(order: Order) -> Facts:
    """Describe the order as it was requested."""
    return {
        "type": order.type,
        "pair": order.pair.name,
        "amountIn": shown(order.amount_in, order.pair.token_in),
        "slippageBps": order.slippage_bps,
        **({"deadline": moment(order.deadline)} if order.deadline else {}),
        **terms(order),
    }


def terms(order: Order) -> Facts:
    """Describe what a limit or sniper order waits for and for how long; empty for a market order."""
    if not order.waits:
        return {}
    stated = {
        "limitPrice": order.limit_price and plain(order.limit_price),
        "maxPrice": order.max_price and plain(order.max_price),
        "timeInForce": order.time_in_force,
        "expiresAt": order.expires_at and moment(order.expires_at),
        "trigger": [condition.as_dict() for condition in order.trigger] or None,
        "allowUnknown": order.allow_unknown or None,
    }
    return {name: value for name, value in stated.items() if value is not None}


def price_seen(order: Order, seen: Sighting) -> Facts:
    """Describe the price that triggered a limit order: BEST, its age, and for how many polls it had held."""
    return {
        "trigger": {
            "kind": "price",
            "venue": seen.venue,
            "price": plain(seen.price),
            "limitPrice": plain(order.limit_price) if order.limit_price else None,
            "observedAt": moment(seen.observed_at),
            "ageMs": max(0, seen.seen_at - seen.observed_at),
            "polls": seen.polls,
        }
    }


def amended(before: Order, after: Order) -> Facts:
    """Describe which terms of a resting order an amendment changed, with the old and new values."""
    old, new = pending(before), pending(after)
    changed = [name for name in AMENDABLE if old.get(name) != new.get(name)]
    return {"amended": {name: {"from": old.get(name), "to": new.get(name)} for name in changed}}


AMENDABLE = ("amountIn", "limitPrice", "maxPrice", "expiresAt")
"""Facts of `pending` that an amendment may change."""


def returned(code: str, message: str, wait_ms: int) -> Facts:
    """Give the reason why a triggered order rests again, and for how long it cannot trigger."""
    return {"returned": {"code": code, "message": message, "inMs": wait_ms}}


def cancelled(reason: str) -> Facts:
    """Give the reason for the cancellation: who or what caused it."""
    return {"reason": reason}


def expired(order: Order) -> Facts:
    """Give the expiry time that has passed."""
    return {"reason": "expiresAt has passed", "expiresAt": moment(order.expires_at or 0)}


def quoted(quote: Quote, now: int, amount_out: str) -> Facts:
    """Describe one venue's quote at the moment it was used."""
    return {
        "venue": quote.venue,
        "price": plain(quote.price),
        "feeBps": quote.fee_bps,
        "netPrice": plain(quote.net_price),
        "ageMs": quote.age(now),
        "amountOut": amount_out,
    }


def routing(order: Order, offers: Sequence[Offer], missing: Sequence[str], source: str, reason: str, now: int) -> Facts:
    """Describe the routing decision: venue, reason, the quotes compared, and the venues without a usable quote."""
    token = order.pair.token_out
    return {
        "venue": offers[0].quote.venue,
        "reason": reason,
        "source": source,
        "quotes": [quoted(offer.quote, now, shown(offer.amount_out, token)) for offer in offers],
        "missing": list(missing),
    }


def retrying(failure: Failure, wait_ms: int) -> Facts:
    """Give the failure and the wait before the next try."""
    return {"retry": {"code": failure.code, "message": failure.message, "inMs": wait_ms}}


def building(order: Order, venue: str, expected_out: int, minimum_out: int) -> Facts:
    """Give the expected output and the minimum the order accepts."""
    token = order.pair.token_out
    return {
        "venue": venue,
        "expectedOut": shown(expected_out, token),
        "minimumOut": shown(minimum_out, token),
        "quotedPrice": plain(price_of(order.amount_in, expected_out, order.pair.token_in, token)),
    }


def submitted(venue: str, signature: str, last_valid_height: int) -> Facts:
    """Identify the transaction, and the block height until which it is valid."""
    return {"venue": venue, "txHash": signature, "lastValidBlockHeight": last_valid_height}


def confirmed(pair: Pair, amount_in: int, expected_out: int, fee_bps: int, fill: Fill) -> Facts:
    """Describe the fill: the amounts, the slippage against the quote, and the fees."""
    token_in, token_out = pair.token_in, pair.token_out
    return {
        "venue": fill.venue,
        "txHash": fill.signature,
        "slot": fill.slot,
        "amountIn": shown(amount_in, token_in),
        "amountOut": shown(fill.amount_out, token_out),
        "executedPrice": plain(price_of(amount_in, fill.amount_out, token_in, token_out)),
        "slippageBps": plain(shortfall_bps(expected_out, fill.amount_out)),
        "fees": {
            "venueFeeBps": fee_bps,
            # The pool deducts its fee from the input before the swap, rounded up.
            "venueFee": shown(-(-amount_in * fee_bps // BPS), token_in),
            "venueFeeToken": token_in.symbol,
            "networkFeeLamports": fill.fee_lamports,
        },
    }


def failed(failure: Failure) -> Facts:
    """Give the failure's code, its message, and whether a replay may help."""
    return {"code": failure.code, "message": failure.message, "replayMayHelp": failure.replayable}
