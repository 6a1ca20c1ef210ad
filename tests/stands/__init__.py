"""Stores for a whole engine other than the embedded ones: TEST_BROKER=rabbitmq, TEST_REDIS=redis."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.stands.packages import Absent
from tests.stands.rabbitmq import RabbitMQ
from tests.stands.redis import Redis


@dataclass(frozen=True)
class Stand:
    """What stands in: for which process of the launcher, and for which setting."""

    process: str
    setting: str
    make: type[RabbitMQ] | type[Redis]


KINDS = {
    ("TEST_BROKER", "rabbitmq"): Stand("rabbitmq", "BROKER_URL", RabbitMQ),
    ("TEST_REDIS", "redis"): Stand("valkey", "REDIS_URL", Redis),
}
"""By the variable that asks for it, and its value."""


STARTER = ThreadPoolExecutor(1, thread_name_prefix="stands")
"""Starts servers again: the kernel ends one with the thread that has started it."""


def start_again(server: RabbitMQ | Redis) -> None:
    """Start a server that has been killed; from any thread."""
    STARTER.submit(server.start).result()


def asked_for() -> list[Stand]:
    """Return the stands that the environment asks for."""
    asked = [(name, os.environ[name]) for name in ("TEST_BROKER", "TEST_REDIS") if os.environ.get(name)]
    assert set(asked) <= set(KINDS), f"{asked}: TEST_BROKER may be rabbitmq, TEST_REDIS may be redis"
    return [KINDS[one] for one in asked]


@contextmanager
def running(stands: list[Stand], folder: Path) -> Iterator[dict[Stand, RabbitMQ | Redis]]:
    """Run them for a while; the test is skipped, with what is missing, where a package is."""
    with ExitStack() as stack:
        try:
            yield {stand: stack.enter_context(stand.make(folder)) for stand in stands}
        except Absent as reason:
            pytest.skip(str(reason))
