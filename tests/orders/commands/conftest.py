"""The stand-in for the API that commands talk to."""

import pytest

from orders.client import Backoff
from orders.management import engine as commands_engine
from tests.orders.commands.standin import Engine


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.stop()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Back off in hundredths of a second."""
    monkeypatch.setattr(commands_engine, "BACKOFF", Backoff(0.01, 0.1))
