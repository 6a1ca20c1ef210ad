"""More orders than the machine can execute: what is accepted, what is refused, and how the engine is afterwards.

.venv/bin/python -m tests.load.overload --rate 1500 --seconds 60
"""

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import uvloop

from tests.load.burst import MARKET, usage
from tests.load.openloop import Answered, Generator, Sent
from tests.system import System, eventually, system

SETTINGS = {"MOCK_LAUNCH_EVERY_S": "0", "ORDER_LIVE_TTL_S": "5"}
"""Finished orders leave Redis soon, so that its memory after the load says what the load has left."""
WARM_RATE, WARM_S = 500.0, 15.0
"""A server well in use: what it loads and allocates with its first thousands of orders is no trace of the overload."""
PROBES_PER_S = 10.0
BEFORE_S = 10.0
NORMAL_WITHIN_S = 90.0
"""How long its latency may take to be normal again before this gives up."""
FINAL_WITHIN_S = 120.0
CALM_S = 30.0
"""How long after the load memory is looked at: by then all that is let go has gone."""


def pss_mb(pid: int) -> float:
    """Return a process's proportional share of memory; shared memory, which is Postgres' cache, is left out."""
    found = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return (kb(found["Pss"]) - kb(found["Pss_Shmem"])) / 1024


def kb(text: str) -> int:
    """Read a number of kilobytes."""
    return int(text.split(maxsplit=1)[0])


def memory(engine: System) -> dict[str, float]:
    """Return the memory of each process by name, of Postgres with all its backends."""
    pids = engine.pids()
    found = dict.fromkeys(pids, 0.0)
    names = {pid: name for name, pid in pids.items()}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            pid, parent = int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
            name = names.get(pid) or ("postgres" if parent == pids["postgres"] else None)
            if name:
                found[name] += pss_mb(pid)
    return found


@contextmanager
def watching(engine: System) -> Iterator[list[dict[str, float]]]:
    """Look at memory every second for a while."""
    seen: list[dict[str, float]] = []
    over = Event()

    def look() -> None:
        while not over.wait(1.0):
            seen.append(memory(engine))

    looker = Thread(target=look)
    looker.start()
    try:
        yield seen
    finally:
        over.set()
        looker.join()


