"""What a server process has in hand is bounded: requests, their bodies, sockets."""

import asyncio

import pytest

from config import asgi
from orders.api import bounds as module
from orders.api.bounds import bounds
from tests.client.misbehaving import bound, served
from tests.fuzz.stalls import STALLS, ended
from tests.orders.doors import ORDER, Socket, get, http, opened, post, until


@pytest.fixture
def calm():
    """Begin and end with nothing in hand."""
    before = (bounds.requests, bounds.sockets, bounds.body_bytes)
    assert before == (0, 0, 0)
    yield
    assert (bounds.requests, bounds.sockets, bounds.body_bytes) == (0, 0, 0)


def refusal(answer):
    return answer.status_code, answer.json()["error"]["code"], answer.headers["retry-after"]


@pytest.mark.usefixtures("bench", "calm")
async def test_a_request_too_many_is_refused(monkeypatch):
    go = asyncio.Event()

    async def held(scope, receive, send):
        await go.wait()
        await asgi.http.respond(send, 200, {})

    monkeypatch.setattr(module, "REQUESTS_MAX", 2)
    monkeypatch.setattr(asgi, "django", held)
    reads = [asyncio.create_task(get("/api/pairs")) for _ in range(2)]
    await until(lambda: bounds.requests == 2, "two are in hand")
    assert refusal(await get("/api/pairs")) == (503, "overloaded", "1")
    go.set()
    assert [(await read).status_code for read in reads] == [200, 200]
    assert (await get("/api/pairs")).status_code == 200


@pytest.mark.usefixtures("bench", "calm")
async def test_bodies_have_so_much_memory_in_all(monkeypatch):
    monkeypatch.setattr(module, "BODIES_MAX", 50)
    assert refusal(await post(ORDER)) == (503, "overloaded", "1")
    monkeypatch.undo()
    assert (await post(ORDER)).status_code == 202


@pytest.mark.usefixtures("bench", "calm")
async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(asgi, "BODY_WITHIN_S", 0.1)

    async def drops():
        yield b'{"type":'
        await asyncio.sleep(30)

    async with http() as client:
        answer = await client.post("/api/orders/execute", content=drops())
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "too_slow")
    assert answer.headers["connection"] == "close"


@pytest.mark.usefixtures("bench", "calm")
@pytest.mark.parametrize("name", ["no body", "no body elsewhere", "slow body", "slow form", "slow chunks"])
async def test_a_client_whose_body_does_not_come_is_told_so_and_leaves_nothing(monkeypatch, name):
    monkeypatch.setattr(asgi, "BODY_WITHIN_S", 0.1)
    taken, _ = bound()
    async with served(asgi.application, taken):
        assert (await ended(STALLS[name], *taken.getsockname(), within_s=10)).how == "408"


@pytest.mark.usefixtures("bench", "calm")
async def test_a_socket_too_many_hears_that_it_must_come_back(settings):
    settings.ENGINE_SOCKETS_MAX = 1
    async with opened("/ws/orders") as first:
        second = Socket("/ws/orders")
        assert (await second.wire.connect())[0]
        (said,), code = await second.rest()
        assert (said["error"]["code"], code) == ("overloaded", 1013)
        await second.wire.disconnect()
        await first.send({"follow": []})
        assert await first.event() == {"following": 0}
    await until(lambda: bounds.sockets == 0, "the first has gone")
    async with opened("/ws/orders") as third:
        await third.send({"follow": []})
        assert await third.event() == {"following": 0}
