"""Restarts that an operator asks for: of a role, one process after another, each of which ends what it has in hand.

A request is a file in the data directory that is named after the role, so only the account that runs the engine can
make one.  It stays until the role is running again: see orders/operations/restarts.py, which makes it.
"""

import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.child import Child
from deploy.servers import send
from deploy.supervisor import Supervisor, is_running

ENDS_WITHIN_S = 20.0
"""How long a process may take to end what it has in hand; then it is killed."""
READY_WITHIN_S = 30.0


def role_of(name: str) -> str:
    """The role of a process: `order` of `order-2`."""
    role, _, number = name.rpartition("-")
    return role if number.isdigit() else name


@dataclass
class Turn:
    """One process that ends and starts again; `pid` is that of the one that ends."""

    child: Child
    pid: int
    since: float
    killed: bool = False


class Restarts:
    """Takes requests and carries them out, one process at a time; `look` never waits."""

    def __init__(
        self,
        folder: Path,
        supervisor: Supervisor,
        children: Iterable[Child],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.supervisor = supervisor
        self.children = list(children)
        self.clock = clock
        self.role = ""
        self.waiting: list[Child] = []
        self.turn: Turn | None = None
        folder.mkdir(mode=0o700, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()

    def look(self) -> None:
        """Begin what was asked for, or go on with what has begun."""
        if not self.role:
            self._take()
        elif self.turn:
            self._go_on(self.turn)
        elif self.waiting:
            self._begin(self.waiting.pop(0))
        else:
            self._finish()

    def _take(self) -> None:
        for request in sorted(self.folder.iterdir()):
            chosen = [child for child in self.children if role_of(child.name) == request.name]
            if not chosen:
                self.supervisor.say(f"asked to restart {request.name!r}, which does not run here")
                request.unlink(missing_ok=True)
                continue
            self.role, self.waiting = request.name, chosen
            self.supervisor.say(f"asked to restart {self.role}")
            return

    def _begin(self, child: Child) -> None:
        self.turn = Turn(child, child.pid, self.clock())
        if is_running(child):
            self.supervisor.expect(child)
            send(child.pid, signal.SIGTERM)

    def _go_on(self, turn: Turn) -> None:
        took = self.clock() - turn.since
        if turn.child.pid == turn.pid:
            if took > ENDS_WITHIN_S and not turn.killed:
                turn.killed = True
                self.supervisor.say(f"{turn.child.name} did not end within {ENDS_WITHIN_S:.0f} s and is killed")
                self.supervisor.kill([turn.child])
        elif is_running(turn.child) and turn.child.is_ready():
            self.supervisor.say(f"{turn.child.name} is restarted, {took:.1f} s after it was asked to end")
            self.turn = None
        elif took > ENDS_WITHIN_S + READY_WITHIN_S:
            self.supervisor.say(f"{turn.child.name} is not ready after {took:.0f} s; the rest of {self.role} is left")
            self._finish()

    def _finish(self) -> None:
        (self.folder / self.role).unlink(missing_ok=True)
        self.role, self.waiting, self.turn = "", [], None
