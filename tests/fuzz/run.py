"""The engine against malformed HTTP, WebSocket frames and JSON, while other clients stall.

.venv/bin/python -m tests.fuzz.run --seed 1 --cases 100000
"""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from config.env import ROOT
from tests.fuzz import judging
from tests.fuzz.cases import Case, case
from tests.fuzz.places import endpoints, sockets
from tests.fuzz.stalls import STALLS, ended
from tests.system import NO_DELAYS, System, eventually, outside, system

AT_ONCE = 300
"""Connections of the fuzzer at a time."""
RATE = 200.0
"""Cases begun in a second: the engine and the fuzzer share a few cores with the good client."""
DEADLINE_S = 60.0
"""By when each connection must be answered or closed: the longest limit is that of two pings, 40 s."""
STALLED_S = 110.0
"""By when one that stalls must be: an idle connection may be kept for 75 s."""
BROKEN_OFF_S = 0.5
"""After how long an impatient client breaks off."""
SHOWN = 20
BEFORE_S = 10.0
LOOK_S = 2.0


@dataclass
class Tally:
    """What was sent, and what was wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    stalls: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    peak_mb: dict[str, int] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        """How many cases ended."""
        return self.outcomes.total()


class Fuzzer:
    """Sends cases to one engine, and judges what comes back."""

    def __init__(self, engine: System, seed: int) -> None:
        self.engine, self.seed = engine, seed
        self.endpoints, self.sockets, self.key = endpoints(), sockets(), key_of(engine)
        self.private = judging.inside(engine)
        self.tally = Tally()
        self.free = asyncio.Semaphore(AT_ONCE)

    def case(self, number: int) -> Case:
        return case(self.seed, number, self.endpoints, self.sockets, self.key)

    async def run(self, first: int, count: int, rate: float, stalling: bool) -> None:
        """Send so many cases, at that rate, while others stall."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self.watch())
            beside = [group.create_task(self.stall(name)) for name in STALLS if stalling]
            sent = []
            for number in range(first, first + count):
                await self.free.acquire()
                await asyncio.sleep(max(0, begun + (number - first) / rate - time.monotonic()))
                sent.append(task := group.create_task(self.judge(self.case(number))))
                task.add_done_callback(lambda _: self.free.release())
            await asyncio.gather(*sent, *beside)
            watching.cancel()

    async def judge(self, one: Case) -> None:
        """Send a case, and note what is wrong with the answer."""
        wrong = []
        received, over = await self.conversation(one)
        if not over:
            wrong.append(f"neither answered nor closed within {DEADLINE_S:g} s")
        wrong += judging.wrong_with(received, self.private)
        self.tally.outcomes[f"{one.kind}: {judging.outcome(received)}"] += 1
        for what in wrong:
            sent = b"".join(one.pieces)
            self.tally.wrong.append(
                f"seed {self.seed}, case {one.number}, {one.kind}: {what}\n sent {sent!r}\n got {received[-3000:]!r}"
            )

    async def conversation(self, one: Case) -> tuple[bytes, bool]:
        """Return what came back, and whether it ended as it should."""
        received = bytearray()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.engine.port)
        try:
            async with asyncio.timeout(DEADLINE_S if one.patient else BROKEN_OFF_S):
                writing = asyncio.create_task(write(writer, one.pieces))
                try:
                    while data := await reader.read(65_536):
                        received += data
                finally:
                    writing.cancel()
                    await asyncio.gather(writing, return_exceptions=True)
        except ConnectionError:
            return bytes(received), True
        except TimeoutError:
            return bytes(received), not one.patient
        finally:
            writer.transport.abort()
        return bytes(received), True

    async def stall(self, name: str) -> None:
        """Stall in one way, and note how it ended."""
        end = await ended(STALLS[name], "127.0.0.1", self.engine.port, STALLED_S)
        self.tally.stalls[name] = f"{end.how} after {end.after_s:.1f} s"
        if end.how == "open":
            self.tally.wrong.append(f"{name}: open after {STALLED_S:g} s")

    async def watch(self) -> None:
        """Note how large each process gets."""
        while True:
            for name, size in judging.memory_mb(self.engine).items():
                self.tally.peak_mb[name] = max(size, self.tally.peak_mb.get(name, 0))
            await asyncio.sleep(LOOK_S)


