"""Genuine Redis in place of the embedded Valkey, with the same settings."""

from pathlib import Path
from typing import Self

from deploy.valkey import Valkey
from tests.stands.packages import program, script


class Redis(Valkey):
    """One server; a context manager that starts and ends it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "redis")
        self.program = program("redis-server", "redis-server")
        # By this name the process goes too, and is found if it is left behind.
        self.binary = self.data_dir / "redis-server"

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True)
        script(self.binary, self.program)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.spawn()
        self.finish()
