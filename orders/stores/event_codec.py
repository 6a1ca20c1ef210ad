"""Events as JSON.  Always written in today's form; events that earlier versions stored are converted when read."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.event_kinds import Facts, Head

Event = dict[str, Any]

COMMON = Head.__struct_encode_fields__
"""Fields that every event has beside its kind."""

JSON = msgspec.json.Encoder()
CURRENT = re.compile(
    r'\{"orderId":"[^"]*","epoch":\d+,"seq":\d+,"status":"\w+","at":"[^"]*","attempt":\d+,"kind":"', re.ASCII
)
"""How the text of an event begins."""


def encode(head: Head, facts: Facts) -> str:
    """Encode one event."""
    # Both are objects, and facts have at least their kind: joined, they are one.
    text = (JSON.encode(head)[:-1] + b"," + JSON.encode(facts)[1:]).decode()
    return dump(msgspec.json.decode(text)) if "\\u0000" in text else text


def as_dict(head: Head, facts: Facts) -> Event:
    """Return one event as the dict that its text holds."""
    return load(encode(head, facts))


def load(text: str) -> Event:
    """Decode one event of any version."""
    event: Event = msgspec.json.decode(text)
    return event if "kind" in event else today(event)


def dump(message: Mapping[str, Any]) -> str:
    """Encode a message to clients; NULs in texts from a venue or the chain are replaced: Postgres cannot store them."""
    text = JSON.encode(message).decode()
    return JSON.encode(without_nul(message)).decode() if "\\u0000" in text else text


def current(text: str) -> str:
    """Return the text of an event of any version as it is written today."""
    return text if CURRENT.match(text) else dump(load(text))


def today(event: Mapping[str, Any]) -> Event:
    """Return an event as it is written today: with its fields in order, its epoch and its kind."""
    whole = {"epoch": 0, **event}
    facts = facts_of(whole)
    return {**{name: whole[name] for name in COMMON}, **with_kind(whole["status"], facts)}


def with_kind(status: str, facts: Mapping[str, Any]) -> Event:
    """Return facts with the kind of their event, which earlier versions did not write."""
    told = next((fact for fact in ("retry", "amended", "returned") if fact in facts), status)
    return {"kind": told, **facts}


def facts_of(event: Mapping[str, Any]) -> Event:
    """Return an event's kind and the fields of its kind."""
    return {name: value for name, value in event.items() if name not in COMMON}


def without_nul(value: Any) -> Any:
    """Replace every NUL with U+FFFD, recursively."""
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case Mapping():
            return {name: without_nul(fact) for name, fact in value.items()}
        case list() | tuple():
            return [without_nul(fact) for fact in value]
    return value
