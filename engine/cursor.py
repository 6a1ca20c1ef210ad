"""Where a client is in an order's events, and how far what it has seen still belongs to them.

A client that lost its connection names the last event it saw by seq and epoch.  Redis may have been lost meanwhile,
with events that nobody else has; what happened since has the same seqs, and a later epoch.  Along one history epochs
never fall, so a client that saw nothing past epoch E has in common with the history exactly its events up to E.
(Kafka's followers find where their log leaves the leader's in the same way: KIP-101, "leader epoch".)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last event a client saw; `epoch` None from a client that does not say, `seq` 0 from one that saw none."""

    seq: int = 0
    epoch: int | None = None


def in_common(seen: Cursor, epochs: Sequence[int]) -> int:
    """Return the seq of the last event that the client's history and this one share.

    `epochs` are those of the history's events, the first event's first.  That one is the same in every history.  Of a
    client that names no epoch the least is assumed: what it saw came from the epoch in which the order was placed.
    """
    upto = seen.epoch if seen.epoch is not None else epochs[0]
    shared = 1 + sum(1 for _ in takewhile(lambda epoch: epoch <= upto, epochs[1:]))
    return min(seen.seq, shared)
