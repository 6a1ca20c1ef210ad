"""All four scenarios in turn, against an engine of their own, with a summary.

.venv/bin/python -m tests.load.scenarios --seconds 120

The reports, with charts, go to `.data/load`.  What is not an option here is passed on to every scenario.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from config.env import ROOT
from tests.bearer import API_KEY
from tests.system import System, quoted, system

SCENARIOS = ("market", "limit", "sniper", "sockets")
HERE = Path(__file__).parent
HEADINGS = ("scenario", "orders", "per minute", "at once", "ends", "POST p95", "final p95", "messages", "verdict")


def main() -> None:
    """Parse, run, print; end with 1 when a scenario failed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", choices=SCENARIOS, action="append", help="run this one; may be repeated")
    options.add_argument("--reports", type=Path, default=ROOT / ".data" / "load", help="where the reports go")
    chosen, passed_on = options.parse_known_args()
    chosen.reports.mkdir(parents=True, exist_ok=True)
    # New tokens come when an order waits for them, and not else: two runs see the same market.
    with system({"MOCK_LAUNCH_EVERY_S": "0"}) as engine:
        quoted(engine)
        codes = {name: run(engine, name, chosen.reports, passed_on) for name in chosen.only or SCENARIOS}
    print("\n" + "\n".join(summary(chosen.reports, codes)))
    print(f"reports with charts: {chosen.reports}")
    sys.exit(max(codes.values()))


def run(engine: System, name: str, reports: Path, passed_on: Sequence[str]) -> int:
    """Run one scenario; return its exit code."""
    figures = reports / f"{name}.json"
    figures.unlink(missing_ok=True)
    done = subprocess.run(command(engine, name, reports, passed_on), cwd=ROOT, env=environ(engine), check=False)
    return done.returncode


def command(engine: System, name: str, reports: Path, passed_on: Sequence[str]) -> list[str]:
    """Return the command line of one scenario."""
    return [
        *(sys.executable, "-m", "locust", "-f", str(HERE / f"{name}.py"), "--headless", "--only-summary"),
        *("--host", engine.url, "--html", str(reports / f"{name}.html"), "--figures", str(reports / f"{name}.json")),
        *(("--launch", launch_command(engine)) if name == "sniper" else ()),
        *passed_on,
    ]


def launch_command(engine: System) -> str:
    """Return what launches a token in this engine's market."""
    settings = {**engine.settings, "ENGINE_DATA_DIR": str(engine.data_dir), "ENGINE_NO_VENV": "1"}
    given = [f"{name}={value}" for name, value in settings.items()]
    return shlex.join(["env", *given, sys.executable, "manage.py", "sandbox", "launch", "--mint", "{mint}"])


def environ(engine: System) -> dict[str, str]:
    """Return the environment of a scenario: the engine's API key, and its Postgres, which it looks into."""
    return {**os.environ, API_KEY: engine.api_key, "LOAD_DATABASE_URL": engine.running()["DATABASE_URL"]}


def summary(reports: Path, codes: dict[str, int]) -> list[str]:
    """Write a line for each scenario."""
    rows = [HEADINGS, *(row(reports, name, code) for name, code in codes.items())]
    widths = [max(len(str(one[i])) for one in rows) for i in range(len(HEADINGS))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(one, widths, strict=True)).rstrip() for one in rows]


def row(reports: Path, name: str, code: int) -> tuple[str, ...]:
    """Write the cells of one scenario."""
    path = reports / f"{name}.json"
    if not path.exists():
        return (name, *[""] * (len(HEADINGS) - 2), f"FAILED: ended with {code} before it had figures")
    found: dict[str, Any] = json.loads(path.read_text())
    ends = ", ".join(f"{count} {status}" for status, count in sorted(found["ends"].items()))
    return (
        name,
        f"{found['accepted']}/{found['asked']}",
        f"{found['accepted'] * 60 / found['seconds']:.1f}",
        f"{found['most_at_once']}",
        ends,
        f"{found['post_p95_ms']:.0f} ms",
        f"{found['final_p95_ms']:.0f} ms",
        f"{found['messages']}",
        "PASSED" if code == 0 else "FAILED by " + "; ".join(found["broken"]),
    )


if __name__ == "__main__":
    main()
