"""An order's stages in the terminal: one line each, with what matters of its facts."""

from collections.abc import Mapping
from typing import Any

Event = Mapping[str, Any]


def line(event: Event, elapsed_s: float) -> str:
    """Write one event; `elapsed_s` since the order was posted."""
    return f"{elapsed_s:9.3f} s  {event['status']:<10} {told(event)}".rstrip()


def told(event: Event) -> str:
    """Tell an event's facts in a few words; nothing for a kind of event this client does not know."""
    if "retry" in event:
        return retrying(event)
    teller = TELLERS.get(event["status"])
    return teller(event) if teller else ""


def retrying(event: Event) -> str:
    """Tell what went wrong and when the next try comes."""
    retry = event["retry"]
    return f"try {event['attempt']} failed: {retry['message']} ({retry['code']}); next in {retry['inMs']} ms"


def pending(event: Event) -> str:
    """Tell what was asked."""
    return f"sell {event['amountIn']} {event['pair']} at {event['type']}, slippage at most {event['slippageBps']} bps"


def routing(event: Event) -> str:
    """Tell what each venue offered, and who won and why."""
    offers = [*map(offer, event["quotes"]), *(f"{venue} has no quote" for venue in event["missing"])]
    return f"{', '.join(offers)}: {event['reason']}"


def offer(quote: Event) -> str:
    """Tell one venue's quote and what it pays for this order."""
    pays = f"{quote['price']} less {quote['feeBps']} bps pays {quote['amountOut']}"
    return f"{quote['venue']} {pays} ({quote['ageMs']} ms old)"


def building(event: Event) -> str:
    """Tell what is expected and the least that is accepted."""
    return f"{event['venue']}: expects {event['expectedOut']}, accepts no less than {event['minimumOut']}"


def submitted(event: Event) -> str:
    """Name the transaction."""
    return f"transaction {event['txHash']}"


def confirmed(event: Event) -> str:
    """Tell what was got and what it cost."""
    fees = event["fees"]
    paid = f"fees {fees['venueFee']} {fees['venueFeeToken']} and {fees['networkFeeLamports']} lamports"
    return f"got {event['amountOut']} at {event['executedPrice']}, slippage {event['slippageBps']} bps, {paid}"


def failed(event: Event) -> str:
    """Tell why, and whether it is worth another order."""
    again = "a replay may help" if event["replayMayHelp"] else "a replay would not help"
    return f"{event['message']} ({event['code']}); {again}"


TELLERS = {
    "pending": pending,
    "routing": routing,
    "building": building,
    "submitted": submitted,
    "confirmed": confirmed,
    "failed": failed,
}
