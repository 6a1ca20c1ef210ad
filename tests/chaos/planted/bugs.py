"""The ten bugs: each a step that somebody could plausibly have left out, and the function it is left out of."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Bug:
    """One bug; without `plant` it waits for the code it belongs to."""

    name: str
    step: str
    """What is replaced, and by what."""
    module: str = ""
    plant: Callable[[ModuleType], None] | None = None


class Misplaced(Exception):
    """The code has changed: what the bug is to replace is not there any more."""


def rewritten(made: Any, text: str, by: str) -> Any:
    """Return a Lua script with some text replaced.

    Raises Misplaced.
    """
    from routing.store import script

    (cell,) = made.__wrapped__.__closure__
    if text not in cell.cell_contents:
        raise Misplaced(text)
    return script(cell.cell_contents.replace(text, by))


def fence_not_checked(live: ModuleType) -> None:
    """Let whoever knows an order's status and seq move it, whatever became of his claim."""
    live.ADVANCE = rewritten(live.ADVANCE, "(fence == '*' or h[3] == fence)", "true")  # type: ignore[attr-defined]


def sweep_forgotten(sweep: ModuleType) -> None:
    """Look for no order that nobody was told of."""
    sweep.sweep = lambda: 0  # type: ignore[attr-defined]


BUGS = {
    bug.name: bug
    for bug in (
        Bug(
            "fence_not_checked",
            "the swap of the live state in Lua compares status and seq, not the worker's fence",
            "orders.live",
            fence_not_checked,
        ),
        Bug(
            "attempt_not_committed",
            "the way out of the house sends the bytes first and commits the attempt afterwards",
        ),
        Bug(
            "resigned_on_timeout",
            "a broadcast that is not answered closes the attempt as expired, so that the order is signed anew",
        ),
        Bug(
            "bucket_popped_unclaimed",
            "the script that takes reached orders out of their buckets writes no claim down",
        ),
        Bug(
            "sweep_forgotten",
            "the sweep finds nothing: lapsed leases, lost wake-ups and pauses that are over stay where they are",
            "orders.sweep",
            sweep_forgotten,
        ),
        Bug(
            "attempt_updated_unconditionally",
            "an attempt is marked sent, or taken over, without comparing its state and whose it is",
        ),
        Bug(
            "terms_not_bound",
            "an attempt is committed without comparing the version of the terms it was built on with the order's",
        ),
        Bug(
            "end_told_before_commit",
            "a cancelled, expired or failed order is swapped and published before its end is committed in Postgres",
        ),
        Bug(
            "rebuilt_too_early",
            "a rebuild marks Redis as whole after its first page, or though Redis was emptied again meanwhile",
        ),
        Bug(
            "feed_trimmed_unread",
            "the event feed is trimmed by age alone, whether or not DBSync has written what is dropped",
        ),
    )
}