def grown(
    before: Mapping[str, float], seen: Sequence[Mapping[str, float]], after: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Compare each process's memory with that of before.

    An allocator keeps some of what it once had: whether it goes on to grow shows what the first third of the time and
    the rest of it needed at most.
    """
    third = max(1, len(seen) // 3)
    found = {}
    for name in sorted(before.keys() & after.keys()):
        first, rest = (max(one.get(name, 0.0) for one in part) for part in (seen[:third], seen[third:] or seen))
        found[name] = {
            "before": round(before[name]),
            "most in the first third": round(first),
            "most in the rest": round(rest),
            "after": round(after[name]),
            "after/before": round(after[name] / before[name], 2),
        }
    return found


def generator(engine: System, order: Mapping[str, Any] = MARKET) -> Generator:
    """Make a generator that posts this order to the engine."""
    return Generator("127.0.0.1", engine.port, "/api/orders/execute", json.dumps(order).encode(), engine.headers)


def probed(engine: System, seconds: float, rate: float = PROBES_PER_S, order: Mapping[str, Any] = MARKET) -> Sent:
    """Post a few orders."""

    async def probe() -> Sent:
        client = generator(engine, order)
        try:
            return await client.run(rate, seconds)
        finally:
            client.close()

    return uvloop.run(probe())


async def overload(engine: System, rate: float, seconds: float) -> tuple[Sent, Sent]:
    """Post orders at a rate, and a few more over a connection of their own, whose latency is that of a calm client."""
    many, few = generator(engine), generator(engine)
    try:
        return await asyncio.gather(many.run(rate, seconds), few.run(PROBES_PER_S, seconds))
    finally:
        many.close()
        few.close()


def is_refusal(answer: Answered) -> bool:
    """Tell whether a client was told to come back, and when."""
    return answer.status == 503 and (answer.retry_after or "").isdigit()


def ids_of(answers: Sequence[Answered]) -> list[str]:
    """Return the ids of accepted orders."""
    return [json.loads(answer.body)["orderId"] for answer in answers if answer.status == 202]


def ends(engine: System, ids: Sequence[str]) -> Counter[str]:
    """Count how accepted orders stand in Postgres; one that is not there is `lost`."""
    with engine.postgres() as db:
        rows = db.execute(
            "SELECT status || coalesce(' ' || (result->>'code'), ''), count(*) FROM orders_order"
            " WHERE id = ANY(%s::uuid[]) GROUP BY 1",
            [list(ids)],
        ).fetchall()
    found = Counter({str(status): int(count) for status, count in rows})
    found["lost"] = len(ids) - found.total()
    return +found


FINAL = ("confirmed", "failed", "cancelled", "expired")


def all_final(engine: System, ids: Sequence[str]) -> bool:
    """Tell whether every accepted order has ended."""
    return all(status.startswith(FINAL) for status in ends(engine, ids))


def ms(seconds: Sequence[float]) -> dict[str, float]:
    """Return quantiles in milliseconds."""
    if not seconds:
        return {}
    found = sorted(seconds)
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {name: round(found[int((len(found) - 1) * share)] * 1000, 1) for name, share in at.items()}


def until_normal(engine: System, before: Sent) -> tuple[float | None, Sent]:
    """Post a few orders until their latency is that of before; return after how long, and the last second's.

    It is while a second's orders are all accepted, in a median of at most one and a half times that of before.
    """
    usual, began = statistics.median(answer.took_s for answer in before.answers), time.monotonic()
    while (passed := time.monotonic() - began) < NORMAL_WITHIN_S:
        last = probed(engine, 1.0)
        accepted = all(answer.status == 202 for answer in last.answers)
        if accepted and statistics.median(answer.took_s for answer in last.answers) <= 1.5 * usual:
            return passed, last
    return None, last


@dataclass
class Run:
    """What a run showed."""

    before: Sent
    many: Sent
    few: Sent
    after: Sent
    normal_s: float | None
    final_s: float
    memory: dict[str, dict[str, float]]
    cpu_s: dict[str, float]

    @property
    def answers(self) -> list[Answered]:
        """Return all answers of the time of the load."""
        return [*self.many.answers, *self.few.answers]

    @property
    def accepted(self) -> list[str]:
        """Return the ids of the orders accepted in that time."""
        return ids_of(self.answers)

    @property
    def refused(self) -> Counter[str]:
        """Count clients that were told to come back, by the reason."""
        return Counter(json.loads(answer.body)["error"]["code"] for answer in self.answers if is_refusal(answer))

    @property
    def others(self) -> Counter[str]:
        """Count all other answers, of which there should be none."""
        odd = (answer for answer in self.answers if answer.status != 202 and not is_refusal(answer))
        return Counter(f"{answer.status} {answer.body[:80]!r}" for answer in odd)


def run(
    engine: System,
    rate: float,
    seconds: float,
    *,
    warm_s: float = WARM_S,
    before_s: float = BEFORE_S,
    calm_s: float = CALM_S,
    beside: AbstractContextManager[None] | None = None,
) -> Run:
    """Warm up, look, overload, and look again until all is calm."""
    warm = probed(engine, warm_s, WARM_RATE)
    eventually(lambda: all_final(engine, ids_of(warm.answers)), FINAL_WITHIN_S, "the warm-up is through")
    at_first = probed(engine, before_s)
    before, used = memory(engine), usage(engine)
    with watching(engine) as seen:
        with beside or nullcontext():
            many, few = uvloop.run(overload(engine, rate, seconds))
        ended, used = time.monotonic(), {name: s - used.get(name, 0.0) for name, s in usage(engine).items()}
        normal_s, calm = until_normal(engine, at_first)
        accepted = ids_of([*many.answers, *few.answers])
        eventually(lambda: all_final(engine, accepted), FINAL_WITHIN_S, "every accepted order is final")
        final_s = time.monotonic() - ended
    eventually(lambda: not engine.redis().exists(*(f"order:{{{i}}}" for i in accepted[-100:])), 60, "they left Redis")
    time.sleep(max(0.0, ended + calm_s - time.monotonic()))
    return Run(at_first, many, few, calm, normal_s, final_s, grown(before, seen, memory(engine)), used)


def figures(engine: System, rate: float, seconds: float) -> dict[str, Any]:
    """Run it and return its figures."""
    found = run(engine, rate, seconds)
    return {
        "asked for": {"POSTs per second": rate, "seconds": seconds},
        "load generator": {
            "sent per second": round(found.many.achieved),
            "could not send": found.many.unsent,
            "late, ms": ms(found.many.late_s),
            "CPU, % of a core": round(100 * found.cpu_s["load generator"] / seconds),
            "was itself the limit": found.many.achieved < 0.98 * rate,
        },
        "accepted": len(found.accepted),
        "accepted per second": round(len(found.accepted) / seconds),
        "refused, 503 with Retry-After": found.refused,
        "anything else": found.others,
        "accepted orders ended": ends(engine, found.accepted),
        "all final after, s": round(found.final_s, 1),
        "latency of POST, ms": {
            "before": ms([answer.took_s for answer in found.before.answers]),
            "during, accepted": ms([answer.took_s for answer in found.answers if answer.status == 202]),
            "during, refused": ms([answer.took_s for answer in found.answers if is_refusal(answer)]),
            "during, of a client with 10 a second": ms([answer.took_s for answer in found.few.answers]),
            "after": ms([answer.took_s for answer in found.after.answers]),
        },
        "latency normal after, s": None if found.normal_s is None else round(found.normal_s, 1),
        "memory, MB": found.memory,
        "CPU, % of a core": {name: round(100 * s / seconds) for name, s in sorted(found.cpu_s.items())},
    }


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rate", type=float, default=1_500)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--backlog", type=int, help="ORDER_BACKLOG_MAX, if not the engine's own")
    chosen = options.parse_args()
    settings = SETTINGS if chosen.backlog is None else {**SETTINGS, "ORDER_BACKLOG_MAX": str(chosen.backlog)}
    with system(settings) as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        print(json.dumps(figures(engine, chosen.rate, chosen.seconds), indent=2))


if __name__ == "__main__":
    main()
