"""Run every planted bug and print what found it: `python -m tests.chaos.planted --seed 1 --minutes 1`.

With `--sound` nothing is planted: the same plans of faults must then find nothing.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from config.env import ROOT
from tests.chaos import run
from tests.chaos.planted.bugs import BUGS, Bug
from tests.chaos.planted.environment import planted

Found = Mapping[str, int]
"""How many violations of each kind."""


def main() -> int:
    """Run them all; exit code 1 when one was not found, or the sound engine was found wanting."""
    given = arguments()
    names = given.bugs or list(BUGS)
    found: dict[str, Found] = {}
    for number, name in enumerate(names, 1):
        begun = time.monotonic()
        print(f"{number} of {len(names)}: {name}", flush=True)
        found[name] = by_cells(BUGS[name], given) if BUGS[name].cells else by_run(BUGS[name], given)
        print(f"{name}: {said(found[name], given)} ({time.monotonic() - begun:.0f} s)\n", flush=True)
    print(table(found, given))
    return 0 if all(bool(one) is not given.sound for one in found.values()) else 1


def arguments() -> argparse.Namespace:
    """Read what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.planted", description=__doc__)
    parser.add_argument("--seed", default="1", help="decides orders, faults and prices")
    parser.add_argument("--minutes", default="1", help="how long orders come and things break, in each run")
    parser.add_argument("--rate", default="20", help="orders per second")
    parser.add_argument("--calm", default="45", help="seconds without faults before everything is judged")
    parser.add_argument("--sound", action="store_true", help="plant nothing")
    parser.add_argument("bugs", nargs="*", help=f"some of {', '.join(BUGS)}; all when none is named")
    given = parser.parse_args()
    if unknown := set(given.bugs) - BUGS.keys():
        parser.error(f"no such bugs: {', '.join(sorted(unknown))}")
    return given


def by_run(bug: Bug, given: argparse.Namespace) -> Found:
    """Have a run with the bug, or with the faults alone that are aimed at it; return the violations by kind."""
    asked = {name: getattr(given, name) for name in ("seed", "minutes", "rate", "calm")}
    asked["aim" if given.sound else "plant"] = bug.name
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        run.main([*(word for name, value in asked.items() for word in (f"--{name}", value)), "--json", str(report)])
        violations = json.loads(report.read_text())["violations"]
    return {kind: one["count"] for kind, one in violations.items()}


def by_cells(bug: Bug, given: argparse.Namespace) -> Found:
    """Play the cells of the crash matrix in which the bug must show; return how many are wrong."""
    command = [sys.executable, "-m", "tests.chaos.matrix", *bug.cells]
    environ = {**os.environ, **({} if given.sound else planted(bug.name))}
    played = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=False).stdout
    counted = re.search(r"(\d+) of (\d+) cells wrong", played)
    assert counted, played
    wrong, cells = map(int, counted.groups())
    return {f"of {cells} cells wrong": wrong} if wrong else {}


def said(found: Found, given: argparse.Namespace) -> str:
    """Write what was found."""
    return ", ".join(f"{count} {kind}" for kind, count in found.items()) or ("none" if given.sound else "NOT FOUND")


def table(found: Mapping[str, Found], given: argparse.Namespace) -> str:
    """Write which run, or which cells, found what."""
    rows = [f"| {name} | {finder(BUGS[name], given)} | {said(one, given)} |" for name, one in found.items()]
    return "\n".join([f"| {'not planted' if given.sound else 'planted'} | by | violations |", "|---|---|---|", *rows])


def finder(bug: Bug, given: argparse.Namespace) -> str:
    """Name what looked for it."""
    return f"crash matrix, `{' '.join(bug.cells)}`" if bug.cells else f"run, seed {given.seed}"


if __name__ == "__main__":
    sys.exit(main())
