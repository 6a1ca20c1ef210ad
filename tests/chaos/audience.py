"""The process in which all clients live, from the run's side."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from config.env import ROOT
from tests.bearer import API_KEY
from tests.system import System


class Audience:
    """The clients: started, told when the calm begins and when to read, heard every second."""

    def __init__(self, folder: Path, engine: System, seed: int, seconds: float, rate: float) -> None:
        self.log = (folder / "clients.log").open("ab")
        command = [sys.executable, "-m", "tests.chaos.clients", str(folder), "--url", engine.url]
        plan = ["--seed", str(seed), "--seconds", str(seconds), "--rate", str(rate)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        environ = {**os.environ, API_KEY: engine.api_key}
        self.process = subprocess.Popen(
            [*command, *plan], cwd=ROOT, env=environ, stderr=self.log, start_new_session=True, **pipes
        )
        assert self.process.stdout is not None and self.process.stdin is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.last: dict[str, Any] = {}
        self.rest = b""

    def hear(self) -> dict[str, Any]:
        """Return the last that they said."""
        assert self.process.stdout is not None
        self.rest += self.process.stdout.read() or b""
        *lines, self.rest = self.rest.split(b"\n")
        if lines:
            self.last = json.loads(lines[-1])
        return self.last

    def tell(self, command: str) -> None:
        """Say something to them."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    @property
    def has_left(self) -> bool:
        """Whether they are done."""
        return self.process.poll() is not None

    def close(self) -> None:
        """Send them away."""
        if not self.has_left:
            self.process.kill()
        self.process.wait(10)
        self.log.close()
