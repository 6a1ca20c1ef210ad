"""The client's stream of all orders, over connections that break."""

import asyncio
from contextlib import aclosing

import pytest

from orders.client import Client, Event, MarketOrder, Reached, Refused, Rewound
from orders.client.all_orders import Held
from orders.client.events import message_of
from orders.sockets import accounts
from orders.stores import journal
from orders.stores.threads import aside
from tests.client.test_client import WITHIN_S

SELL = MarketOrder(token_in="SOL", token_out="USDC", amount=1, slippage_bps=5_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(accounts, "LOOK_EVERY_S", 0.02)


async def begun(client, after=None):
    """Follow, past the cursor it begins at."""
    told = client.follow_all(after, within_s=WITHIN_S)
    first = await anext(told)
    assert isinstance(first, Reached)
    return told, first.cursor


async def until_reached(told):
    """Return the messages until the cursor is that of the journal's end, and it."""
    _, end = await aside(journal.bounds)
    heard = []
    async for message in told:
        if not isinstance(message, Reached):
            heard.append(message)
        elif int(message.cursor) >= end:
            return heard, message.cursor
    raise AssertionError("it ended")


def seqs(messages):
    found = {}
    for message in messages:
        found.setdefault(message.order_id, []).append(message.seq)
    return found


async def filled(client, bench, count=1):
    ids = [(await client.place(SELL)).order_id for _ in range(count)]
    await aside(bench.run, ids)
    await aside(bench.archive)
    return ids


async def test_it_yields_each_event_once_however_often_the_connection_breaks(client, way, bench):
    await aside(bench.quote_all)
    way.sockets.extend([(6, None), (2, 1012), (5, 1013), (3, None)])
    told, _ = await begun(client)
    async with aclosing(told):
        ids = await filled(client, bench, 4)
        heard, _ = await until_reached(told)
    assert seqs(heard) == {order_id: [1, 2, 3, 4, 5] for order_id in ids}
    assert way.opened.count("/ws/orders") >= 5


async def test_a_later_call_goes_on_after_the_cursor(client, bench):
    await aside(bench.quote_all)
    told, _ = await begun(client)
    async with aclosing(told):
        before = await filled(client, bench)
        heard, cursor = await until_reached(told)
    after = await filled(client, bench, 2)
    told, at = await begun(client, cursor)
    async with aclosing(told):
        later, _ = await until_reached(told)
    assert (at, seqs(heard)) == (cursor, {order_id: [1, 2, 3, 4, 5] for order_id in before})
    assert seqs(later) == {order_id: [1, 2, 3, 4, 5] for order_id in after}
    told, _ = await begun(client, "0")
    async with aclosing(told):
        everything, _ = await until_reached(told)
    assert seqs(everything) == seqs([*heard, *later])


async def test_a_cursor_that_is_none_is_refused_at_once(client):
    async with asyncio.timeout(3):
        with pytest.raises(Refused, match="is not a cursor of this engine") as refused:
            await begun(client, "12345")
    assert (refused.value.code, refused.value.status) == ("invalid", 400)


async def test_it_is_refused_without_a_key(way):
    async with Client(way.url, api_key="oek_abcdefgh_never-made") as stranger:
        with pytest.raises(Refused) as refused:
            await begun(stranger)
    assert refused.value.code == "unauthorized"


async def test_an_order_is_found_by_its_name(client, bench):
    placed = await client.place(MarketOrder(token_in="SOL", token_out="USDC", amount=1, client_order_id="a:b"))
    assert (await client.order_named("a:b")).order_id == placed.order_id


def event(seq, epoch=1, order_id="a"):
    told = {"orderId": order_id, "epoch": epoch, "seq": seq, "status": "pending", "kind": "", "attempt": 0}
    return message_of(told | {"at": "2026-11-28T12:00:00Z"})


def rewound(to, epoch, order_id="a"):
    return message_of({"orderId": order_id, "rewoundTo": to, "epoch": epoch})


def yielded(*messages):
    held = Held()
    told = [one for message in messages for one in held.news(message)]
    return [("to", one.to) if isinstance(one, Rewound) else one.seq for one in told if isinstance(one, Event | Rewound)]


def test_repeats_are_dropped_and_events_that_replace_others_take_these_back():
    assert yielded(event(1), event(2), event(1), event(2), event(3)) == [1, 2, 3]
    assert yielded(event(4), event(5), event(4)) == [4, 5]
    assert yielded(event(1), event(2), event(3), rewound(1, 2), event(2, 2), event(3, 2)) == [1, 2, 3, ("to", 1), 2, 3]
    # After a reconnect the engine does not know what this client has.
    assert yielded(event(1), event(2), event(3), event(1), event(2, 2), event(3, 2)) == [1, 2, 3, ("to", 1), 2, 3]
    assert yielded(event(1), event(2, 2), event(2, 1), event(1, 2)) == [1, 2]
    assert yielded(rewound(3, 2), event(4, 2)) == [("to", 3), 4]
    assert yielded(event(1), event(2), rewound(2, 2), event(3, 2)) == [1, 2, 3]
