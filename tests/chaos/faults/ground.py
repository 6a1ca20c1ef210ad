"""What faults are done to, and what undoes them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.chaos.grounds.engine import Process
from tests.chaos.grounds.postgres import Postgres
from tests.chaos.grounds.redis import Redis


class Engine(Protocol):
    """An engine under test, from the faults' side."""

    def processes(self) -> list[Process]:
        """Return all that lives of it, the launcher too."""

    def fall(self) -> None:
        """Kill all of it at once."""

    def rise(self) -> None:
        """Start it again, without waiting for it."""


@dataclass
class Ground:
    """The stores, the engine on them, and the file that tells the sandbox how to misbehave."""

    redis: Redis
    postgres: Postgres
    engine: Engine
    misbehaviour: Path
    busy: set[str] = field(default_factory=set)
    """What a fault has in its hands: two at once on the same would undo each other."""
    told: dict[str, Any] = field(default_factory=lambda: {"venues": {}, "chain": {}})


@dataclass(frozen=True)
class Hit:
    """A fault that was done: what it hit, and what ends it; nothing ends one that is over at once."""

    target: str
    undo: Callable[[], None] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