async def write(writer: asyncio.StreamWriter, pieces: tuple[bytes, ...]) -> None:
    """Send what the server takes."""
    with suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002 if len(pieces) > 1 else 0)


def key_of(engine: System) -> str:
    """Return the engine's API key, if it has one."""
    path = engine.data_dir / "api-key"
    return path.read_text().strip() if path.exists() else ""


@contextmanager
def neighbour(engine: System, noted: list[Any]) -> Iterator[None]:
    """Have a good client beside."""
    command = [sys.executable, "-m", "tests.fuzz.neighbour", engine.url, key_of(engine)]
    process = subprocess.Popen(command, cwd=ROOT, env=outside(), stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        noted += json.loads(process.communicate(timeout=30)[0])


def latencies(noted: list[Any]) -> dict[str, Any]:
    """Summarise what the good client noted."""
    took = sorted(ms for _, _, ms in noted)
    statuses = Counter(str(status) for _, status, _ in noted)
    return {
        "orders": len(took),
        "statuses": dict(statuses),
        **{f"p{share}, ms": round(took[len(took) * share // 100], 1) for share in (50, 95, 99) if took},
    }


def fuzz(
    engine: System, seed: int, cases: int, rate: float = RATE, stalling: bool = True
) -> tuple[Tally, dict[str, Any]]:
    """Send the cases to a running engine; return what was wrong, and the figures."""
    pids, before_mb, told = engine.pids(), judging.memory_mb(engine), len(judging.complaints(engine.data_dir / "logs"))
    quiet: list[Any] = []
    with neighbour(engine, quiet):
        time.sleep(BEFORE_S if stalling else 1.0)
    beside: list[Any] = []
    fuzzer = Fuzzer(engine, seed)
    begun = time.monotonic()
    with neighbour(engine, beside):
        asyncio.run(fuzzer.run(0, cases, rate, stalling))
    seconds = time.monotonic() - begun
    tally, after_mb = fuzzer.tally, judging.memory_mb(engine)
    tally.wrong += judging.complaints(engine.data_dir / "logs")[told:]
    if engine.pids() != pids:
        tally.wrong.append(f"processes died: {pids} before, {engine.pids()} after")
    grown = {name: size - before_mb[name] for name, size in after_mb.items() if name in before_mb}
    tally.wrong += [f"{name} grew by {by} MB" for name, by in grown.items() if by > judging.GROWTH_MAX_MB]
    return tally, {
        "cases": tally.cases,
        "seconds": round(seconds, 1),
        "outcomes": dict(sorted(tally.outcomes.items())),
        "stalls": tally.stalls,
        "memory before, peak and after, MB": {
            name: [before_mb.get(name, 0), tally.peak_mb.get(name, 0), size] for name, size in after_mb.items()
        },
        "a good client's orders before": latencies(quiet),
        "and meanwhile": latencies(beside),
        "wrong": len(tally.wrong),
    }


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--cases", type=int, default=100_000)
    options.add_argument("--rate", type=float, default=RATE, help="cases begun in a second")
    options.add_argument("--case", type=int, help="only this case of the seed, whose bytes and answer are printed")
    chosen = options.parse_args()
    with system(NO_DELAYS) as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        if chosen.case is not None:
            fuzzer = Fuzzer(engine, chosen.seed)
            one = fuzzer.case(chosen.case)
            print(one, *asyncio.run(fuzzer.conversation(one)), sep="\n")
            print(*judging.complaints(engine.data_dir / "logs"), sep="\n")
            return
        tally, figures = fuzz(engine, chosen.seed, chosen.cases, chosen.rate)
    print(json.dumps(figures, indent=2))
    for one_wrong in tally.wrong[:SHOWN]:
        print(one_wrong, end="\n\n")
    raise SystemExit(bool(tally.wrong))


if __name__ == "__main__":
    main()
