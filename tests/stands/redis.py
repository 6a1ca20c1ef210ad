"""Genuine Redis in place of the embedded Valkey, with the same settings."""

from pathlib import Path
from typing import Self

from deploy.valkey import Valkey
from tests.stands.packages import program


class Redis(Valkey):
    """One server; a context manager that starts and ends it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "redis")
        self.binary = program("redis-server", "redis-server").resolve()

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.spawn()
        self.finish()
