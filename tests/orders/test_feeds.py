"""The desk's sockets: a pair's market at the client's own pace, and many orders on one socket."""

import asyncio
from uuid import uuid4

import pytest
from django.db import OperationalError

from engine.events import moment
from orders.flow.pauses import pause, resume
from orders.models import Attempt, PauseState
from orders.sockets import feeds, tail, ticker
from orders.stores import book, event_codec
from orders.stores.terms import epoch_ms
from orders.stores.threads import aside
from routing import outages
from routing.store import StoreError
from tests.orders.bench import STAGES
from tests.orders.doors import opened, until

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")

SOL_USDC = "/ws/quotes/SOL-USDC"
ORDERS = "/ws/orders"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ticker, "EVERY_S", 0.01)


async def heard_until(socket, check, what):
    """Return the first message that passes."""
    async with asyncio.timeout(10):
        while True:
            message = await socket.event()
            if check(message):
                return message
    raise AssertionError(what)


# A pair's market


async def test_a_snapshot_says_all_that_is_known_of_the_pair(bench):
    await aside(bench.price, "155")
    await aside(bench.price, "150", venue="RAYDIUM")
    await aside(bench.accept, bench.limit("160"), bench.limit("158.5"), bench.limit("160"))
    # The quotes are this test's, the chain's price is the sandbox's of this hour: it may be well below.
    (order_id,) = await aside(bench.place, slippage_bps=5_000)
    await aside(bench.run, [order_id])
    async with opened(SOL_USDC) as socket:
        seen = await socket.event()
    assert (seen["kind"], seen["pair"], seen["tokenIn"], seen["tick"]) == ("snapshot", "SOL-USDC", "SOL", "0.01")
    assert {one["venue"]: one["netPrice"] for one in seen["quotes"]} == {"METEORA": "155", "RAYDIUM": "150"}
    assert (seen["best"]["venue"], seen["best"]["netPrice"]) == ("METEORA", "155")
    assert (seen["freshMs"], seen["staleMs"]) == (2_000, 10_000)
    assert seen["spreadBps"] == "333.3"
    assert seen["levels"] == [{"price": "158.5", "orders": 1}, {"price": "160", "orders": 2}]
    (fill,) = seen["fills"]
    assert (fill["txHash"], fill["venue"], fill["amountIn"]) == (await signature(order_id), "METEORA", "1.5")
    assert order_id not in str(seen), "whose order it was is nobody's business"


async def test_what_changes_is_told_and_what_does_not_is_not_told_again(bench):
    await aside(bench.price, "155")
    async with opened(SOL_USDC) as socket:
        assert (await socket.event())["levels"] == []
        await aside(bench.price, "156")
        moved = await heard_until(socket, lambda m: m["best"]["netPrice"] == "156", "the new price")
        assert moved["kind"] == "update"
        assert (moved["freshMs"], moved["staleMs"]) == (2_000, 10_000), "operators move them while a client looks on"
        assert "levels" not in moved
        await aside(bench.accept, bench.limit("160"))
        rested = await heard_until(socket, lambda m: "levels" in m, "the level")
        assert rested["levels"] == [{"price": "160", "orders": 1}]
        assert "fills" not in rested


@pytest.mark.usefixtures("no_pauses")
async def test_what_stops_a_pair_is_told_at_once_and_that_it_goes_on(bench):
    await aside(bench.price, "155")
    async with opened(SOL_USDC) as socket:
        assert (await socket.event())["stops"] == []
        rows = [
            await aside(pause, "pair", "SOL-USDC", "odd prices", "ops"),
            await aside(pause, "venue", "METEORA", "its pools are odd", "ops", PauseState.HALTED),
        ]
        await aside(pause, "pair", "USDC-SOL", "another direction", "ops")
        stopped = await heard_until(socket, lambda m: len(m.get("stops", [])) == 2, "the stops")
        assert stopped["stops"] == [
            {
                "scope": "pair",
                "name": "SOL-USDC",
                "state": "paused",
                "message": "SOL-USDC is paused: odd prices",
                "reason": "odd prices",
                "since": moment(epoch_ms(rows[0].created_at)),
            },
            {
                "scope": "venue",
                "name": "METEORA",
                "state": "halted",
                "message": "METEORA is halted: its pools are odd",
                "reason": "its pools are odd",
                "since": moment(epoch_ms(rows[1].created_at)),
            },
        ]
        for row in rows:
            await aside(resume, row, "ops")
        await heard_until(socket, lambda m: m.get("stops") == [], "trading goes on")


