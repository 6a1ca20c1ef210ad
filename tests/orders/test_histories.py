"""Reading orders' events for many sockets at once."""

import asyncio
import threading

import pytest

from engine.cursor import Cursor
from orders.sockets import tail
from orders.stores import live, order_view
from orders.stores.threads import aside
from routing.store import StoreError, redis
from tests.orders.doors import NOBODY, opened, until

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")


async def test_what_is_asked_for_during_a_read_is_read_together(bench, monkeypatch):
    ids = await aside(bench.place, 3)
    reads, may_go_on = [], threading.Event()
    real = order_view.live_histories

    def slow(asked):
        reads.append([order_id for order_id, _ in asked])
        assert may_go_on.wait(20)
        return real(asked)

    monkeypatch.setattr(order_view, "live_histories", slow)
    first = asyncio.create_task(tail.history(ids[0], Cursor()))
    await until(lambda: reads, "the first is being read")
    others = [asyncio.create_task(tail.history(order_id, Cursor())) for order_id in ids[1:]]
    await until(lambda: len(tail.histories().asked) == 2, "the others wait")
    may_go_on.set()
    found = [await one for one in (first, *others)]
    assert reads == [ids[:1], ids[1:]]
    assert [[cursor.seq for cursor, _ in one.events] for one in found] == [[1]] * 3


async def test_events_that_make_no_sense_are_read_from_postgres_and_harm_no_other(bench):
    bad, good = await aside(bench.place, 2)
    await aside(bench.archive)
    redis().delete(f"{live.key(bad)}:events")
    redis().xadd(
        f"{live.key(bad)}:events",
        {"e": '{"orderId":"' + bad + '","epoch":x,"seq":1,"status":"pending","at":"","attempt":0,"kind":"pending"}'},
        id="1-0",
    )
    found = await asyncio.gather(tail.history(bad, Cursor()), tail.history(good, Cursor()))
    assert [len(one.events) for one in found] == [1, 1]


async def test_an_order_nobody_has_is_unknown_and_its_neighbours_are_not(bench):
    (known,) = await aside(bench.place)
    nobody, found = await asyncio.gather(
        tail.history(NOBODY, Cursor()), tail.history(known, Cursor()), return_exceptions=True
    )
    assert isinstance(nobody, tail.UnknownOrder)
    assert len(found.events) == 1


async def test_while_redis_is_away_histories_come_from_postgres(bench, monkeypatch):
    (order_id,) = await aside(bench.place)

    def away(asked):
        raise StoreError("away")

    monkeypatch.setattr(live, "standing_with_events", away)
    assert len((await tail.history(order_id, Cursor())).events) == 1


async def test_a_socket_costs_no_thread_for_its_messages(bench, order_id, monkeypatch):
    async def hop():
        raise AssertionError("it went to a thread to close database connections")

    monkeypatch.setattr("channels.consumer.aclose_old_connections", hop)
    monkeypatch.setattr("channels.generic.websocket.aclose_old_connections", hop)
    async with opened(f"/ws/{order_id}") as socket:
        await socket.send("nothing that matters")
        await aside(bench.run, [order_id])
        events, code = await socket.rest()
    assert (events[-1]["status"], code) == ("confirmed", 1000)
