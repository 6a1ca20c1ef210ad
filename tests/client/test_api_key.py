"""Where the client sends its API key, where it does not, and what it makes of a refusal of it."""

import json
import logging
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpx
import pytest
from websockets.asyncio.server import serve

from orders.api import examples
from orders.client import Backoff, Client, Forbidden, Refused, Unauthorized, Unreadable
from orders.client.answers import Placed
from orders.client.key import origin
from orders.client.reading import read

SECRET = "key-5f2c9d.that-nobody-may-see"
BEARER = f"Bearer {SECRET}"
WITHIN_S = 10.0
LIFE = examples.told(examples.FILLED)["events"]


class Door:
    """Serves requests and sockets on one port, and notes the key that came with each."""

    def __init__(self):
        self.keys = []
        self.answer = (200, {"results": []}, {})
        self.stream = LIFE
        self.url = ""

    @property
    def ws(self):
        """Where an order's events are."""
        return f"ws{self.url.removeprefix('http')}/ws/{examples.ORDER_ID}"

    def request(self, connection, request):
        """Answer a request; open a socket unless the answer is another than 200."""
        self.keys.append(request.headers.get("Authorization"))
        status, body, headers = self.answer
        if status == HTTPStatus.OK and request.path.startswith("/ws/"):
            return None
        response = connection.respond(HTTPStatus(status), json.dumps(body))
        response.headers.update(headers)
        return response

    async def serve(self, socket):
        """Send what is planned: messages, and in the end a close code."""
        for step in self.stream:
            if isinstance(step, int):
                await socket.close(step)
            else:
                await socket.send(json.dumps(step))


@asynccontextmanager
async def door():
    opened = Door()
    async with serve(opened.serve, "127.0.0.1", 0, process_request=opened.request) as server:
        opened.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield opened


@pytest.fixture
async def engine():
    async with door() as opened:
        yield opened


@pytest.fixture
async def elsewhere():
    """Another server: another origin, if only by its port."""
    async with door() as opened:
        yield opened


@pytest.fixture
async def client(engine):
    async with Client(engine.url, api_key=SECRET, backoff=Backoff(0.01, 0.02)) as client:
        yield client


def error(code, message="say who you are"):
    return {"error": {"code": code, "message": message, "fields": []}}


async def followed(client, order=examples.ORDER_ID):
    return [event async for event in client.follow(order, within_s=WITHIN_S)]


def placed(ws):
    """Return an accepted order whose events are said to be there."""
    links = {"self": "http://127.0.0.1/api/orders/1", "ws": ws}
    return read(
        Placed,
        {"orderId": examples.ORDER_ID, "status": "pending", "createdAt": "2026-11-22T12:00:00Z", "links": links},
    )


async def test_it_is_sent_with_every_request_and_every_handshake(engine, client):
    await client.pairs()
    await followed(client)
    await followed(client, placed(engine.ws))
    assert engine.keys == [BEARER] * 3


async def test_it_is_the_environments_unless_it_is_given(engine, monkeypatch):
    monkeypatch.setenv("ENGINE_API_KEY", f"{SECRET}\n")
    async with Client(engine.url) as from_environment, Client(engine.url, api_key="other") as given:
        await from_environment.pairs()
        await given.pairs()
    async with Client(engine.url, api_key="") as without:
        await without.pairs()
    assert engine.keys == [BEARER, "Bearer other", None]


async def test_a_link_to_another_server_is_followed_without_it(client, elsewhere):
    assert len(await followed(client, placed(elsewhere.ws))) == len(LIFE)
    assert elsewhere.keys == [None]


async def test_a_redirect_leads_nowhere(engine, client, elsewhere):
    engine.answer = (307, [], {"Location": elsewhere.url})
    with pytest.raises(Unreadable):
        await client.pairs()
    engine.answer = (307, [], {"Location": elsewhere.ws})
    with pytest.raises(Unreadable, match="answered 307"):
        await followed(client)
    assert (engine.keys, elsewhere.keys) == ([BEARER] * 2, [])


def test_one_origin_is_the_same_kind_of_connection_to_the_same_host_and_port():
    assert origin("http://engine") == origin("ws://ENGINE:80/ws/1")
    assert origin("https://engine/") == origin("wss://engine:443/ws/1")
    different = ["http://engine", "https://engine", "http://engine:8000", "http://other", "http://engine.other"]
    assert len(set(map(origin, different))) == len(different)


@pytest.mark.parametrize(
    ("status", "code", "kind"), [(401, "unauthorized", Unauthorized), (403, "forbidden", Forbidden)]
)
async def test_each_refusal_of_a_key_has_its_own_class_however_it_comes(engine, client, status, code, kind):
    engine.answer = (status, error(code), {})
    for call in (client.pairs(), followed(client)):
        with pytest.raises(kind, match="say who you are") as refusal:
            await call
        assert (refusal.value.code, refusal.value.status) == (code, status)
    engine.answer = (200, {"results": []}, {})
    for stream, said in (([error(code), 4000 + status], "say who you are"), ([LIFE[0], 4000 + status], str(status))):
        engine.stream = stream
        with pytest.raises(kind, match=said) as refusal:
            await followed(client)
        assert (refusal.value.code, refusal.value.status) == (code, status)
    assert issubclass(kind, Refused)


async def test_it_is_in_no_log_no_error_and_no_repr(engine, client, elsewhere, caplog):
    for name in ("", "orders.client"):
        caplog.set_level(logging.DEBUG, logger=name)
    await client.pairs()
    await followed(client)
    shown = [repr(client), repr(vars(client))]
    for answer in ((401, error("unauthorized"), {}), (302, [], {"Location": elsewhere.url}), (404, "no", {})):
        engine.answer = answer
        for call in (client.pairs(), followed(client)):
            with pytest.raises((Refused, Unreadable)) as reason:
                await call
            shown += [str(reason.value), repr(reason.value)]
    # The stand-in logs what it hears.
    shown += [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize("text", [f"{SECRET}\n{SECRET}", f"{SECRET}\u00e9", f"{SECRET} {SECRET}", f"{SECRET}\0"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(text):
    with pytest.raises(ValueError, match="printable") as refusal:
        Client(api_key=text)
    assert SECRET not in str(refusal.value)


async def test_an_address_that_is_none_is_still_told_as_that():
    with pytest.raises(Exception, match="port") as refusal:
        async with Client("http://engine:port", api_key=SECRET):
            pass
    assert not isinstance(refusal.value, httpx.InvalidURL)
