"""The naive control on the run's stores, in the engine's place."""

import subprocess
import sys

import httpx

from config.env import ROOT
from tests.chaos.grounds.engine import Engine
from tests.system import System


class Textbook(System):
    """A running control."""

    def launch(self) -> None:
        """Start, and wait for nothing."""
        log = (self.data_dir / "up.log").open("ab")
        environ = {**self.environ(), **self.settings}
        command = [sys.executable, "-m", "tests.chaos.control"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True)

    def is_ready(self) -> bool:
        """Ask its API."""
        try:
            return httpx.get(f"{self.url}/api/pairs").status_code == 200
        except httpx.HTTPError:
            return False


class Control(Engine):
    """The textbook engine."""

    kind = Textbook

    def prepare(self) -> None:
        """Leave its market alone: it knows no tokens' worth."""
