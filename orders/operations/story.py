"""Order events for the terminal: one line each with its main facts, and the token checks on lines below."""

from collections.abc import Iterable, Mapping
from typing import Any

Event = Mapping[str, Any]

TIME_WIDTH = 24
"""Width of the time column; a rewind has no time."""


def line(event: Event, elapsed_s: float) -> str:
    """Format one event; `elapsed_s` is the time since the order was posted."""
    return written(f"{elapsed_s:9.3f} s", event)


def dated(event: Event) -> str:
    """Format one event with its own time, because an existing order may have rested for days."""
    return written(f"{event.get('at', ''):{TIME_WIDTH}}", event)


def written(when: str, event: Event) -> str:
    """Format one event; further lines are indented to the start of its text."""
    head = f"{when}  {event.get('status', 'rewound'):<10} "
    return (head + told(event).replace("\n", "\n" + " " * len(head))).rstrip()


def told(event: Event) -> str:
    """Describe an event's facts in a few words; empty for a kind of event this client does not know."""
    teller = rewound if "rewoundTo" in event else TELLERS.get(event.get("kind", ""))
    return "\n".join([teller(event) if teller else "", *map(token_check, event.get("gates") or [])])


def rewound(message: Event) -> str:
    """Say which stages already shown no longer count, and why."""
    why = message.get("reason") or "the engine lost part of its history"
    return f"{why}: events after step {message['rewoundTo']} are withdrawn; the order continues from there"


def retrying(event: Event) -> str:
    """Say what went wrong and when the next try is due."""
    retry = event["retry"]
    return f"try {event['attempt']} failed: {retry['message']} ({retry['code']}); next in {retry['inMs']} ms"


def pending(event: Event) -> str:
    """Describe the order as it was placed."""
    wanted = f"sell {event['amountIn']} {event['pair']}"
    if event.get("amountOut"):
        wanted = f"sell up to {event['amountIn']} {event['pair']} for exactly {event['amountOut']}"
    return f"{wanted} {aim(event)}, slippage at most {event['slippageBps']} bps{patience(event)}"


def aim(event: Event) -> str:
    """Describe the price the order asks for, or its trigger."""
    if event["type"] == "limit":
        return f"at {event['limitPrice']} or better"
    if event["type"] == "sniper":
        price = f", paying at most {event['maxPrice']} each" if event.get("maxPrice") else ""
        return f"on {conditions(event['trigger'])}{price}"
    return f"at {event['type']}"


def patience(event: Event) -> str:
    """Say how long the order waits; empty for an order that never does."""
    if event.get("timeInForce") == "ioc":
        return ", immediate or cancel"
    if event.get("expiresAt"):
        return f", until {event['expiresAt']}"
    return "" if event["type"] == "market" else ", until cancelled"


def conditions(listed: Event | Iterable[Event]) -> str:
    """Describe a trigger: one condition, or several that must all hold."""
    return " and ".join(map(condition, [listed] if isinstance(listed, Mapping) else listed))


def condition(one: Event) -> str:
    """Describe one condition of a sniper order."""
    least = f" of {one['atLeast']} USD" if one.get("atLeast") else ""
    window = f" in {one['windowS']} s" if one.get("windowS") else ""
    return f"{one['kind']}{least}{window}"


NAMES = {"limitPrice": "limit", "maxPrice": "highest price", "amountIn": "amount", "expiresAt": "expiry"}


def amended(event: Event) -> str:
    """Describe how a resting order was amended."""
    return f"amended: {changes(event['amended'])}"


def changes(changed: Event) -> str:
    """List the changes with old and new values."""
    return ", ".join(
        f"{NAMES.get(name, name)} from {value['from'] or 'none'} to {value['to'] or 'none'}"
        for name, value in changed.items()
    )


def returned(event: Event) -> str:
    """Say why a triggered order rests again."""
    why = event["returned"]
    return f"rests again: {why['message']} ({why['code']}); may fire in {why['inMs']} ms"


