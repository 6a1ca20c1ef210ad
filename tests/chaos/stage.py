"""One run from its first process to its report."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from config.env import ROOT
from tests.chaos.audience import Audience
from tests.chaos.faults.ground import Ground
from tests.chaos.faults.injector import Injector
from tests.chaos.faults.sandbox import tell
from tests.chaos.grounds.control import Control
from tests.chaos.grounds.engine import Engine
from tests.chaos.grounds.postgres import Postgres
from tests.chaos.grounds.redis import Redis
from tests.chaos.plan import prices
from tests.chaos.plan.faults import USUAL, Aim, Planned, faults, outages
from tests.chaos.planted.bugs import BUGS
from tests.chaos.planted.environment import planted
from tests.chaos.report import progress

WARM_S = 30
"""From the engine's start to the first order, at most: until then the price stands still."""
SHOW_S = 5.0
READ_S = 3_600.0
PAUSE = "INSERT INTO orders_pause (scope, name, reason, by) VALUES ('everything', '', 'the run is over', 'chaos')"
UNAUDITED = """
WITH off AS (UPDATE django_celery_beat_periodictask SET enabled = false WHERE name = 'limit.audit' RETURNING 1)
UPDATE django_celery_beat_periodictasks SET last_update = now()
"""
"""Nobody takes stock of the book, until which beat would have come round once a minute."""
IN_FLIGHT = """
SELECT count(*) FROM orders_order WHERE status IN ('triggered', 'routing', 'building', 'submitted')
    OR (status = 'pending' AND type = 'market')
"""
PAUSE_S = 3.0
"""How long it takes until every process knows, and what fired just before is on its way."""
STILL_S = 30.0
"""How long what is on its way may take to end.  What moves later, while everything is read, is judged as wrong."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    seed: int
    seconds: float
    rate: float
    calm_s: float
    control: bool = False
    plant: str = ""
    still: bool = False
    aim: str = ""
    outages_s: float = 0.0

    @property
    def faults(self) -> list[Planned]:
        """Return what breaks: nothing, everything at length, what makes a bug do harm, or the usual."""
        if self.still:
            return []
        if self.outages_s:
            return outages(self.outages_s)
        return faults(self.seed, self.seconds, self.aimed)

    @property
    def aimed(self) -> Aim:
        """Return what faults are aimed at."""
        return BUGS[self.aim].aim if self.aim else USUAL


class Stage:
    """Stores, engine, clients and faults of one run."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder = folder
        self.options = options
        self.begun = time.monotonic()
        self.shown_at = float("-inf")
        self.was_there: bool | None = None

    def run(self) -> dict[str, Any]:
        """Run it all, and return the checker's report."""
        with ExitStack() as stack:
            self.open(stack)
            self.play()
            self.engine.close()
            return self.judged()

    def open(self, stack: ExitStack) -> None:
        """Start stores, engine and clients; whatever happens then, all of them end."""
        stores = self.folder / "stores"
        stores.mkdir()
        self.redis, self.postgres = Redis(stores), Postgres(stores)
        stack.callback(self.redis.close)
        self.redis.start()
        stack.callback(self.postgres.close)
        self.postgres.start()
        self.engine = self.made()
        stack.callback(self.engine.close)
        self.engine.start()
        self.engine.prepare()
        if not self.options.aimed.audited:
            with self.postgres.connect() as db:
                db.execute(UNAUDITED)
        self.ground = Ground(self.redis, self.postgres, self.engine, self.folder / "faults.json")
        tell(self.ground)
        options = self.options
        self.audience = Audience(self.folder, self.engine.system, options.seed, options.seconds, options.rate)
        stack.callback(self.audience.close)

    def made(self) -> Engine:
        """Make the engine under test, on this run's stores and prices."""
        path = prices.write(self.folder, prices.path(self.options.seed, WARM_S, int(self.options.seconds)))
        settings = {
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "MOCK_FAULTS": str(self.folder / "faults.json"),
            "MARKET_REPLAY": str(path),
            "MARKET_REPLAY_START": f"{time.time():.3f}",
        }
        settings |= planted(self.options.plant) if self.options.plant else {}
        make = Control if self.options.control else Engine
        return make(self.folder / "engine", settings)

    def play(self) -> None:
        """Trade and break; then calm; then everything stands still and is read."""
        self.await_phase("trading", WARM_S * 2)
        self.injector = Injector(self.ground, self.options.faults, self.folder)
        self.injector.run(self.options.seconds, self.tick)
        self.injector.end_all()
        # What the market says in the calm must reach whoever waits for it.
        self.engine.prepare()
        self.audience.tell("calm")
        self.injector.run(self.options.calm_s, self.tick)
        with self.postgres.connect() as db:
            db.execute(PAUSE)
        self.injector.run(PAUSE_S, self.tick)
        self.await_stillness()
        self.audience.tell("read")
        self.wait(lambda: self.audience.has_left, READ_S, "everything is read")

    def await_stillness(self) -> None:
        """Wait until nothing is in flight, or until whatever is has had its time."""
        deadline = time.monotonic() + STILL_S
        with self.postgres.connect() as db:
            while db.execute(IN_FLIGHT).fetchone() != (0,) and time.monotonic() < deadline:
                self.injector.run(SHOW_S / 10, self.tick)

    def await_phase(self, phase: str, seconds: float) -> None:
        """Wait until the clients have come so far."""
        self.wait(lambda: self.audience.hear().get("phase") == phase, seconds, phase)

    def wait(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for something, with the progress shown meanwhile."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
            time.sleep(0.1)
            self.show()

    def tick(self) -> None:
        """See that clients live, the engine stands, and whether an order worker is there."""
        assert not self.audience.has_left, f"the clients have gone: {(self.folder / 'clients.log').read_text()[-3000:]}"
        if "engine" not in self.ground.busy and self.engine.is_down:
            self.engine.rise()
        there = self.engine.has_order_worker()
        if there != self.was_there:
            self.was_there = there
            self.injector.note(**{"from": round(time.time(), 3), "there": there})
        self.show()

    def show(self) -> None:
        """Print a line of progress every few seconds."""
        told = self.audience.hear()
        if time.monotonic() - self.shown_at > SHOW_S:
            self.shown_at = time.monotonic()
            counts = dict(self.injector.counts) if hasattr(self, "injector") else {}
            print(progress(time.monotonic() - self.begun, told, counts), flush=True)

    def judged(self) -> dict[str, Any]:
        """Have the checker judge, in a process that knows nothing of the engine."""
        command = [sys.executable, "-m", "tests.chaos.checker", str(self.folder), "--database", self.postgres.url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1) and done.stdout, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        left_out = [] if self.redis.clock.library else ["clock steps: libfaketime is not there"]
        return {"run": {**asdict(self.options), "left out": left_out}, **report}
