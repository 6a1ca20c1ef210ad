"""From the write of a BEST that reaches a resting order to `triggered` on its client's socket, one order at a time.

.venv/bin/python -m tests.load.trigger --triggers 500

The whole engine runs as processes, with the quotes of all its pairs, on a market without delays whose price rises with
every poll; an order always rests a little above it.  Redis' MONITOR says when each step was taken, by this machine's
clock, which also times the socket.  Ends with 1 when p99 is 50 ms or more, or the ring found too few.
"""

import argparse
import csv
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.system import NO_DELAYS, System, eventually, system

BEST = "quotes:{SOL-USDC}:BEST"
TICK = Decimal("0.01")
AHEAD = 2 * TICK
"""How far above the price an order rests: less than the price rises between two polls."""
RISE_A_ROW = Decimal("0.2")
SPEED = 60
"""A row of the file lasts a minute, so here a second: the price rises by ten ticks from poll to poll."""
TARGET_MS = 50.0
RUNG_LEAST = 0.9
"""Share that the ring must find before beat's check does: the check comes so soon after each poll that it hides a dead
bell."""
WARM_UP = 20
PATIENCE_S = 10.0

LINE = re.compile(rb"^\+(\d+\.\d+) \[\d+ [^\]]+\] (.*)$")
NET_PRICE = re.compile(rb'"net_price" "([0-9.]+)"')

HOPS = {
    "BEST written to the bell's look": b'"EXISTS" "limit_levels:{SOL-USDC}"',
    "look to crossing found: quotes read and judged": b'"ZRANGEBYSCORE" "limit_levels:{SOL-USDC}"',
    "crossing to wake-up sent: Celery's publishing": b'"LPUSH" "limit" ',
    "wake-up to claim: Celery's consuming, quotes read and judged": b'"ZPOPMIN" "limit_bucket:{SOL-USDC}:',
    "claim to triggered": b'"XADD" "orders:events" ',
}
"""What Redis is told at the end of each hop; the last one, to the socket, is over when the message is there."""
LAST = "triggered to the socket"


@dataclass(frozen=True)
class Seen:
    """One trigger: when each of HOPS was over, then the socket's time; the first is the write of BEST.  Epoch s."""

    at: tuple[float, ...]
    by_ring: bool
    """Whether the ring came first, or beat's check found it."""

    @property
    def took_ms(self) -> float:
        """From the first to the last."""
        return (self.at[-1] - self.at[0]) * 1000


class Monitor(threading.Thread):
    """Keeps what Redis is told, until it is asked for it."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        where = urlsplit(url)
        self.socket = socket.create_connection((where.hostname, where.port))
        self.socket.sendall(f"AUTH {where.password}\r\nMONITOR\r\n".encode())
        self.lock = threading.Lock()
        self.heard = bytearray()

    def run(self) -> None:
        """Listen until the engine ends."""
        try:
            while part := self.socket.recv(1 << 20):
                with self.lock:
                    self.heard += part
        except OSError:
            return

    def take(self) -> list[tuple[float, bytes]]:
        """Return the commands heard so far, with their times, and forget them."""
        with self.lock:
            whole, _, rest = bytes(self.heard).rpartition(b"\r\n")
            self.heard = bytearray(rest)
        lines = (LINE.match(line) for line in whole.split(b"\r\n"))
        return [(float(found[1]), found[2]) for found in lines if found]


@contextmanager
def rising_market(triggers: int) -> Iterator[dict[str, str]]:
    """Write prices that only rise, long enough; give the settings to replay them."""
    with TemporaryDirectory(prefix="order-engine-rising-") as folder:
        path = Path(folder) / "SOLUSDT_rising.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["timestamp", "open", "high", "low", "close", "volume"])
            for row in range(600 + 2 * triggers):
                opens, closes = 100 + row * RISE_A_ROW, 100 + (row + 1) * RISE_A_ROW
                rows.writerow([f"{row:08}", opens, closes, opens, closes, 1])
        yield {
            **NO_DELAYS,
            "MOCK_PRICE_VARIATION_PCT": "0",
            "MARKET_REPLAY": str(path),
            "MARKET_REPLAY_SPEED": str(SPEED),
            "MARKET_REPLAY_START": str(int(time.time())),
        }


def trigger(engine: System, api: httpx.Client, monitor: Monitor) -> Seen | None:
    """Place an order a little above the price and follow it until it fires; None when the price was there first."""
    monitor.take()
    best = Decimal(engine_best(engine))
    limit = best.quantize(TICK, ROUND_DOWN) + AHEAD
    order_id = api.post("/api/orders/execute", json=body(limit)).raise_for_status().json()["orderId"]
    with connect(f"{engine.ws}/ws/{order_id}", additional_headers=engine.headers) as client:
        assert status(client) == "pending"
        listening = time.time()
        assert status(client) == "triggered"
        arrived = time.time()
        # The rest of its way must not run into the next one's.
        while status(client) != "confirmed":
            pass
    return story(monitor.take(), order_id, limit, listening, arrived)


def engine_best(engine: System) -> str:
    """Return BEST's price less fee."""
    return str(engine.redis().hget(BEST, "net_price"))


