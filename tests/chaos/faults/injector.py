"""Carries a plan of faults out, ends each in its time, and writes down what was done and when."""

import heapq
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from tests.chaos.checker.journal import FAULTS
from tests.chaos.faults import clocks, messages, processes, sandbox, stores
from tests.chaos.faults.ground import Ground, Hit
from tests.chaos.plan.faults import Planned

LATER_S = 1.0
"""When a fault that cannot be done now is tried again."""
TICK_S = 0.2

KINDS: dict[str, tuple[str, Callable[[Ground, Planned], Hit | None]]] = {
    "kill": ("process", processes.kill),
    "freeze": ("process", processes.freeze),
    "short freeze": ("process", processes.freeze),
    "fall": ("process", processes.fall),
    "redis killed": ("redis", stores.redis_killed),
    "redis emptied": ("redis", stores.redis_emptied),
    "redis rolled back": ("redis", stores.redis_rolled_back),
    "redis frozen": ("redis", stores.redis_frozen),
    "postgres killed": ("postgres", stores.postgres_killed),
    "postgres connections terminated": ("postgres", stores.postgres_disconnected),
    "postgres read-only": ("postgres", stores.postgres_read_only),
    "postgres frozen": ("postgres", stores.postgres_frozen),
    "messages": ("messages", messages.messages),
    "redis clock": ("clock", clocks.redis_clock),
    "postgres clock": ("clock", clocks.postgres_clock),
    "venues": ("venues", sandbox.venues),
    "chain": ("chain", sandbox.chain),
}
"""What each kind of fault is done to, and what does it."""


class Injector:
    """One run's faults."""

    def __init__(self, ground: Ground, planned: Sequence[Planned], folder: Path) -> None:
        self.ground = ground
        self.file = (folder / FAULTS).open("a", encoding="utf-8")
        self.counts: Counter[str] = Counter()
        self.open: list[Callable[[], None]] = []
        self.numbers = count()
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        begun = time.monotonic()
        for one in planned:
            self.at(begun + one.at_s, self.striking(one))

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Do something at that moment."""
        heapq.heappush(self.due, (moment, next(self.numbers), act))

    def striking(self, planned: Planned) -> Callable[[], None]:
        """Return what does a fault, or puts it off."""
        return lambda: self.strike(planned)

    def strike(self, planned: Planned) -> None:
        """Do a fault, or put it off while what it needs is not there."""
        of, do = KINDS[planned.kind]
        begun = time.time()
        hit = do(self.ground, planned)
        if hit is None:
            self.at(time.monotonic() + LATER_S, self.striking(planned))
            return
        self.counts[planned.kind] += 1
        known = {"kind": planned.kind, "of": of, "target": hit.target, "from": round(begun, 3)}
        if hit.undo is None:
            self.note(**known, to=round(time.time(), 3), **hit.facts)
        else:
            self.end_later(planned, hit, known)

    def end_later(self, planned: Planned, hit: Hit, known: dict[str, Any]) -> None:
        """End a fault when its time is over, or when everything ends."""

        def end() -> None:
            if end in self.open:
                self.open.remove(end)
                assert hit.undo is not None
                hit.undo()
                self.note(**known, to=round(time.time(), 3), **hit.facts)

        self.open.append(end)
        self.at(time.monotonic() + planned.lasts_s, end)

    def note(self, **facts: Any) -> None:
        """Write a line down."""
        self.file.write(json.dumps(facts) + "\n")
        self.file.flush()

    def run(self, seconds: float, tick: Callable[[], None]) -> None:
        """Do what is due for so long; `tick` is called in between, several times a second."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            while self.due and self.due[0][0] <= time.monotonic():
                heapq.heappop(self.due)[2]()
            tick()
            soonest = self.due[0][0] if self.due else until
            time.sleep(max(0.0, min(TICK_S, soonest - now, until - now)))

    def end_all(self) -> None:
        """End every fault, now."""
        self.due.clear()
        for end in list(self.open):
            end()
