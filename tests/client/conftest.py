"""A client before a real server, with a way between them that misbehaves."""

import pytest

from orders.client import Backoff, Client
from tests.client.misbehaving import Misbehaving, bound, served
from tests.keyring import TOKEN


@pytest.fixture
async def way(bench):
    """The engine over real connections, and what is done to them."""
    taken, url = bound()
    way = Misbehaving()
    way.url = url
    async with served(way, taken):
        yield way


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Every client sends the key that tests of one process know."""
    monkeypatch.setenv("ENGINE_API_KEY", TOKEN)


@pytest.fixture
async def client(way):
    async with Client(way.url, backoff=Backoff(0.01, 0.05)) as client:
        yield client
