"""The benchmarks one after the other, each with an engine of its own: a JSON file and a page with tables and charts.

.venv/bin/python -m tests.load.suite --out figures          # all of them, about 25 minutes
.venv/bin/python -m tests.load.suite --out figures --quick  # on a small scale, about 5 minutes
.venv/bin/python -m tests.load.suite --only idle burst
"""

import argparse
import html
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WITHIN_S = 1_800.0
CPU = "CPU microseconds per order"


@dataclass(frozen=True)
class Benchmark:
    """A module of this package with its arguments, in full and on a small scale."""

    name: str
    module: str
    full: str
    quick: str


BENCHMARKS = (
    Benchmark("idle", "idle", "--seconds 60", "--seconds 10"),
    Benchmark("one user", "latency", "--orders 500", "--orders 100"),
    Benchmark("burst", "burst", "--orders 10000", "--orders 1000"),
    Benchmark("a socket per order", "sockets", "--orders 5000", "--orders 500"),
    Benchmark(
        "idle sockets",
        "sockets",
        "--orders 500 --connections 4 --idle 10000",
        "--orders 50 --connections 4 --idle 500",
    ),
    Benchmark("default delays", "settle", "--orders 1000", "--orders 200"),
    Benchmark("order workers", "scale", "--orders 6000 --workers 1 2 4", "--orders 500 --workers 1 2"),
    Benchmark("overload", "overload", "--rate 1500 --seconds 60", "--rate 1500 --seconds 5"),
    Benchmark("quotes", "cadence", "--seconds 60", "--seconds 10"),
    Benchmark("triggers", "trigger", "--triggers 500", "--triggers 50"),
    Benchmark("desk", "frames", "--orders 500 --seconds 20", "--orders 100 --seconds 5"),
    Benchmark("resting orders", "resting", "--orders 1000000", "--orders 10000"),
)


def run(one: Benchmark, arguments: str) -> dict[str, Any]:
    """Run a benchmark; its figures, or why it has none, with the command that reproduces them."""
    command = ["-m", f"tests.load.{one.module}", *arguments.split()]
    begun, load = time.monotonic(), os.getloadavg()[0]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    found = {
        "command": f".venv/bin/python {' '.join(command)}",
        "seconds": round(time.monotonic() - begun),
        "load average before": round(load, 2),
    }
    if done.returncode:
        return {**found, "failed": done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]}
    return {**found, "figures": json.loads(done.stdout)}


def machine() -> dict[str, Any]:
    """Say what was measured on, and what."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or "unknown",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield each figure with its whole name."""
    for name, value in figures.items():
        whole = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{whole}: ")
        elif isinstance(value, list):
            for number, one in enumerate(value, 1):
                yield from flat(one if isinstance(one, Mapping) else {"": one}, f"{whole} {number}: ")
        else:
            yield whole, f"{value:,}" if isinstance(value, int | float) else str(value)


def bars(shares: Mapping[str, float]) -> str:
    """Draw CPU by process as bars, the longest first."""
    most = max(shares.values()) or 1
    rows = sorted(shares.items(), key=lambda pair: -pair[1])
    drawn = "".join(
        f'<text x="0" y="{20 * at + 15}">{html.escape(name)}</text>'
        f'<rect x="120" y="{20 * at + 4}" width="{400 * value / most:.0f}" height="14" fill="#4c78a8"/>'
        f'<text x="{126 + 400 * value / most:.0f}" y="{20 * at + 15}">{value:,.0f}</text>'
        for at, (name, value) in enumerate(rows)
    )
    return f'<svg role="img" aria-label="{CPU}" width="620" height="{20 * len(rows) + 8}">{drawn}</svg>'


def page(results: Mapping[str, Any]) -> str:
    """Return the results as a page that needs nothing besides."""
    parts = []
    for name, one in results["benchmarks"].items():
        figures = one.get("figures", {})
        chart = f"<p>{CPU}</p>{bars(figures[CPU])}" if CPU in figures else ""
        told = flat({key: value for key, value in figures.items() if key != CPU} or {"failed": one.get("failed")})
        rows = "".join(f"<tr><th>{html.escape(what)}</th><td>{html.escape(value)}</td></tr>" for what, value in told)
        parts.append(
            f"<h2>{html.escape(name)}</h2><p><code>{html.escape(one['command'])}</code>, {one['seconds']} s, "
            f"load average before it {one['load average before']}</p><table>{rows}</table>{chart}"
        )
    where = ", ".join(f"{what} {value}" for what, value in results["machine"].items())
    style = (
        "body{font:14px sans-serif;max-width:60em;margin:2em auto}"
        "th{text-align:left;font-weight:normal;padding-right:2em}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Benchmarks</title><style>{style}</style>'
        f"<h1>Benchmarks</h1><p>{html.escape(where)}</p>{''.join(parts)}</html>"
    )


def main() -> int:
    """Parse, run, write; the exit code says whether all of them ran."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("figures"), help="path of the results without its ending")
    options.add_argument("--quick", action="store_true", help="on a small scale")
    options.add_argument("--only", nargs="+", choices=[one.name for one in BENCHMARKS], help="these only")
    chosen = options.parse_args()
    results: dict[str, Any] = {"machine": machine(), "benchmarks": {}}
    for one in BENCHMARKS:
        if chosen.only and one.name not in chosen.only:
            continue
        print(f"{one.name} ...", end=" ", file=sys.stderr, flush=True)
        found = results["benchmarks"][one.name] = run(one, one.quick if chosen.quick else one.full)
        print(
            f"{'failed: ' + str(found['failed']) if 'failed' in found else 'done'}, {found['seconds']} s",
            file=sys.stderr,
        )
        # What was measured so far stays, whatever comes after it.
        chosen.out.with_suffix(".json").write_text(json.dumps(results, indent=2))
        chosen.out.with_suffix(".html").write_text(page(results))
    return int(any("failed" in one for one in results["benchmarks"].values()))


if __name__ == "__main__":
    sys.exit(main())
