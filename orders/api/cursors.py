"""Where a client left off: in one order's events by `after` and `epoch`, the seq and the epoch of the last it saw.

In the events of all its orders by a cursor: a position of the journal, which clients take as a text.
"""

import re

from engine.cursor import Cursor
from orders.api.errors import Field, Invalid, shown
from orders.stores import journal

DIGITS_MAX = 9
POSITION = "^[0-9]{1,18}$"


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


def resumable(after: str | None) -> int:
    """Return the journal's position that a cursor names; without one that of now, and for 0 the oldest kept.

    Raises Invalid, for one whose events are no longer kept and for one that this engine never gave; DatabaseError.
    """
    oldest, newest = journal.bounds()
    if after is None:
        return newest
    position = int(after) if re.match(POSITION, after, re.ASCII) else -1
    if position == 0 or oldest <= position <= newest:
        return max(position, oldest)
    message = "is older than the events that are kept" if 0 < position < oldest else "is not a cursor of this engine"
    accepted = "a cursor that this engine has sent, or 0 for the oldest event that is kept"
    raise Invalid(f"after {message}", [Field("after", shown(after), message, accepted)])
