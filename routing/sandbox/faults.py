"""How the sandbox misbehaves, as a file says that whoever tests the engine rewrites while it runs.

    {"venues": {"RAYDIUM": {"hang_ms": 8000}, "METEORA": {"lie_bps": -400}},
     "chain": {"drop_rate": 0.5, "unanswered_rate": 0.2, "late_ms": 3000, "forget_rate": 0.3, "forget_ms": 4000}}

What the file does not name behaves.  No fault can have a signature executed twice, or executed after a look-up that
proved it dead: the ledger's rows decide that, and they know nothing of faults.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from routing.memory import Memory

READ_EVERY_S = 0.1
"""How old a process's knowledge of the file may be."""

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=600_000)]


class VenueFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one venue does instead of answering well."""

    down: bool = False
    """It refuses, at once."""
    hang_ms: Milliseconds = 0
    """It answers so much later; whoever asks has a limit of their own."""
    lie_bps: Annotated[int, msgspec.Meta(ge=-9_999, le=100_000)] = 0
    """It quotes a pool so far from the one that it executes at; above 0 better."""
    garbage: Literal["", "nonsense", "nan", "zero", "negative", "huge"] = ""
    """It answers what cannot be read, or a price that cannot be."""


class ChainFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the chain's nodes do instead of answering well."""

    down: bool = False
    """They refuse, at once."""
    hang_ms: Milliseconds = 0
    """No call is answered; each is given up after so long."""
    slow_ms: Milliseconds = 0
    """Every call is answered, so much later."""
    drop_rate: Rate = 0.0
    """Share of transactions that are answered for and get lost; each broadcast for itself."""
    unanswered_rate: Rate = 0.0
    """Share of broadcasts that time out although every transaction in them is on its way."""
    late_ms: Milliseconds = 0
    """How much later than usual a transaction lands; one that would land past its last valid height does not."""
    forget_rate: Rate = 0.0
    """Share of signatures that are looked up at a node that is behind: what landed lately it does not know."""
    forget_ms: Milliseconds = 0
    """How far behind that node is.  The height it tells is as old, so it proves nothing dead that has landed."""


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that misbehaves at a time."""

    venues: dict[str, VenueFaults] = {}
    chain: ChainFaults = ChainFaults()


NO_VENUE_FAULTS = VenueFaults()
NO_FAULTS = Faults()


def none() -> Faults:
    """Misbehave in no way."""
    return NO_FAULTS


def following(path: Path | None) -> Callable[[], Faults]:
    """Return what tells the faults of the moment.

    Without a path nothing is read, ever.  Where there is no file, or none that can be read, the faults stay as they
    were: none to begin with.
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
