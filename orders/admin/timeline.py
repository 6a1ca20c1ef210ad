"""An order's events laid out for reading: the time, the time since the previous one, and the facts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from engine.lifecycle import FINAL, Status
from engine.orders import OrderType
from orders import models
from orders.admin import story
from orders.admin.wording import moment, seconds
from orders.flow import dead_letters
from orders.stores import conditions, event_codec, history
from routing.store import StoreError

# Listed here because jsonb does not keep the order of its keys.
QUOTED = ("venue", "price", "feeBps", "netPrice", "ageMs", "amountOut")


@dataclass(frozen=True, slots=True)
class Stage:
    """One event; `since_ms` is the time since the previous one, `quotes` a table whose first row is the header."""

    seq: int
    status: str
    at: datetime
    since_ms: int
    attempt: int
    facts: list[tuple[str, str]]
    quotes: list[list[str]]

    @property
    def moment(self) -> str:
        return moment(self.at)


@dataclass(frozen=True, slots=True)
class Timeline:
    """All stages so far, the order's standing in a few words, and its story in a sentence."""

    stages: list[Stage]
    story: story.Story

    @property
    def standing(self) -> str:
        """Return the order's status, and how long it took to get there."""
        first, last = self.stages[0], self.stages[-1]
        word = "after" if last.status in FINAL else "since"
        return f"{last.status} {word} {seconds(ms_between(first.at, last.at))}"


def of(row: models.Order) -> Timeline:
    """Return an order's timeline: from the live events, which may be ahead of Postgres, or else from Postgres."""
    try:
        laid_out = told(dead_letters.told(row))
    except StoreError:
        laid_out = told(history.of(row))
    if row.type != OrderType.SNIPER or laid_out.stages[-1].status != Status.PENDING:
        return laid_out
    now = map(story.waits_for, conditions.seen([row]).get(str(row.pk), ()))
    return replace(laid_out, story=replace(laid_out.story, evidence=(*laid_out.story.evidence, *now)))


def told(events: Sequence[Mapping[str, Any]]) -> Timeline:
    """Lay out a history."""
    return Timeline(stages(events), story.of(events))


def stages(events: Sequence[Mapping[str, Any]]) -> list[Stage]:
    """Lay out events as clients read them."""
    moments = [datetime.fromisoformat(event["at"]) for event in events]
    before = moments[:1] + moments
    return [stage(event, at, earlier) for event, at, earlier in zip(events, moments, before, strict=False)]


def stage(event: Mapping[str, Any], at: datetime, earlier: datetime) -> Stage:
    facts = {name: value for name, value in event_codec.facts_of(event).items() if name not in ("kind", "quotes")}
    return Stage(
        seq=event["seq"],
        status=event["status"],
        at=at,
        since_ms=ms_between(earlier, at),
        attempt=event["attempt"],
        facts=list(readable(facts)),
        quotes=table(event.get("quotes", [])),
    )


def readable(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield facts as label and text; facts that are not known here, of later kinds of event, are shown too."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from ((f"{words(name)}: {label}", text) for label, text in readable(value))
        elif value not in (None, "", []):
            yield words(name), written(value)


def table(quotes: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Turn quotes into rows under a header."""
    if not quotes:
        return []
    names = (*QUOTED, "amountIn") if quotes[0].get("amountIn") else QUOTED
    return [[words(name) for name in names], *([written(quote.get(name, "")) for name in names] for quote in quotes)]


def written(value: Any) -> str:
    """Format one value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{words(name)} {written(one)}" for name, one in value.items() if one not in (None, ""))
    return "; ".join(map(written, value)) if isinstance(value, list) else str(value)


def words(name: str) -> str:
    """Turn camelCase into words."""
    return re.sub("(?=[A-Z])", " ", name).lower().strip()


def ms_between(start: datetime, end: datetime) -> int:
    """Return the milliseconds from `start` to `end`."""
    return round((end - start).total_seconds() * 1000)
