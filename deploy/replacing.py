"""The embedded stores' data, set aside until what takes its place is whole."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.servers import StoreFailed, delete
from deploy.stores import Stores, explain


@contextmanager
def replaced(stores: Stores) -> Iterator[None]:
    """Let the stores begin on empty data; what they held is deleted after success, and is back after a failure.

    The caller holds the data dir's lock. Raises StoreFailed.
    """
    refuse_torn(stores)
    held = [path for server in stores.make() for path in server.held()]
    try:
        set_aside(held)
    except OSError as problem:
        raise StoreFailed(explain(problem, stores.data_dir)) from problem
    try:
        yield
    except BaseException:
        undo(stores, held)
        raise
    try:
        for path in held:
            delete(aside(path))
    except OSError as problem:
        print(f"It is restored, but what was there before could not be deleted: {problem}", file=sys.stderr)


def refuse_torn(stores: Stores) -> None:
    """Refuse stores whose data a restore that was cut off has replaced in part.  Raises StoreFailed."""
    held = [path for server in stores.make() for path in server.held()]
    if left := [str(aside(path)) for path in held if os.path.lexists(aside(path))]:
        raise StoreFailed(
            f"a restore was cut off, and what was there before it is still in {', '.join(left)}.\n"
            "Move each back to its name without `.old`, in the place of what is there now, or delete them if you do\n"
            "not need them; then start or restore again."
        )


def aside(path: Path) -> Path:
    """Return where a path is kept meanwhile."""
    return path.with_name(f"{path.name}.old")


def set_aside(held: list[Path]) -> None:
    """Move all of them, or none. Raises OSError."""
    try:
        for path in held:
            if os.path.lexists(path):
                path.rename(aside(path))
    except BaseException:
        put_back(held)
        raise


def undo(stores: Stores, held: list[Path]) -> None:
    """End the servers, delete what they made, and put back what was there. Raises StoreFailed."""
    try:
        for server in reversed(stores.servers):
            server.kill()
        for path in (path for server in stores.make() for path in server.held()):
            delete(path)
        put_back(held)
    except (OSError, StoreFailed) as problem:
        raise StoreFailed(
            f"It was not restored, and what was there could not all be put back: {problem}\n"
            f"It is in {stores.data_dir}, in what ends in `.old`: move each back to its name without that."
        ) from problem
    print("It was not restored; what was there before is back.", file=sys.stderr)


def put_back(held: list[Path]) -> None:
    """Give what was set aside its name again. Raises OSError."""
    for path in held:
        if os.path.lexists(aside(path)):
            aside(path).rename(path)