@pytest.mark.usefixtures("no_pauses")
async def test_a_venue_that_fails_is_told_and_that_it_is_used_again(bench, monkeypatch):
    await aside(bench.quote_all)
    async with opened(SOL_USDC) as socket:
        assert (await socket.event())["stops"] == []
        await aside(outages.leave_out, {"METEORA": "60% of its quotes failed or were late"}, 60_000)
        news = await heard_until(socket, lambda m: m.get("stops"), "the breaker")
        assert [(one["scope"], one["name"], one["state"]) for one in news["stops"]] == [("venue", "METEORA", "failing")]
        assert news["best"]["venue"] == "RAYDIUM"
        now_ms = outages.now_ms
        monkeypatch.setattr(outages, "now_ms", lambda: now_ms() + 61_000)
        await heard_until(socket, lambda m: m.get("stops") == [], "the venue is used again")


async def signature(order_id):
    """Return the signature of an order's transaction."""
    return await aside(lambda: Attempt.objects.get(order=order_id).signature)


async def test_a_fill_is_told_once(bench):
    await aside(bench.price, "155")
    first, second = await aside(bench.place, 2, slippage_bps=5_000)
    await aside(bench.run, [first])
    async with opened(SOL_USDC) as socket:
        assert [one["txHash"] for one in (await socket.event())["fills"]] == [await signature(first)]
        await aside(bench.run, [second])
        news = await heard_until(socket, lambda m: "fills" in m, "the fill")
    assert [one["txHash"] for one in news["fills"]] == [await signature(second)]


async def test_a_quiet_pair_is_told_again_with_its_age(bench, monkeypatch):
    monkeypatch.setattr(ticker, "BEAT_S", 0.05)
    await aside(bench.price, "155", 3_000)
    async with opened(SOL_USDC) as socket:
        first = await socket.event()
        again = await socket.event()
    assert (first["kind"], again["kind"]) == ("snapshot", "update")
    assert again["quotes"][0]["ageMs"] >= first["quotes"][0]["ageMs"] >= 3_000


async def test_a_slow_client_gets_the_latest_and_no_backlog(bench, monkeypatch):
    await aside(bench.price, "100")
    slow = asyncio.Event()
    sent = []

    async def send(self, text_data):
        sent.append(event_codec.load(text_data))
        await slow.wait()

    monkeypatch.setattr(feeds.QuoteFeed, "send", send)
    async with opened(SOL_USDC):
        await until(lambda: sent, "the snapshot")
        for price in range(101, 121):
            await aside(bench.price, str(price))
            known = str(price)
            await until(lambda known=known: latest() == known, "the reader has it")
        slow.set()
        await until(lambda: len(sent) == 2, "one message")
        await aside(bench.price, "121")
        await until(lambda: sent[-1]["best"]["netPrice"] == "121", "the next")
    # Each venue's quote is news of its own; none of the prices in between is told.
    assert list(dict.fromkeys(one["best"]["netPrice"] for one in sent)) == ["100", "120", "121"]
    assert len(sent) <= 4


def latest():
    return str(ticker.ticker().latest["SOL-USDC"].cached.best.net_price)


async def test_a_hundred_clients_are_served_by_one_reader(bench, monkeypatch):
    looks = []
    look = ticker.look
    monkeypatch.setattr(ticker, "look", lambda pairs, known: (looks.append(pairs), look(pairs, known))[1])
    await aside(bench.price, "155")
    async with opened(SOL_USDC) as first:
        await first.event()
        sockets = [opened(SOL_USDC) for _ in range(100)]
        clients = [await one.__aenter__() for one in sockets]
        for client in clients:
            assert (await client.event())["kind"] == "snapshot"
        await aside(bench.price, "156")
        for client in clients:
            await heard_until(client, lambda m: m["best"]["netPrice"] == "156", "the new price")
        assert len(ticker.ticker().followers["SOL-USDC"]) == 101
        assert all(pairs == ["SOL-USDC"] for pairs in looks)
        for one in sockets:
            await one.__aexit__(None, None, None)


async def test_nothing_is_read_when_nobody_follows(bench):
    async with opened(SOL_USDC) as socket:
        await socket.event()
    await until(lambda: ticker.ticker().reader is None or ticker.ticker().reader.done(), "the reader ends")


