"""Judge a run: `python -m tests.chaos.checker FOLDER --database URL`; exit code 1 when anything is wrong."""

import argparse
import json
import os
import sys
from pathlib import Path

from tests.chaos.checker import journal, records
from tests.chaos.checker.judge import judge
from tests.chaos.checker.measures import measure
from tests.chaos.checker.world import World


def main() -> int:
    """Read, judge, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the journals of the run are")
    parser.add_argument("--database", default=os.environ.get("DATABASE_URL"), help="DATABASE_URL when not given")
    options = parser.parse_args()
    world = World()
    records.read(options.database, world)
    journal.read(options.folder, world)
    verdict = judge(world)
    report = {"violations": verdict.as_dict(), "measures": measure(world)}
    json.dump(report, sys.stdout, indent=1, default=str)
    return 1 if verdict.counts else 0


if __name__ == "__main__":
    sys.exit(main())
