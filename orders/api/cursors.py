"""Where a client left off: `after` and `epoch`, the seq and the epoch of the last event it saw."""

from engine.cursor import Cursor
from orders.api.errors import Field, Invalid, shown

DIGITS_MAX = 9


def cursor(after: str | None, epoch: str | None) -> Cursor:
    """Read both, as they stand in a query; absent ones are None.

    Raises Invalid.
    """
    seq = whole("after", "0" if after is None else after, "the seq of an event", "a whole number, 0 for all")
    return Cursor(seq, None if epoch is None else whole("epoch", epoch, "the epoch of an event", "a whole number"))


def whole(name: str, text: str, what: str, accepted: str) -> int:
    """Read a whole number.

    Raises Invalid.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        message = f"is not {what}"
        raise Invalid(f"{name} {message}", [Field(name, shown(text), message, accepted)])
    return int(text)