async def test_a_pair_without_quotes_is_shown_as_that(bench):
    async with opened(SOL_USDC) as socket:
        seen = await socket.event()
    assert (seen["quotes"], seen["best"], seen["spreadBps"]) == ([], None, None)


@pytest.mark.parametrize("name", ["SOL-DOGE", "sol-usdc", "x", "SOL-USDC%00"])
async def test_a_pair_that_does_not_exist_closes_with_4404(bench, name):
    async with opened(f"/ws/quotes/{name}") as socket:
        (said,), code = await socket.rest()
    assert (code, said["error"]["code"]) == (4404, "not_found")


async def test_without_a_store_a_follower_is_told_to_come_again(bench, monkeypatch):
    def away(*_):
        raise StoreError("away")

    monkeypatch.setattr(ticker, "look", away)
    async with opened(SOL_USDC) as socket:
        (said,), code = await socket.rest()
    assert (code, said["error"]["code"]) == (1013, "store_unreachable")


@pytest.mark.parametrize("reason", [StoreError, OperationalError])
async def test_a_store_that_goes_and_returns_costs_a_follower_nothing_but_time(bench, monkeypatch, reason):
    await aside(bench.price, "155")
    look, failures = ticker.look, []

    def away_once(pairs, known):
        if not failures:
            failures.append(1)
            raise reason("away")
        return look(pairs, known)

    async with opened(SOL_USDC) as socket:
        await socket.event()
        monkeypatch.setattr(ticker, "look", away_once)
        await until(lambda: failures, "the store was away")
        await aside(bench.price, "156")
        await heard_until(socket, lambda m: m["best"]["netPrice"] == "156", "the new price")


def test_levels_are_the_nearest_with_how_many_rest_at_each(bench):
    bench.accept(*(bench.limit(price) for price in ("170", "160.5", "160.5", "9000", "165")))
    assert book.levels("SOL-USDC", 3) == [("160.5", 2), ("165", 1), ("170", 1)]
    assert book.levels("USDC-SOL", 3) == []


# Orders


def follow(*orders):
    return {"follow": [{"orderId": order_id, "after": after} for order_id, after in orders]}


async def told(socket, count):
    """Return so many events, by order."""
    by_order = {}
    heard = 0
    while heard < count:
        event = await socket.event()
        if "following" not in event:
            by_order.setdefault(event["orderId"], []).append(event)
            heard += 1
    return by_order


async def test_many_orders_move_on_one_socket_each_event_once_and_in_order(bench):
    await aside(bench.quote_all)
    ids = await aside(bench.place, 60)
    async with opened(ORDERS) as socket:
        await socket.send(follow(*((order_id, 0) for order_id in ids)))
        run = asyncio.create_task(aside(bench.run, ids))
        by_order = await told(socket, 60 * 5)
        await run
    assert set(by_order) == set(ids)
    assert all([event["status"] for event in events] == STAGES for events in by_order.values())


async def nothing_is_followed(socket):
    """Ask until the last order that ended has left the count; any event that comes instead fails."""
    async with asyncio.timeout(10):
        following = None
        while following != 0:
            await socket.send({"follow": []})
            following = (await socket.event())["following"]


async def test_an_order_goes_on_after_the_seq_it_is_named_with(bench):
    await aside(bench.quote_all)
    first, second = await aside(bench.place, 2, slippage_bps=5_000)
    await aside(bench.run, [first, second])
    async with opened(ORDERS) as socket:
        await socket.send(follow((first, 3), (second, 5)))
        by_order = await told(socket, 2)
        assert [event["seq"] for event in by_order[first]] == [4, 5]
        await nothing_is_followed(socket)
    assert second not in by_order


async def test_the_socket_stays_when_an_order_ends_and_more_may_be_named(bench):
    await aside(bench.quote_all)
    first, second = await aside(bench.place, 2, slippage_bps=5_000)
    await aside(bench.run, [first])
    async with opened(ORDERS) as socket:
        await socket.send(follow((first, 0)))
        await told(socket, 5)
        await socket.send(follow((second, 0)))
        assert [event["status"] for event in (await told(socket, 1))[second]] == ["pending"]
        await aside(bench.run, [second])
        assert [event["status"] for event in (await told(socket, 4))[second]] == STAGES[1:]


async def test_naming_an_order_again_starts_it_anew(bench):
    (order_id,) = await aside(bench.place)
    async with opened(ORDERS) as socket:
        for _ in range(3):
            await socket.send(follow((order_id, 0)))
            assert (await told(socket, 1))[order_id][0]["seq"] == 1
        await until(lambda: len(tail.tail().followers.get(order_id, ())) == 1, "one follower")


