"""The chaos run: an engine of its own under load while everything around it breaks, judged by an independent checker.

    .venv/bin/python -m tests.chaos.run --seed 1 --minutes 10
    .venv/bin/python -m tests.chaos.run --seed 1 --minutes 2 --control
    .venv/bin/python -m tests.chaos.run --seed 1 --outages 60

Exit code 1 when anything is wrong.  See README.md beside this file.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.chaos.plan import faults
from tests.chaos.planted.bugs import BUGS
from tests.chaos.report import shown
from tests.chaos.stage import Options, Stage

EXIT_WRONG = 1


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, report."""
    options, keep, out = parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="order-engine-chaos-"))
    # PostgreSQL's own account must be able to pass through.
    folder.chmod(0o711)
    try:
        report = Stage(folder, options).run()
        if out:
            out.write_text(json.dumps(report, indent=1, default=str))
        print(shown(report))
        return EXIT_WRONG if report["violations"] else 0
    finally:
        if keep:
            kept(folder, keep)
        shutil.rmtree(folder, ignore_errors=True)


def parse(arguments: list[str] | None) -> tuple[Options, Path | None, Path | None]:
    """Read the command line: what to run, where to keep journals and logs, where to write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="decides orders, faults and prices")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long orders come and things break")
    parser.add_argument("--rate", type=float, default=30.0, help="orders per second, on the whole")
    parser.add_argument("--calm", type=float, default=60.0, help="seconds without faults before everything is judged")
    parser.add_argument("--control", action="store_true", help="run a textbook engine instead")
    parser.add_argument("--still", action="store_true", help="break nothing: then nothing may be wrong with either")
    parser.add_argument(
        "--outages", type=float, default=0.0, help="seconds for which each store, venues and chain are away"
    )
    parser.add_argument("--plant", default="", choices=BUGS, help="a bug of tests/chaos/planted to run with")
    parser.add_argument("--aim", default="", choices=BUGS, help="break what does this bug harm, planted or not")
    parser.add_argument("--json", type=Path, help="write the whole report there")
    parser.add_argument("--keep", type=Path, help="keep journals and logs in this folder")
    given = parser.parse_args(arguments)
    options = Options(
        seed=given.seed,
        seconds=faults.over(faults.outages(given.outages)) if given.outages else given.minutes * 60,
        rate=given.rate,
        calm_s=given.calm,
        control=given.control,
        plant=given.plant,
        still=given.still,
        aim=given.aim or given.plant,
        outages_s=given.outages,
    )
    return options, given.keep, given.json


def kept(folder: Path, keep: Path) -> None:
    """Copy what explains a run: journals, logs, prices; not the stores' data."""
    keep.mkdir(parents=True, exist_ok=True)
    for path in folder.rglob("*"):
        if path.suffix in (".jsonl", ".log", ".csv") and path.is_file():
            shutil.copy(path, keep / path.name)


def ended(number: int, frame: FrameType | None) -> NoReturn:
    """End in order when asked to."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, ended)
    sys.exit(main())
