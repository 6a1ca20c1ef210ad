"""A client's position in an order's events, and the point up to which its history still matches the order's.

A client that reconnects names the last event it saw by seq and epoch.  Redis may have been lost in the meantime, with
events that were stored nowhere else; the events since then reuse their seqs in a later epoch.  Epochs never decrease
along one history, so a client that saw nothing past epoch E shares with the history exactly its events up to E.
(Kafka followers find the point where their log diverges from the leader's the same way: KIP-101, "leader epoch".)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last event a client saw; `epoch` is None if the client did not name one, `seq` is 0 if it has seen none."""

    seq: int = 0
    epoch: int | None = None


def in_common(seen: Cursor, epochs: Sequence[int]) -> int:
    """Return the seq of the last event that the client's history and this one share.

    `epochs` holds the epochs of the history's events, from the first event on.  The first event is the same in every
    history.  A client that names no epoch is assumed to have seen only the epoch in which the order was placed.
    """
    upto = seen.epoch if seen.epoch is not None else epochs[0]
    shared = 1 + sum(1 for _ in takewhile(lambda epoch: epoch <= upto, epochs[1:]))
    return min(seen.seq, shared)