async def test_an_order_that_is_let_go_is_heard_of_no_more(bench):
    await aside(bench.quote_all)
    kept, left = await aside(bench.place, 2)
    async with opened(ORDERS) as socket:
        await socket.send(follow((kept, 1), (left, 1)))
        assert await socket.event() == {"following": 2}
        await socket.send({"unfollow": [left]})
        assert await socket.event() == {"following": 1}
        await aside(bench.run, [left])
        await aside(bench.run, [kept])
        by_order = await told(socket, 4)
    assert set(by_order) == {kept}


async def test_an_order_that_does_not_exist_is_named_and_the_others_go_on(bench):
    (order_id,) = await aside(bench.place)
    missing = str(uuid4())
    async with opened(ORDERS) as socket:
        await socket.send(follow((missing, 0)))
        said = await heard_until(socket, lambda m: "error" in m, "the error")
        assert (said["error"]["code"], said["error"]["fields"][0]["value"]) == ("not_found", missing)
        await socket.send(follow((order_id, 0)))
        assert await told(socket, 1)


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("{", None),
        ("[]", None),
        ("{}", None),
        ({"watch": []}, None),
        ({"follow": {}}, "follow"),
        ({"follow": [1]}, "follow"),
        ({"follow": [{"orderId": "x"}]}, "orderId"),
        ({"follow": [{}]}, "orderId"),
        ({"follow": [{"orderId": str(uuid4()), "after": -1}]}, "after"),
        ({"follow": [{"orderId": str(uuid4()), "after": True}]}, "after"),
        ({"follow": [{"orderId": str(uuid4()), "after": "1"}]}, "after"),
        ({"follow": [{"orderId": str(uuid4()), "before": 1}]}, "follow"),
        ({"unfollow": ["x"]}, "unfollow"),
        ({"follow": [{"orderId": str(uuid4())}] * 501}, "follow"),
    ],
)
async def test_a_message_that_is_wrong_is_answered_and_the_orders_already_followed_go_on(bench, message, named):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place, slippage_bps=5_000)
    async with opened(ORDERS) as socket:
        await socket.send(follow((order_id, 0)))
        await told(socket, 1)
        await socket.send(message)
        said = await socket.event()
        assert [one["field"] for one in said["error"]["fields"]] == ([named] if named else [])
        await aside(bench.run, [order_id])
        assert [event["status"] for event in (await told(socket, 4))[order_id]] == STAGES[1:]


async def test_a_socket_that_sends_nothing_but_wrong_messages_is_closed_with_the_reason(bench):
    async with opened(ORDERS) as socket:
        for _ in range(feeds.BAD_MAX - 1):
            await socket.send("{")
            assert "error" in await socket.event()
        await socket.send({"follow": []})
        assert await socket.event() == {"following": 0}
        for _ in range(feeds.BAD_MAX):
            await socket.send("{")
        heard = [await socket.wire.receive_output(timeout=10) for _ in range(feeds.BAD_MAX + 1)]
    assert (heard[-1]["type"], heard[-1]["code"]) == ("websocket.close", 4400)
    assert heard[-1]["reason"].startswith("not_json: ")


async def test_one_socket_follows_so_many_orders_and_no_more(bench, monkeypatch):
    monkeypatch.setattr(feeds, "FOLLOW_MAX", 2)
    ids = await aside(bench.place, 3)
    async with opened(ORDERS) as socket:
        await socket.send(follow((ids[0], 1), (ids[1], 1)))
        assert await socket.event() == {"following": 2}
        await socket.send(follow((ids[2], 1)) | {"unfollow": [ids[2]]})
        assert (await socket.event())["error"]["code"] == "invalid"
        await socket.send({"follow": []})
        assert await socket.event() == {"following": 2}
        await socket.send(follow((ids[2], 1)) | {"unfollow": [ids[0]]})
        assert await socket.event() == {"following": 2}


async def test_with_the_stores_away_the_socket_closes_once_with_1013(bench, monkeypatch):
    ids = await aside(bench.place, 5)

    async def away(*_):
        raise StoreError("away")

    monkeypatch.setattr(tail, "history", away)
    async with opened(ORDERS) as socket:
        await socket.send(follow(*((order_id, 0) for order_id in ids)))
        heard, code = await socket.rest()
    assert code == 1013
    assert [one["error"]["code"] for one in heard if "error" in one] == ["store_unreachable"]
