"""Faults of the sandbox, read from a file that tests rewrite while the engine runs.

    {"venues": {"RAYDIUM": {"hang_ms": 8000}, "METEORA": {"lie_bps": -400}},
     "chain": {"drop_rate": 0.5, "unanswered_rate": 0.2, "late_ms": 3000, "forget_rate": 0.3, "forget_ms": 4000}}

Whatever the file does not name behaves normally.  No fault can cause a signature to be executed twice, or after a
lookup that proved it dead: the ledger's rows decide that, independently of faults.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from routing.memory import Memory

READ_EVERY_S = 0.1
"""How long a process caches the file."""

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=600_000)]


class VenueFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Faults of one venue."""

    down: bool = False
    """It refuses immediately."""
    hang_ms: Milliseconds = 0
    """Additional delay of its answers; the caller has its own timeout."""
    lie_bps: Annotated[int, msgspec.Meta(ge=-9_999, le=100_000)] = 0
    """How far the quoted pool is from the pool that the swap executes on; above 0 is better."""
    garbage: Literal["", "nonsense", "nan", "zero", "negative", "huge"] = ""
    """It answers with an unreadable reply or an impossible price."""


class ChainFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Faults of the chain's nodes."""

    down: bool = False
    """They refuse immediately."""
    hang_ms: Milliseconds = 0
    """No call is answered; each times out after this long."""
    slow_ms: Milliseconds = 0
    """Additional delay of every answer."""
    drop_rate: Rate = 0.0
    """Share of transactions that are accepted and then lost; drawn for each broadcast separately."""
    unanswered_rate: Rate = 0.0
    """Share of broadcasts that time out although all their transactions were accepted."""
    late_ms: Milliseconds = 0
    """Additional delay before a transaction lands; one that would land past its last valid height does not."""
    forget_rate: Rate = 0.0
    """Share of signatures looked up at a lagging node, which does not know recently landed transactions."""
    forget_ms: Milliseconds = 0
    """How far that node lags.  Its height lags as much, so it never proves a landed transaction dead."""


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All faults in effect at one moment."""

    venues: dict[str, VenueFaults] = {}
    chain: ChainFaults = ChainFaults()


NO_VENUE_FAULTS = VenueFaults()
NO_FAULTS = Faults()


def none() -> Faults:
    """Return no faults."""
    return NO_FAULTS


def following(path: Path | None) -> Callable[[], Faults]:
    """Return a function that returns the current faults.

    Without a path no file is ever read.  If the file is missing or unreadable, the last faults stay in effect;
    initially there are none.
    """
    if path is None:
        return none
    away = (OSError, msgspec.MsgspecError)
    return Memory("sandbox faults", lambda: read(path), NO_FAULTS, away, READ_EVERY_S)


def read(path: Path) -> Faults:
    """Read the file.

    Raises OSError and MsgspecError.
    """
    return msgspec.json.decode(path.read_bytes(), type=Faults)
