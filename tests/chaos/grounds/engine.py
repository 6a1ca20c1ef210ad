"""The engine on the run's stores: started as its user would, its processes known by name."""

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.plan.orders import SNIPED
from tests.system import System, eventually

SETTINGS = {
    # With it the launcher makes a key although the database is not its own.
    "ENGINE_ADMIN_PASSWORD": "nobody breaks in here",
    "MOCK_QUOTE_DELAY_MS": "10-60",
    # Orders on their way cost nothing, and the more there are, the more a frozen worker may find when it wakes.
    "MOCK_CONFIRM_DELAY_MS": "20-2500",
    "MOCK_PRICE_VARIATION_PCT": "0-2",
    "MOCK_DROP_RATE": "0.02",
    "MOCK_REJECT_RATE": "0.02",
    "MOCK_BLOCKHASH_VALID_MS": "15000",
    "MOCK_LAUNCH_EVERY_S": "0",
    # Venues lie by plan, and must go on being traded at.
    "VENUE_SHORTFALL_MAX_BPS": "0",
    "CONFIRM_POLL_MS": "100",
    "CONFIRM_RESEND_MS": "1000",
    "MARKET_REPLAY_SPEED": "60",
    "ENGINE_METRICS_PORT": "0",
}
"""Short delays, so that much happens; everything that takes long in the sandbox takes a moment."""
WORKERS = ("order=2",)
SAYS_S = 30.0
WORTH = f"from routing.sandbox import stage; [stage.liquidity(token, 900_000_000) for token in {SNIPED}]"


@dataclass(frozen=True)
class Process:
    """One process of the engine: its number may be another's one day, its number and start together never."""

    name: str
    pid: int
    started: int

    @property
    def role(self) -> str:
        """What it does, whichever of several it is."""
        return self.name.rstrip("0123456789").rstrip("-")

    @property
    def lives(self) -> bool:
        """Whether it is still the same process, and no corpse."""
        return state(self.pid) not in ("", "Z", "X") and started(self.pid) == self.started

    @property
    def moves(self) -> bool:
        """Whether it lives and is not frozen."""
        return self.lives and state(self.pid) != "T"

    def signal(self, number: int) -> bool:
        """Send a signal; False when it has gone."""
        if not self.lives:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


def stat(pid: int) -> list[str]:
    """Return what the kernel says of a process, from its state on; nothing of one that is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def state(pid: int) -> str:
    """Return a process's state in one letter."""
    return (stat(pid) or [""])[0]


def started(pid: int) -> int:
    """Return when a process was started, in the kernel's ticks."""
    known = stat(pid)
    return int(known[19]) if known else 0


class Engine:
    """`manage.py up` on stores that are not its own."""

    kind: type[System] = System

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        folder.mkdir()
        folder.chmod(0o711)
        self.system = self.kind({**SETTINGS, **settings}, ("--scale", *WORKERS), folder)

    @property
    def url(self) -> str:
        """Where its API is."""
        return self.system.url

    def start(self) -> None:
        """Start and wait until it is ready."""
        self.system.start()

    def prepare(self) -> None:
        """Have the market say what the tokens are worth that sniper orders buy: what is unknown is refused."""
        eventually(lambda: self.system.manage("shell", "-c", WORTH).returncode == 0, SAYS_S, "the market says it")

    def processes(self) -> list[Process]:
        """Return all that lives of it, the launcher too."""
        try:
            running = json.loads((self.system.data_dir / "run.json").read_text())
        except (OSError, ValueError):
            return []
        known = {"launcher": running["pid"], **running["processes"]}
        return [one for name, pid in known.items() if pid and (one := Process(name, pid, started(pid))).lives]

    def has_order_worker(self) -> bool:
        """Tell whether an order worker is there and not frozen."""
        return any(one.role == "order" and one.moves for one in self.processes())

    @property
    def is_down(self) -> bool:
        """Whether the launcher has ended: it gives up when a store is away at its start."""
        return self.system.process is not None and self.system.process.poll() is not None

    def fall(self) -> None:
        """Kill the launcher: everything it started goes with it."""
        for one in self.processes():
            if one.name == "launcher":
                one.signal(signal.SIGKILL)
        if self.system.process:
            self.system.process.wait(10)
        # What was frozen dies only when it goes on.
        deadline = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < deadline:
            for one in left:
                one.signal(signal.SIGKILL)
            time.sleep(0.05)

    def rise(self) -> None:
        """Start it again, without waiting for it."""
        self.system.launch()

    def close(self) -> None:
        """Stop everything."""
        for one in self.processes():
            one.signal(signal.SIGCONT)
        try:
            self.system.stop()
        finally:
            self.fall()
