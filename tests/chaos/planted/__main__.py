"""Run every planted bug and print which violations found it: `python -m tests.chaos.planted --seed 1 --minutes 2`."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.chaos import run
from tests.chaos.planted.bugs import BUGS


def main() -> int:
    """Run them all; exit code 1 when one was not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--minutes", default="2")
    parser.add_argument("bugs", nargs="*", help=f"some of {', '.join(BUGS)}; all when none is named")
    given = parser.parse_args()
    found = {name: finding(name, given.seed, given.minutes) for name in given.bugs or BUGS if BUGS[name].plant}
    for name, kinds in found.items():
        print(f"{name:32} seed {given.seed}: {kinds or 'NOT FOUND'}")
    for name in sorted(BUGS.keys() - found.keys()):
        print(f"{name:32} not run: {BUGS[name].step}")
    return 0 if all(found.values()) else 1


def finding(name: str, seed: str, minutes: str) -> dict[str, int]:
    """Run with one bug; return what was found, by kind."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        run.main(["--seed", seed, "--minutes", minutes, "--plant", name, "--json", str(report)])
        violations = json.loads(report.read_text())["violations"]
    return {kind: one["count"] for kind, one in violations.items()}


if __name__ == "__main__":
    sys.exit(main())
