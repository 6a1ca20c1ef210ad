"""How regularly each venue is asked for each pair, with default delays.

.venv/bin/python -m tests.load.cadence --seconds 60
"""

import argparse
import json
import re
import time
from collections import defaultdict
from itertools import pairwise
from statistics import mean

from redis import Redis

from tests.system import eventually, system

QUOTE = re.compile(
    r"(?P<key>quotes:\{[A-Z-]+\}:(RAYDIUM|METEORA)) .*?requested_at\W+(?P<requested_at>\d+)",
)


def requests_seen(redis: Redis, seconds: float) -> dict[str, set[int]]:
    """Listen to every quote that is stored and collect, per pair and venue, when it was asked for (epoch ms)."""
    seen: dict[str, set[int]] = defaultdict(set)
    deadline = time.monotonic() + seconds
    with redis.monitor() as monitor:
        while time.monotonic() < deadline:
            command = monitor.next_command()["command"]
            stored = QUOTE.search(command)
            if stored and command.startswith("EVALSHA"):
                seen[stored["key"]].add(int(stored["requested_at"]))
    return seen


def figures(seen: dict[str, set[int]], seconds: float) -> dict[str, object]:
    """Work out the gaps between successive requests.

    Answers overtake one another and the last ones are still out, so the last 3.5 s are left aside.
    """
    gaps_of = {}
    for key, times in seen.items():
        ordered = sorted(times)
        ordered = [at for at in ordered if at < ordered[-1] - 3_500]
        gaps_of[key] = [b - a for a, b in pairwise(ordered)]
    every = sorted(gap for gaps in gaps_of.values() for gap in gaps)
    means = [mean(gaps) for gaps in gaps_of.values()]
    within = sum(450 <= gap <= 550 for gap in every)
    return {
        "pairs x venues": len(gaps_of),
        "seconds watched": seconds,
        "gaps measured": len(every),
        "mean gap ms, slowest and fastest pair x venue": [round(max(means), 1), round(min(means), 1)],
        "gap ms p1 / p50 / p99 / max": [
            every[len(every) // 100],
            every[len(every) // 2],
            every[len(every) * 99 // 100],
            every[-1],
        ],
        "share of gaps within 500 ms +- 50 ms": round(within / len(every), 4),
    }


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60)
    chosen = options.parse_args()
    with system() as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        # Every pair must have been quoted once by both venues.
        eventually(lambda: len(list(engine.redis().scan_iter("quotes:*"))) >= 66, 30, "quotes of all pairs")
        print(json.dumps(figures(requests_seen(engine.redis(), chosen.seconds), chosen.seconds), indent=2))


if __name__ == "__main__":
    main()
