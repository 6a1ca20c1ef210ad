"""An order as its client is told it: each message is checked as it comes, against what came before it.

What may follow what is written down here a second time on purpose: the engine is judged, so its own table is no judge.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from orders.client import event_kinds as told
from orders.client.errors import Unreadable
from orders.client.event import Event
from orders.client.events import event_of

Json = dict[str, Any]

FINAL = frozenset({"confirmed", "failed", "cancelled", "expired"})
EXECUTING: Mapping[str, frozenset[str]] = {
    "routing": frozenset({"routing", "building", "failed"}),
    "building": frozenset({"submitted", "routing", "failed"}),
    "submitted": frozenset({"confirmed", "routing", "failed"}),
}
RESTS_AGAIN = frozenset({"pending", "cancelled"})
WAITING: Mapping[str, frozenset[str]] = {
    "": frozenset({"pending"}),
    "pending": frozenset({"pending", "triggered", "cancelled", "expired"}),
    "triggered": frozenset({"routing", "failed"}) | RESTS_AGAIN,
    **{status: after | RESTS_AGAIN for status, after in EXECUTING.items()},
}
FOLLOWS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "market": {"": frozenset({"pending"}), "pending": frozenset({"routing", "cancelled", "failed"}), **EXECUTING},
    "limit": WAITING,
    "sniper": WAITING,
}
"""By type of order and status: which statuses may come next.  Nothing follows a final one."""

CLOCKS_APART = timedelta(seconds=1)
"""An order's first event has the time of Postgres, later ones that of Redis as each process last read it: on a machine
that is overloaded, the later of two may be told the earlier time."""


class Wrong(Exception):
    """What a client got is not what must be; the message names the order and what was wrong with it."""


@dataclass(slots=True)
class Story:
    """One order, what was asked of it, and what was told of it so far."""

    order_id: str
    asked: Json
    accepted_at: float = 0.0
    """When the acknowledgement came, by the client's own clock."""
    texts: list[str] = field(default_factory=list)
    heard: list[Event] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Return the type of the order."""
        return str(self.asked["type"])

    @property
    def status(self) -> str:
        """Return the last status told; empty before the first."""
        return self.heard[-1].status if self.heard else ""

    @property
    def seq(self) -> int:
        """Return the seq of the last event told."""
        return len(self.heard)

    @property
    def is_final(self) -> bool:
        """Tell whether the last event has come."""
        return self.status in FINAL

    def raw(self) -> list[Json]:
        """Return the events as they came."""
        return [dict(event.raw) for event in self.heard]

    def last(self, kind: type[Event]) -> Any:
        """Return the latest event of a kind.

        Raises Wrong when there was none.
        """
        found = next((event for event in reversed(self.heard) if isinstance(event, kind)), None)
        if found is None:
            raise self.wrong(f"nothing told of {kind.__name__} before")
        return found

    def wrong(self, what: str) -> Wrong:
        """Make the complaint about this order."""
        stages = " ".join(event.status for event in self.heard) or "nothing yet"
        return Wrong(f"{self.kind} order {self.order_id}: {what} (told so far: {stages})")

    def hear(self, text: str, data: Json) -> Event:
        """Take a message and return its event.

        Raises Wrong.
        """
        event = self.read(data)
        self.check_place(event)
        if rule := RULES.get(type(event)):
            rule(self, event)
        self.texts.append(text)
        self.heard.append(event)
        return event

    def read(self, data: Json) -> Event:
        """Read an event with all facts its kind must have.

        Raises Wrong.
        """
        try:
            event = event_of(data)
        except Unreadable as reason:
            raise self.wrong(f"no event: {reason}") from None
        if type(event) is Event:
            raise self.wrong(f"facts of {event.status} are missing or have another form: {data!r:.300}")
        return event

    def check_place(self, event: Event) -> None:
        """Let an event pass that comes when it may.

        Raises Wrong.
        """
        if event.order_id != self.order_id:
            raise self.wrong(f"an event of {event.order_id}")
        if event.seq != self.seq + 1:
            raise self.wrong(f"seq {event.seq} where {self.seq + 1} was due")
        if event.status not in FOLLOWS[self.kind].get(self.status, frozenset()):
            raise self.wrong(f"{event.status} may not follow {self.status or 'nothing'}")
        if self.heard and event.at < self.heard[-1].at - CLOCKS_APART:
            raise self.wrong(f"{event.status} is told to have happened before {self.status}")

    def terms(self) -> Json:
        """Return what the order asks for by now: its first event, with what amendments changed."""
        known = dict(self.heard[0].raw)
        for event in self.heard:
            if isinstance(event, told.Amended):
                known |= {name: change.to for name, change in event.amended.items()}
        return known

    def must_end(self, *allowed: str) -> None:
        """Let an order pass that ended as it was to.

        Raises Wrong.
        """
        if self.status not in allowed:
            raise self.wrong(f"ended {self.status or 'nowhere'} instead of {' or '.join(allowed)}")


def repeats_what_was_asked(story: Story, event: told.Pending) -> None:
    """Check that the engine understood the order."""
    asked = story.asked
    if event.type != story.kind:
        raise story.wrong(f"is told to be a {event.type} order")
    if event.pair != f"{asked['tokenIn']}-{asked['tokenOut']}":
        raise story.wrong(f"is told to be of {event.pair}")
    stated = {"amount": event.amount_in, "amountOut": event.amount_out}
    for name, value in {**stated, "limitPrice": event.limit_price, "maxPrice": event.max_price}.items():
        if name in asked and value != Decimal(asked[name]):
            raise story.wrong(f"asked for {name} {asked[name]}, told {value}")


def fired_on_evidence(story: Story, event: told.Triggered) -> None:
    """Check that what an order waited for is told to have been there."""
    seen = event.trigger
    if isinstance(seen, told.PriceSeen) != (story.kind == "limit"):
        raise story.wrong(f"fired on {type(seen).__name__}")
    if isinstance(seen, told.PriceSeen):
        limit = Decimal(story.terms()["limitPrice"])
        if seen.price < limit:
            raise story.wrong(f"fired at {seen.price}, below its limit price {limit}")
        return
    for condition in seen.conditions:
        if condition.at_least is not None and Decimal(condition.value or 0) < condition.at_least:
            raise story.wrong(f"fired on {condition.kind} {condition.value}, below {condition.at_least}")


def chose_the_better(story: Story, event: told.Routing) -> None:
    """Check that the venue chosen is told to pay the most."""
    pays = {offer.venue: offer.amount_out for offer in event.quotes}
    if event.venue not in pays or pays[event.venue] < max(pays.values()):
        raise story.wrong(f"routed to {event.venue}, though the venues pay {pays}")


def asks_for_a_least(story: Story, event: told.Building) -> None:
    """Check that the transaction is built on the venue chosen, with a least amount out."""
    if event.venue != story.last(told.Routing).venue:
        raise story.wrong(f"built on {event.venue}, though routed to {story.last(told.Routing).venue}")
    if not 0 < event.minimum_out <= event.expected_out:
        raise story.wrong(f"expects {event.expected_out} and accepts {event.minimum_out}")


def sends_anew(story: Story, event: told.Submitted) -> None:
    """Check that no signature is told twice."""
    if any(isinstance(before, told.Submitted) and before.tx_hash == event.tx_hash for before in story.heard):
        raise story.wrong(f"transaction {event.tx_hash} is told to be submitted twice")


def paid_as_promised(story: Story, event: told.Confirmed) -> None:
    """Check a fill against what was sent, what it had to pay at least, and the limit price in force."""
    terms = story.terms()
    if event.tx_hash != story.last(told.Submitted).tx_hash:
        raise story.wrong(f"confirmed by {event.tx_hash}, submitted as {story.last(told.Submitted).tx_hash}")
    if event.amount_in != Decimal(terms["amountIn"]):
        raise story.wrong(f"sold {event.amount_in} instead of {terms['amountIn']}")
    if event.amount_out < story.last(told.Building).minimum_out:
        raise story.wrong(f"paid {event.amount_out}, accepted at least {story.last(told.Building).minimum_out}")
    limit = Decimal(terms.get("limitPrice") or 0)
    if event.amount_out < limit * event.amount_in:
        raise story.wrong(f"paid {event.amount_out} for {event.amount_in}, worse than its limit price {limit}")


RULES: Mapping[type[Event], Callable[[Story, Any], None]] = {
    told.Pending: repeats_what_was_asked,
    told.Triggered: fired_on_evidence,
    told.Routing: chose_the_better,
    told.Building: asks_for_a_least,
    told.Submitted: sends_anew,
    told.Confirmed: paid_as_promised,
}
"""What must be true of an event beyond its place and its form."""
