"""What a client asks for on the socket of many orders."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.cursor import Cursor
from orders.api.errors import Field, Invalid, shown
from orders.stores.order_view import uuid_or_none

ASKED_MAX = 500
"""Maximum length of each list in a message."""
SEQ_MAX = 999_999_999
ALL = "all"
"""In place of a list: every order of the caller."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Orders to follow, each from the last event seen, and orders to unfollow."""

    follow: Mapping[str, Cursor]
    unfollow: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskedForAll:
    """Every order of the caller, to follow from this cursor on, from now on without one; or to follow no longer."""

    follow: bool
    after: str | None = None


def asked_for(data: Any) -> Asked | AskedForAll:
    """Parse a message.

    Raises Invalid.
    """
    if isinstance(data, dict) and ALL in (data.get("follow"), data.get("unfollow")):
        return asked_for_all(data)
    if not isinstance(data, dict) or not data or set(data) - {"follow", "unfollow"}:
        raise Invalid('a message is an object with "follow", "unfollow" or both')
    follow = [followed(one) for one in listed("follow", data)]
    return Asked(dict(follow), tuple(known_id("unfollow", one) for one in listed("unfollow", data)))


def asked_for_all(data: Mapping[str, Any]) -> AskedForAll:
    """Parse a message about all orders.

    Raises Invalid.
    """
    if data == {"unfollow": ALL}:
        return AskedForAll(follow=False)
    after = data.get("after")
    if set(data) - {"follow", "after"} or data.get("follow") != ALL:
        raise Invalid('for all orders a message is {"follow": "all"}, with "after" or without, or {"unfollow": "all"}')
    if after is not None and not isinstance(after, str):
        raise wrong("after", after, "is not a cursor", "a cursor that this engine has sent, as text")
    return AskedForAll(follow=True, after=after)


def listed(name: str, data: Mapping[str, Any]) -> list[Any]:
    """Return one of the message's lists.

    Raises Invalid.
    """
    found = data.get(name, [])
    if not isinstance(found, list) or len(found) > ASKED_MAX:
        raise wrong(name, found, f"must be a list of at most {ASKED_MAX}", f"a list of at most {ASKED_MAX}")
    return found


def followed(one: Any) -> tuple[str, Cursor]:
    """Parse an order to follow.

    Raises Invalid.
    """
    if not isinstance(one, dict) or set(one) - {"orderId", "after", "epoch"}:
        raise wrong("follow", one, "is not an order to follow", '{"orderId": id, "after": seq, "epoch": epoch}')
    after = whole("after", one.get("after", 0), "is not the seq of an event", "a whole number, 0 for all")
    epoch = one.get("epoch")
    if epoch is not None:
        epoch = whole("epoch", epoch, "is not the epoch of an event", "a whole number")
    return known_id("orderId", one.get("orderId")), Cursor(after, epoch)


def whole(name: str, value: Any, message: str, accepted: str) -> int:
    """Return a whole number from 0 to SEQ_MAX.

    Raises Invalid.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= SEQ_MAX:
        raise wrong(name, value, message, accepted)
    return value


def known_id(name: str, text: Any) -> str:
    """Parse an order's id.

    Raises Invalid.
    """
    found = uuid_or_none(text) if isinstance(text, str) else None
    if found is None:
        raise wrong(name, text, "is not the id of an order", "the orderId of an accepted order")
    return found


def wrong(name: str, value: Any, message: str, accepted: str) -> Invalid:
    """Return the error for one field of a message."""
    return Invalid(f"{name} {message}", [Field(name, shown(value), message, accepted)])
