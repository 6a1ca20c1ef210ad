"""An engine that nobody uses: its CPU and its memory by process.

.venv/bin/python -m tests.load.idle --seconds 60
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from tests.load.burst import usage
from tests.load.overload import kb, memory
from tests.system import NO_DELAYS, System, eventually, system

CALM_S = 15.0
"""How long after its first quotes an engine has started for good."""


def shared_mb(engine: System) -> float:
    """Return Postgres' cache, which its processes share, in MB."""
    rollup = Path(f"/proc/{engine.pids()['postgres']}/smaps_rollup").read_text().splitlines()[1:]
    return kb(dict(line.split(":", 1) for line in rollup)["Pss_Shmem"]) / 1024


def figures(engine: System, seconds: float) -> dict[str, Any]:
    """Watch it for so long."""
    before, begun = usage(engine), time.monotonic()
    time.sleep(seconds)
    after, passed = usage(engine), time.monotonic() - begun
    busy = {name: 100 * (after[name] - before[name]) / passed for name in engine.pids()}
    used = memory(engine)
    return {
        "CPU, % of a core": {name: round(share, 1) for name, share in sorted(busy.items())},
        "CPU of all, % of a core": round(sum(busy.values()), 1),
        "memory, MB (PSS)": {name: round(mb) for name, mb in sorted(used.items())},
        "memory of all, MB": round(sum(used.values())),
        "and Postgres' shared cache, MB": round(shared_mb(engine)),
    }


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60)
    chosen = options.parse_args()
    with system(NO_DELAYS) as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        time.sleep(CALM_S)
        print(json.dumps(figures(engine, chosen.seconds), indent=2))


if __name__ == "__main__":
    main()
