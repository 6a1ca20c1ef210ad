"""An order's outcome and the reason for it, in one sentence made from its events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.lifecycle import Status
from orders.admin.wording import seconds
from orders.flow.pauses import pauses
from orders.operations import story as terminal
from routing.catalogue import catalogue

Event = Mapping[str, Any]

TONES = {Status.CONFIRMED: "good", Status.FAILED: "bad", Status.CANCELLED: "", Status.EXPIRED: ""}
"""Colours of the final statuses; an unfinished order has its own."""


@dataclass(frozen=True, slots=True)
class Story:
    """The sentence, the evidence that triggered a waiting order with its token checks, and the colour."""

    sentence: str
    evidence: tuple[str, ...]
    tone: str


def of(history: Sequence[Event]) -> Story:
    """Summarise an order's history."""
    last = history[-1]
    sentence = f"{asked(history[0])} {became(history)}"
    return Story(sentence, tuple(fired(history)), TONES.get(last["status"], "warn"))


def asked(first: Event) -> str:
    """Describe the order as placed, as the start of a sentence; later amendments are in the timeline."""
    if "pair" not in first:
        return "The order"
    sold, _, bought = first["pair"].partition("-")
    price = f" at {first['limitPrice']} or better" if first.get("limitPrice") else ""
    watched = f" on {terminal.conditions(first['trigger'])}" if first.get("trigger") else ""
    if first.get("amountOut"):
        return (
            f"A {first['type']} order to buy exactly {first['amountOut']} {bought} for up to {first['amountIn']} {sold}"
        )
    return f"A {first['type']} order to sell {first['amountIn']} {sold} for {bought}{price}{watched}"


def became(history: Sequence[Event]) -> str:
    """Describe the outcome so far, as the end of a sentence."""
    last = history[-1]
    teller = ENDS.get(last["kind"], under_way)
    return teller(history, last)


def confirmed(history: Sequence[Event], last: Event) -> str:
    """Describe the fill: amount, venue, price against the quote, duration, and why that venue won."""
    bought = history[0].get("pair", "-").partition("-")[2]
    bps = last["slippageBps"]
    against = f"{bps} bps below the quote" if not bps.startswith("-") else f"{bps[1:]} bps better than the quote"
    against = "exactly as quoted" if bps == "0" else against
    chosen = next((event["reason"] for event in reversed(history) if event["kind"] == "routing"), "")
    got = f"got {last['amountOut']} {bought} on {last['venue']} at {last['executedPrice']}, {against}, {took(history)}"
    return f"{got}{tried(last)}{f'; {chosen}' if chosen else ''}."


def failed(history: Sequence[Event], last: Event) -> str:
    """Say why it failed, how often it was tried, and whether a replay may help."""
    again = "a replay may help" if last["replayMayHelp"] else "a replay would fail again"
    return f"failed {took(history)}{tried(last)}: {last['message']} ({last['code']}); {again}."


def given_up(history: Sequence[Event], last: Event) -> str:
    """Say who or what cancelled or expired it."""
    return f"was {last['status']} {took(history)}, unfilled: {last['reason']}."


def pending(history: Sequence[Event], last: Event) -> str:
    """Say what it waits for."""
    if history[0].get("type", "market") == "market":
        return "was accepted and waits for a worker."
    until = f" until {history[0]['expiresAt']}" if history[0].get("expiresAt") else ""
    return f"rests{until}: its trigger is not met yet{held(history)}."


def waits_for(condition: Event) -> str:
    """Describe a condition beside the market's value for it."""
    unit = "pools" if condition["kind"] == "launch" else "USD"
    met = "met" if condition["met"] else "not met"
    return f"Waits for {terminal.condition(condition)}: {condition['value']} {unit} now, {met}."


def returned(history: Sequence[Event], last: Event) -> str:
    """Say why it rests again."""
    why = last["returned"]
    return f"fired without a fill and rests again: {why['message']} ({why['code']}){held(history)}."


def held(history: Sequence[Event]) -> str:
    """Say that its pair, or all trading, is stopped for such orders, if it is."""
    pair = catalogue().pairs.get(history[0].get("pair", ""))
    stop = pauses().keeping_out(pair, None) if pair else None
    return f"; {stop.what} is {stop.state} ({stop.reason}), so it does not fire" if stop else ""


def under_way(history: Sequence[Event], last: Event) -> str:
    """Say which step it is at."""
    return f"is {last['status']}, try {last['attempt']}."


def retry(history: Sequence[Event], last: Event) -> str:
    """Say what went wrong and when it is tried again."""
    again = last["retry"]
    wrong = f"{again['message']} ({again['code']})"
    return f"is tried again in {again['inMs']} ms, after try {last['attempt']} failed: {wrong}."


def submitted(history: Sequence[Event], last: Event) -> str:
    """Say where it was sent."""
    return f"was sent to {last['venue']} as transaction {last['txHash']} and waits for the chain."


ENDS = {
    "pending": pending,
    "amended": pending,
    "returned": returned,
    "retry": retry,
    "submitted": submitted,
    "confirmed": confirmed,
    "failed": failed,
    "cancelled": given_up,
    "expired": given_up,
}
"""What tells of an order's state, by the kind of its last event."""


def took(history: Sequence[Event]) -> str:
    """Say how long it took."""
    first, last = (datetime.fromisoformat(history[at]["at"]) for at in (0, -1))
    return f"{seconds(round((last - first).total_seconds() * 1000))} after it was accepted"


def tried(last: Event) -> str:
    """Say how many tries it took, if more than one."""
    return f", at try {last['attempt']}" if last["attempt"] > 1 else ""


def fired(history: Sequence[Event]) -> list[str]:
    """Describe what last triggered the order, and the results of its token checks."""
    event = next((event for event in reversed(history) if event["kind"] == "triggered"), None)
    if event is None:
        return []
    return [f"Fired on: {terminal.triggered(event)}.", *map(token_check, event.get("gates") or [])]


def token_check(verdict: Event) -> str:
    """Describe the result of one token check."""
    return f"Token check {' '.join(terminal.token_check(verdict).split())}"
