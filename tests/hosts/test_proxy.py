"""Two API hosts behind a proxy: whichever a client is connected to, it sees what is executed through the other."""

import asyncio
import itertools
import json
from contextlib import AsyncExitStack, aclosing
from decimal import Decimal

import httpx
import pytest
from websockets.asyncio.client import connect

from orders.client import Client, LimitOrder
from tests.hosts import proxy
from tests.hosts.cluster import API_PORT
from tests.hosts.placing import MARKET
from tests.system import eventually

pytestmark = pytest.mark.system

STAGES = ["pending", "routing", "building", "submitted", "confirmed"]
SEEN_S = 60
SOCKETS_MOST = 20
NUMBERS = itertools.count()
"""A proxy may be started again, on another host: in which order tests come is not theirs to say."""


@pytest.fixture(scope="module", params=list(proxy.KINDS))
def url(engine, request):
    """Where a proxy of that kind serves."""
    if proxy.KINDS[request.param] is None:
        pytest.skip(f"{request.param} is not on PATH (Debian: apt-get install {request.param})")
    host = engine.network.host(f"proxy{next(NUMBERS)}")
    targets = [f"{one.address}:{API_PORT}" for one in engine.hosts["api"]]
    found = proxy.start(request.param, host, targets, engine.folder)
    eventually(lambda: is_ready(found), 60, f"the proxy serves: {engine.folder / 'logs' / (host.name + '.log')}")
    yield found
    host.kill()


def is_ready(url):
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def clients(engine, stream):
    """Count the sockets of a kind at each API host."""
    return [engine.counted(host, "engine_websocket_clients", stream=stream) for host in engine.hosts["api"]]


async def placed(engine, url):
    """Place a market order there."""
    async with httpx.AsyncClient(headers=engine.headers, trust_env=False) as client:
        answer = await client.post(f"{url}/api/orders/execute", json=MARKET)
    assert answer.status_code == 202, answer.text
    engine.placed += 1
    return answer.json()["orderId"]


async def at_both(engine, stack, stream, address):
    """Open sockets through the proxy until both hosts serve one; return them all."""
    sockets, before = [], clients(engine, stream)
    while not all(now > then for now, then in zip(clients(engine, stream), before, strict=True)):
        assert len(sockets) < SOCKETS_MOST, f"all of {SOCKETS_MOST} sockets went to one host: {clients(engine, stream)}"
        sockets.append(await stack.enter_async_context(connect(address, additional_headers=engine.headers, proxy=None)))
    return sockets


async def until(socket, wanted):
    """Return the messages of a socket up to the first that is wanted."""
    heard = []
    async with asyncio.timeout(SEEN_S):
        async for message in socket:
            heard.append(json.loads(message))
            if wanted(heard[-1]):
                return heard
    raise AssertionError(f"the socket closed ({socket.close_code}) after {heard}")


def test_requests_go_to_both_hosts_and_an_order_of_one_is_read_at_the_other(engine, url):
    def accepted():
        return [engine.counted(host, "engine_orders_accepted_total", type="market") for host in engine.hosts["api"]]

    before = accepted()
    ids = []
    for _ in range(8):
        # A connection each: a proxy may keep one to one host.
        answer = httpx.post(f"{url}/api/orders/execute", json=MARKET, headers=engine.headers, trust_env=False)
        assert answer.status_code == 202, answer.text
        # What the answer links to is where the client came from.
        assert answer.json()["links"]["self"].startswith(url)
        ids.append(answer.json()["orderId"])
    engine.placed += len(ids)
    rise = [now - then for now, then in zip(accepted(), before, strict=True)]
    assert sum(rise) == len(ids) and min(rise) >= 2, rise
    for order_id in ids:
        for api in engine.apis:
            assert httpx.get(f"{api}/api/orders/{order_id}", headers=engine.headers, trust_env=False).status_code == 200


@pytest.mark.parametrize("executed_at", [0, 1])
async def test_a_socket_of_one_order_at_either_host_tells_every_stage(engine, url, executed_at):
    order_id = await placed(engine, engine.apis[executed_at])
    address = f"{url.replace('http', 'ws', 1)}/ws/{order_id}"
    # These close with the order: enough of them that both hosts had some.
    told = await asyncio.gather(*(everything(engine, address) for _ in range(8)))
    assert {tuple(event["status"] for event in events) for events in told} == {tuple(STAGES)}
    assert all(events == told[0] for events in told)


async def everything(engine, address):
    """Return what a socket tells until it closes."""
    async with asyncio.timeout(SEEN_S), connect(address, additional_headers=engine.headers, proxy=None) as socket:
        return [json.loads(message) async for message in socket]


@pytest.mark.parametrize("executed_at", [0, 1])
async def test_a_socket_of_many_orders_at_either_host_tells_what_the_other_executes(engine, url, executed_at):
    async with AsyncExitStack() as stack:
        sockets = await at_both(engine, stack, "OrdersFeed", f"{url.replace('http', 'ws', 1)}/ws/orders")
        order_id = await placed(engine, engine.apis[executed_at])
        for socket in sockets:
            await socket.send(json.dumps({"follow": [{"orderId": order_id, "after": 0}]}))
        for socket in sockets:
            heard = await until(socket, lambda message: message.get("status") == "confirmed")
            assert [message["status"] for message in heard if "seq" in message] == STAGES


@pytest.mark.parametrize("executed_at", [0, 1])
async def test_a_socket_of_quotes_at_either_host_shows_the_fill_of_an_order_of_the_other(engine, url, executed_at):
    async with AsyncExitStack() as stack:
        sockets = await at_both(engine, stack, "QuoteFeed", f"{url.replace('http', 'ws', 1)}/ws/quotes/SOL-USDC")
        for socket in sockets:
            assert json.loads(await socket.recv())["kind"] == "snapshot"
        order_id = await placed(engine, engine.apis[executed_at])
        told = await everything(engine, f"{url.replace('http', 'ws', 1)}/ws/{order_id}")
        for socket in sockets:
            await until(socket, lambda message: told[-1]["txHash"] in json.dumps(message.get("fills", [])))


async def test_clients_of_the_proxy_hear_their_orders_out_when_the_host_that_served_them_is_killed(engine, url):
    lost = engine.hosts["api"][1]
    order = LimitOrder(token_in="SOL", token_out="USDC", amount=Decimal("1.5"), limit_price=Decimal("400"))
    try:
        async with Client(url, api_key=engine.api_key) as client, AsyncExitStack() as stack:
            placed_ = [await client.place(order) for _ in range(8)]
            engine.placed += len(placed_)
            streams = [await stack.enter_async_context(aclosing(client.follow(one))) for one in placed_]
            firsts = [await anext(stream) for stream in streams]
            assert all(clients(engine, "OrderEvents")), clients(engine, "OrderEvents")
            lost.kill()
            async with Client(url, api_key=engine.api_key) as another:
                for one in placed_:
                    await another.amend(one, 1, limit_price=Decimal("149"))
            async with asyncio.timeout(SEEN_S):
                told = [
                    [first, *[event async for event in stream]] for first, stream in zip(firsts, streams, strict=True)
                ]
    finally:
        engine.await_ready("api")
    for events in told:
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [event.status for event in events[:3]] == ["pending", "pending", "triggered"]
        assert events[-1].status == "confirmed"
