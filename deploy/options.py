"""What `up` is told: its command line and its settings."""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import env, values
from deploy import roles
from deploy.external import ASK


class CannotStart(Exception):
    """The start stops here; the message says why and what to do.  `code` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Options:
    """What the command line of `up` asks for."""

    fresh: bool
    replay: Path | None
    replay_speed: float | None
    scale: dict[str, int]
    flower: bool
    verbose: bool


def parse(arguments: list[str]) -> Options:
    """Read the command line; a wrong one ends with a sentence and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="manage.py up",
        description="Start the whole engine on this machine: stores, migrations, API, workers, beat and Flower. "
        "Ctrl-C stops it gracefully; a second Ctrl-C immediately.",
        epilog="Settings come from the environment and from .env; config/README.md lists them.",
    )
    parser.add_argument("--fresh", action="store_true", help="delete the embedded stores' data first")
    parser.add_argument("--replay", metavar="FILE", type=Path, help="CSV of one-minute prices the market follows")
    parser.add_argument("--replay-speed", metavar="X", type=float, help="replayed seconds per second (default 1)")
    parser.add_argument(
        "--scale",
        metavar="ROLE=N",
        nargs="+",
        action="extend",
        default=[],
        help=f"processes of a role: api, {', '.join(roles.WORKERS)}; 0 leaves it out",
    )
    parser.add_argument("--no-flower", dest="flower", action="store_false", help="start without Flower")
    parser.add_argument("--verbose", action="store_true", help="show every process's log lines here")
    given = parser.parse_args(arguments)
    try:
        scale = dict(map(scaled, given.scale))
    except ValueError as problem:
        parser.error(str(problem))
    if given.replay is not None and not given.replay.is_file():
        parser.error(f"--replay {given.replay}: there is no such file")
    if given.replay_speed is not None and given.replay is None:
        parser.error("--replay-speed: goes with --replay FILE")
    if given.replay_speed is not None and not given.replay_speed > 0:
        parser.error("--replay-speed: must be above 0")
    return Options(given.fresh, given.replay, given.replay_speed, scale, given.flower, given.verbose)


def scaled(text: str) -> tuple[str, int]:
    """Read `order=2`; raises ValueError with what is accepted."""
    role, _, count = text.partition("=")
    if role in roles.SINGLE:
        raise ValueError(f"--scale {text}: there is always exactly one {role}")
    if role not in ("api", *roles.WORKERS):
        raise ValueError(f"--scale {text}: the roles are api, {', '.join(roles.WORKERS)}")
    if not count.isdigit() or int(count) > 32:
        raise ValueError(f"--scale {text}: give a number from 0 to 32, as in order=2")
    return role, int(count)


def read_settings(options: Options) -> tuple[dict[str, Any], frozenset[str]]:
    """Check every setting and hand the replay's to the roles; returns them and the names of external stores' settings.

    Raises CannotStart.
    """
    if options.replay is not None:
        os.environ["MARKET_REPLAY"] = str(options.replay.resolve())
    if options.replay_speed is not None:
        os.environ["MARKET_REPLAY_SPEED"] = repr(options.replay_speed)
    try:
        settings = env.load()
        given = env.given(root=env.ROOT)
    except values.BadSetting as problem:
        raise CannotStart(str(problem), 2) from problem
    if settings["MARKET_REPLAY"] and not given.get("MARKET_REPLAY_START"):
        # One beginning for all processes, also for those that are started again later.
        os.environ["MARKET_REPLAY_START"] = f"{time.time():.3f}"
    external = frozenset(name for name in ASK if given.get(name))
    # What RabbitMQ still holds are wake-ups for orders that are gone, which are harmless.
    data = external - {"BROKER_URL"}
    if options.fresh and data:
        raise CannotStart(
            f"--fresh deletes the data of embedded stores only, and {' and '.join(sorted(data))} "
            f"name{'s' if len(data) == 1 else ''} a server of yours. Nothing was deleted.\n"
            "Empty that server yourself, or start without the setting.",
            2,
        )
    return settings, external