def triggered(event: Event) -> str:
    """Describe the evidence that triggered the order."""
    trigger = event.get("trigger") or {}
    return price_reached(trigger) if trigger.get("kind") == "price" else token_seen(trigger)


def price_reached(trigger: Event) -> str:
    """Say which price reached the limit, how old it was and for how many polls it had held."""
    polls = f"{trigger['polls']} poll{'' if trigger['polls'] == 1 else 's'}"
    evidence = f"{trigger['ageMs']} ms old, held for {polls}"
    return f"{trigger['venue']} pays {trigger['price']}, limit {trigger['limitPrice']} ({evidence})"


def token_seen(trigger: Event) -> str:
    """Describe the token's event and the conditions it met. The event may be missing, and so may any of its facts."""
    event = trigger.get("event") or {}
    seen = "".join(
        words
        for words in (
            event.get("kind") or trigger.get("kind") or "",
            f" at {event['venue']}" if event.get("venue") else "",
            f" of {event['usd']} USD" if event.get("usd") else "",
            f", {event['ageMs']} ms old" if event.get("ageMs") is not None else "",
        )
    )
    met = " and ".join(map(met_by, trigger.get("conditions") or []))
    return "; ".join(part for part in (seen, f"met: {met}" if met else "") if part)


def met_by(one: Event) -> str:
    """Describe one condition, with the value the market had."""
    return f"{condition(one)} (observed: {one['value']})" if one.get("value") else condition(one)


def token_check(judged: Event) -> str:
    """Describe the result of one token check."""
    # An unknown value is not shown; the reason says that it is unknown.
    shown = f"{judged['value']}, {judged['reason']}" if judged.get("value") is not None else judged["reason"]
    return f"{judged['verdict']:<6} {judged['gate']}: {shown} ({judged['source']})"


def routing(event: Event) -> str:
    """List the venues' offers, and say which won and why."""
    offers = [*map(offer, event["quotes"]), *(f"{venue} has no quote" for venue in event["missing"])]
    return f"{', '.join(offers)}: {event['reason']}"


def offer(quote: Event) -> str:
    """Describe one venue's quote and what it pays for this order."""
    pays = f"{quote['price']} less {quote['feeBps']} bps pays {quote['amountOut']}"
    if quote.get("amountIn"):
        pays += f" for {quote['amountIn']}"
    return f"{quote['venue']} {pays} ({quote['ageMs']} ms old)"


def building(event: Event) -> str:
    """State what is expected and what is accepted."""
    if event.get("maximumIn"):
        return f"{event['venue']}: expects to sell {event['expectedIn']}, accepts no more than {event['maximumIn']}"
    return f"{event['venue']}: expects {event['expectedOut']}, accepts no less than {event['minimumOut']}"


def submitted(event: Event) -> str:
    return f"transaction {event['txHash']}"


def confirmed(event: Event) -> str:
    """State the amount received and what it cost."""
    fees = event["fees"]
    paid = f"fees {fees['venueFee']} {fees['venueFeeToken']} and {fees['networkFeeLamports']} lamports"
    return f"got {event['amountOut']} at {event['executedPrice']}, slippage {event['slippageBps']} bps, {paid}"


def failed(event: Event) -> str:
    """Say why the order failed, and whether a replay may help."""
    again = "a replay may help" if event["replayMayHelp"] else "a replay would not help"
    return f"{event['message']} ({event['code']}); {again}"


def ended(event: Event) -> str:
    """Say why an order was cancelled or expired, with the expiry that had passed, if any."""
    return ": ".join(event[fact] for fact in ("reason", "expiresAt") if event.get(fact))


TELLERS = {
    "retry": retrying,
    "amended": amended,
    "returned": returned,
    "pending": pending,
    "triggered": triggered,
    "routing": routing,
    "building": building,
    "submitted": submitted,
    "confirmed": confirmed,
    "failed": failed,
    "cancelled": ended,
    "expired": ended,
}
