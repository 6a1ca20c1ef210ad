"""An order's stages in the terminal: one line each, with what matters of its facts; a token's gates on lines below."""

from collections.abc import Iterable, Mapping
from typing import Any

Event = Mapping[str, Any]

TIME_WIDTH = 24
"""Columns of an event's time; a rewind has none."""


def line(event: Event, elapsed_s: float) -> str:
    """Write one event; `elapsed_s` since the order was posted."""
    return written(f"{elapsed_s:9.3f} s", event)


def dated(event: Event) -> str:
    """Write one event with its own time: an order that is found again may have rested for days."""
    return written(f"{event.get('at', ''):{TIME_WIDTH}}", event)


def written(when: str, event: Event) -> str:
    """Write one event; what needs further lines stands below its words."""
    head = f"{when}  {event.get('status', 'rewound'):<10} "
    return (head + told(event).replace("\n", "\n" + " " * len(head))).rstrip()


def told(event: Event) -> str:
    """Tell an event's facts in a few words; nothing for a kind of event this client does not know."""
    kind = next((kind for kind in ("rewoundTo", "retry", "amended", "returned") if kind in event), event.get("status"))
    teller = TELLERS.get(kind or "")
    return "\n".join([teller(event) if teller else "", *map(gate, event.get("gates") or [])])


def rewound(message: Event) -> str:
    """Tell why stages that were shown do not count any more, and which."""
    why = message.get("reason") or "the engine lost part of its history"
    return f"{why}: what was told after step {message['rewoundTo']} is withdrawn; the order goes on from there"


def retrying(event: Event) -> str:
    """Tell what went wrong and when the next try comes."""
    retry = event["retry"]
    return f"try {event['attempt']} failed: {retry['message']} ({retry['code']}); next in {retry['inMs']} ms"


def pending(event: Event) -> str:
    """Tell what was asked."""
    asked = f"sell {event['amountIn']} {event['pair']} {aim(event)}, slippage at most {event['slippageBps']} bps"
    return f"{asked}{patience(event)}"


def aim(event: Event) -> str:
    """Tell at which price, or on what."""
    if event["type"] == "limit":
        return f"at {event['limitPrice']} or better"
    if event["type"] == "sniper":
        price = f", paying at most {event['maxPrice']} each" if event.get("maxPrice") else ""
        return f"on {conditions(event['trigger'])}{price}"
    return f"at {event['type']}"


def patience(event: Event) -> str:
    """Tell how long it waits; nothing for an order that never does."""
    if event.get("timeInForce") == "ioc":
        return ", now or never"
    if event.get("expiresAt"):
        return f", until {event['expiresAt']}"
    return "" if event["type"] == "market" else ", until cancelled"


def conditions(listed: Event | Iterable[Event]) -> str:
    """Tell what must hold: one condition, or several of which all must."""
    return " and ".join(map(condition, [listed] if isinstance(listed, Mapping) else listed))


def condition(one: Event) -> str:
    """Tell one condition of a sniper order."""
    least = f" of {one['atLeast']} USD" if one.get("atLeast") else ""
    window = f" in {one['windowS']} s" if one.get("windowS") else ""
    return f"{one['kind']}{least}{window}"


NAMES = {"limitPrice": "limit", "maxPrice": "highest price", "amountIn": "amount", "expiresAt": "expiry"}


def amended(event: Event) -> str:
    """Tell what of a resting order was changed."""
    return f"amended: {changes(event['amended'])}"


def changes(changed: Event) -> str:
    """Tell each change from what to what."""
    return ", ".join(
        f"{NAMES.get(name, name)} from {value['from'] or 'none'} to {value['to'] or 'none'}"
        for name, value in changed.items()
    )


def returned(event: Event) -> str:
    """Tell why an order that had fired rests again."""
    why = event["returned"]
    return f"rests again: {why['message']} ({why['code']}); may fire in {why['inMs']} ms"


def triggered(event: Event) -> str:
    """Tell on what evidence the order fired."""
    trigger = event.get("trigger") or {}
    return price_reached(trigger) if trigger.get("kind") == "price" else token_seen(trigger)


def price_reached(trigger: Event) -> str:
    """Tell which price reached the limit, how old it was and for how long it had held."""
    polls = f"{trigger['polls']} poll{'' if trigger['polls'] == 1 else 's'}"
    evidence = f"{trigger['ageMs']} ms old, held for {polls}"
    return f"{trigger['venue']} pays {trigger['price']}, limit {trigger['limitPrice']} ({evidence})"


def token_seen(trigger: Event) -> str:
    """Tell what happened to the token, and which conditions that met; an event may be missing, and any of its facts."""
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
    """Tell one condition, and what the market had of it."""
    return f"{condition(one)} (there: {one['value']})" if one.get("value") else condition(one)


def gate(judged: Event) -> str:
    """Tell one gate's verdict on the token."""
    # An unknown value has nothing to show; its reason says that it is unknown.
    shown = f"{judged['value']}, {judged['reason']}" if judged.get("value") is not None else judged["reason"]
    return f"{judged['verdict']:<6} {judged['gate']}: {shown} ({judged['source']})"


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


def ended(event: Event) -> str:
    """Tell why an order was given up, and which time had passed if one had."""
    return ": ".join(event[fact] for fact in ("reason", "expiresAt") if event.get(fact))


TELLERS = {
    "rewoundTo": rewound,
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