def body(limit: Decimal) -> dict[str, str]:
    """Make an order's JSON."""
    return {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "limitPrice": str(limit)}


def status(client: ClientConnection) -> str:
    """Return the next event's status."""
    return str(json.loads(client.recv(timeout=PATIENCE_S))["status"])


def story(
    lines: Sequence[tuple[float, bytes]], order_id: str, limit: Decimal, listening: float, arrived: float
) -> Seen | None:
    """Find in what Redis was told when each hop of this trigger was over."""
    crossing = next(at for at, told in lines if is_crossing(told, limit))
    if crossing <= listening:
        return None
    moved = next(
        at
        for at, told in lines
        if told.startswith(b'"XADD" "orders:events" ') and order_id.encode() in told and b"triggered" in told
    )
    at = [crossing]
    for mark in list(HOPS.values())[:-1]:
        at.append(next((when for when, told in lines if when >= at[-1] and told.startswith(mark)), float("inf")))
    return Seen((*at, moved, arrived), by_ring=at == sorted(at) and at[-1] <= moved)


def is_crossing(told: bytes, limit: Decimal) -> bool:
    """Tell whether this command writes a BEST at the limit or above."""
    if not told.startswith(f'"HSET" "{BEST}" '.encode()):
        return False
    price = NET_PRICE.search(told)
    return price is not None and Decimal(price[1].decode()) >= limit


def figures(seen: Sequence[Seen]) -> dict[str, object]:
    """Work out the shares, in all and hop by hop."""
    # Without a single one there is nothing to divide: the bell is dead, and beat's check stands in for it.
    rung = [one for one in seen if one.by_ring]
    slow = sorted(rung, key=lambda one: one.took_ms)[-max(1, len(rung) // 100) :]
    hops = {name: [(one.at[i + 1] - one.at[i]) * 1000 for one in rung] for i, name in enumerate((*HOPS, LAST))}
    return {
        "triggers": len(seen),
        "BEST written to triggered on the socket, ms": shares([one.took_ms for one in seen]),
        "hops, ms": {name: shares(took) for name, took in hops.items() if took},
        "hops of the slowest 1 %, ms": [[round((b - a) * 1000, 1) for a, b in pairwise(one.at)] for one in slow],
        "found by beat's check before the ring": len(seen) - len(rung),
    }


def shares(took: Sequence[float]) -> dict[str, float]:
    """Pick p50, p95, p99 and the maximum."""
    ordered = sorted(took)
    picks = {f"p{share}": ordered[len(ordered) * share // 100] for share in (50, 95, 99)} | {"max": ordered[-1]}
    return {name: round(value, 2) for name, value in picks.items()}


def measure(engine: System, triggers: int) -> list[Seen]:
    """Trigger so many orders, one after the other."""
    seen: list[Seen] = []
    monitor = Monitor(engine.running()["REDIS_URL"])
    monitor.start()
    with httpx.Client(base_url=engine.url, headers=engine.headers) as api:
        while len(seen) < triggers:
            one = trigger(engine, api, monitor)
            if one:
                seen.append(one)
                if len(seen) % 50 == 0:
                    print(f"{len(seen)} of {triggers} triggered", file=sys.stderr)
    return seen


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--triggers", type=int, default=500)
    chosen = options.parse_args()
    with rising_market(chosen.triggers) as settings, system(settings) as engine:
        eventually(lambda: engine.redis().exists(BEST), 90, "the first quotes")
        # The start is not what is measured, nor what each process does for the first time.
        seen = measure(engine, WARM_UP + chosen.triggers)[WARM_UP:]
    print(json.dumps(figures(seen), indent=2))
    in_time = shares([one.took_ms for one in seen])["p99"] < TARGET_MS
    sys.exit(0 if in_time and sum(one.by_ring for one in seen) >= RUNG_LEAST * len(seen) else 1)


if __name__ == "__main__":
    main()
