"""The stream of all of a caller's orders: complete, in sequence order by order, resumed by one cursor."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from django.utils import timezone

from orders import models
from orders.flow import recovery, waiting
from orders.models import JournalRow
from orders.sockets import accounts, all_orders, tail
from orders.stores import journal, live
from orders.stores.threads import aside
from routing.store import StoreError
from tests.forged import forged
from tests.orders.bench import OWNER, STAGES
from tests.orders.doors import get, opened, until
from tests.orders.losses import lose_redis

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")

ALL = {"follow": "all"}
WITHIN_S = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(accounts, "LOOK_EVERY_S", 0.02)


@pytest.fixture(autouse=True)
async def nobody_watches_the_journal():
    yield
    await until(lambda: not tail.tail().accounts.inboxes, "every stream has gone")


@asynccontextmanager
async def following(after=None):
    """Follow all orders on a socket, which has begun."""
    async with opened("/ws/orders") as socket:
        await socket.send(ALL if after is None else {**ALL, "after": after})
        assert await socket.event() == {"following": 0}
        await asyncio.wait_for(tail.tail().reading.wait(), WITHIN_S)
        yield socket


async def heard(socket, count):
    """Return the next so many events, and the last cursor before or between them."""
    events, cursor = [], None
    async with asyncio.timeout(WITHIN_S):
        while len(events) < count:
            message = await socket.event()
            if "cursor" in message:
                cursor = message["cursor"]
            else:
                events.append(message)
    return events, cursor


async def reached(socket, position):
    """Read on until the cursor is at a position; return the events before it."""
    events = []
    async with asyncio.timeout(WITHIN_S):
        while True:
            message = await socket.event()
            if "cursor" not in message:
                events.append(message)
            elif int(message["cursor"]) >= position:
                return events


async def newest():
    return (await aside(journal.bounds))[1]


def seqs(events):
    found = {}
    for event in events:
        found.setdefault(event["orderId"], []).append(event["seq"])
    return found


async def test_orders_placed_later_are_followed_too_and_each_event_comes_once_and_in_sequence(bench):
    await aside(bench.quote_all)
    async with following() as socket:
        assert (await socket.event()) == {"cursor": "0"}
        ids = await aside(bench.place, 5, slippage_bps=5_000)
        await aside(bench.run, ids)
        await aside(bench.archive)
        events = await reached(socket, await newest())
    assert seqs(events) == {order_id: [1, 2, 3, 4, 5] for order_id in ids}
    for order_id in ids:
        own = [event for event in events if event["orderId"] == order_id]
        assert own == await aside(bench.events, order_id)
        assert [event["status"] for event in own] == STAGES


async def test_events_come_from_the_feed_before_the_journal_has_them(bench):
    await aside(bench.quote_all)
    async with following() as socket:
        (order_id,) = await aside(bench.place, slippage_bps=5_000)
        await aside(bench.run, [order_id])
        events, cursor = await heard(socket, 5)
        assert await aside(JournalRow.objects.count) == 0
    assert (seqs(events), cursor) == ({order_id: [1, 2, 3, 4, 5]}, "0")


async def test_what_the_feed_lost_comes_from_the_journal(bench, monkeypatch):
    await aside(bench.quote_all)
    async with following() as socket:
        await socket.event()
        with monkeypatch.context() as patch:
            patch.setattr(tail.Tail, "hand_on", lambda *_: None)
            patch.setattr(accounts.Accounts, "hand_on", lost)
            (order_id,) = await aside(bench.place, slippage_bps=5_000)
            await aside(bench.run, [order_id])
            await aside(bench.archive)
            events = await reached(socket, await newest())
    assert seqs(events) == {order_id: [1, 2, 3, 4, 5]}


async def lost(*_):
    """Hand nothing on."""


async def test_a_cursor_resumes_on_the_socket_and_over_rest(bench):
    await aside(bench.quote_all)
    before, between = await aside(bench.place, 2, slippage_bps=5_000)
    await aside(bench.run, [before])
    await aside(bench.archive)
    async with following("0") as socket:
        events = await reached(socket, await newest())
    assert seqs(events) == {before: [1, 2, 3, 4, 5], between: [1]}
    cursor = str(await newest())
    await aside(bench.run, [between])
    (after,) = await aside(bench.place, slippage_bps=5_000)
    await aside(bench.archive)
    async with following(cursor) as socket:
        assert await socket.event() == {"cursor": cursor}
        events = await reached(socket, await newest())
    assert seqs(events) == {between: [2, 3, 4, 5], after: [1]}
    page = (await get(f"/api/events?after={cursor}")).json()
    assert (seqs(page["results"]), page["cursor"], page["next"]) == (seqs(events), str(await newest()), None)


async def test_pages_lead_on_by_link_and_by_cursor(bench):
    ids = await aside(bench.place, 5)
    await aside(bench.archive)
    told, address = [], "/api/events?limit=2"
    while address:
        page = (await get(address)).json()
        told += page["results"]
        assert page["next"] is None or page["next"] == f"http://localhost/api/events?after={page['cursor']}&limit=2"
        address = page["next"]
    assert sorted(event["orderId"] for event in told) == sorted(ids)
    assert (await get(f"/api/events?after={page['cursor']}")).json()["results"] == []


async def test_an_order_in_motion_is_told_from_its_first_event_to_whoever_begins_now(bench):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place, slippage_bps=5_000)
    await aside(bench.archive)
    async with following() as socket:
        await aside(bench.run, [order_id])
        events, _ = await heard(socket, 5)
    assert seqs(events) == {order_id: [1, 2, 3, 4, 5]}


async def test_orders_of_other_accounts_are_not_told(bench):
    mine = bench.order()
    (theirs,) = await aside(bench.place)
    await aside(models.Order.objects.update, owner=OWNER + 1)
    await aside(bench.archive)
    async with following("0") as socket:
        await aside(bench.accept, mine)
        await aside(bench.archive)
        events = await reached(socket, await newest())
    assert seqs(events) == {mine.order.id: [1]}
    assert theirs not in str((await get("/api/events")).json())


async def test_events_that_a_lost_redis_withdrew_are_taken_back_before_those_in_their_place(bench):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place, slippage_bps=5_000)
    await aside(bench.archive)
    async with following("0") as socket:
        await aside(bench.carry, [order_id])
        before, _ = await heard(socket, 4)
        # Of these the commit of the attempt has saved all but what follows from it; an outage takes the attempt, too.
        await aside(undone, order_id)
        await aside(lose_redis, bench)
        await aside(recovery.recover)
        await aside(bench.run, [order_id])
        await aside(bench.archive)
        after = await reached(socket, await newest())
    assert seqs(before) == {order_id: [1, 2, 3, 4]}
    assert [message.get("rewoundTo") or message["seq"] for message in after] == [1, 2, 3, 4, 5]
    assert "rewoundTo" in after[0] and {message["epoch"] for message in after} == {before[-1]["epoch"] + 1}


def undone(order_id):
    """Have Postgres know nothing of an order but its acceptance."""
    with forged():
        models.Attempt.objects.filter(order_id=order_id).delete()
        models.OrderEvent.objects.filter(order_id=order_id, seq__gt=1).delete()


async def test_a_stream_survives_redis(bench, monkeypatch):
    await aside(bench.quote_all)
    async with following() as socket:
        await socket.event()

        async def away(*_):
            raise StoreError("away")

        with monkeypatch.context() as patch:
            patch.setattr(live, "owners", away)
            patch.setattr(tail, "RECONNECT_S", (0.01, 0.01))
            (order_id,) = await aside(bench.place, slippage_bps=5_000)
            await aside(bench.run, [order_id])
            await aside(bench.archive)
            assert seqs(await reached(socket, await newest())) == {order_id: [1, 2, 3, 4, 5]}


async def test_a_stream_says_that_it_has_begun_once_what_is_made_from_then_on_comes_at_once(bench, monkeypatch):
    found, open_gate = tail.newest, asyncio.Event()

    async def late(redis):
        await open_gate.wait()
        return await found(redis)

    monkeypatch.setattr(tail, "newest", late)
    async with opened("/ws/orders") as socket:
        await socket.send(ALL)
        assert await socket.event() == {"following": 0}
        assert await socket.wire.receive_nothing(timeout=0.3)
        open_gate.set()
        assert await socket.event() == {"cursor": "0"}
        (order_id,) = await aside(bench.place)
        events, _ = await heard(socket, 1)
    assert seqs(events) == {order_id: [1]}


async def test_a_socket_that_is_full_reads_the_rest_from_the_journal(bench, monkeypatch):
    monkeypatch.setattr(accounts, "INBOX_MAX", 1)
    monkeypatch.setattr(all_orders, "ENTRIES", 2)
    await aside(bench.quote_all)
    async with following() as socket:
        await socket.event()
        ids = await aside(bench.place, 20, slippage_bps=5_000)
        await aside(bench.run, ids)
        await aside(bench.archive)
        events = await reached(socket, await newest())
    assert seqs(events) == {order_id: [1, 2, 3, 4, 5] for order_id in ids}


async def test_all_orders_are_let_go_again_and_named_ones_go_on(bench):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.accept, bench.limit("900"))
    async with following() as socket:
        await socket.event()
        await socket.send({"follow": [{"orderId": order_id}]})
        while "following" not in (message := await socket.event()):
            pass
        assert message == {"following": 1}
        await socket.send({"unfollow": "all"})
        await until(lambda: not tail.tail().accounts.inboxes, "the stream has gone")
        await aside(bench.place, 3)
        await aside(waiting.cancel, order_id)
        told = [message async for message in messages(socket) if "orderId" in message]
    assert [event["status"] for event in told if event["orderId"] == order_id][-1] == "cancelled"
    assert {event["orderId"] for event in told} == {order_id}


async def messages(socket):
    """Yield messages until an order is cancelled."""
    while True:
        message = await socket.event()
        yield message
        if message.get("status") == "cancelled":
            return


@pytest.mark.parametrize("after", ["x", "-1", "", "1.5", "9" * 19, "7", "\u0661"])
async def test_a_cursor_of_no_position_is_refused_and_the_socket_stays(bench, after):
    async with opened("/ws/orders") as socket:
        await socket.send({**ALL, "after": after})
        said = (await socket.event())["error"]
        assert (said["code"], said["fields"][0]["field"]) == ("invalid", "after")
        await socket.send(ALL)
        assert await socket.event() == {"following": 0}
    answer = await get(f"/api/events?after={after}")
    assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (400, "after")


@pytest.mark.parametrize(
    "message",
    [
        {"follow": "all", "after": 1},
        {"follow": "all", "epoch": 1},
        {"follow": "all", "unfollow": []},
        {"unfollow": "all", "after": "0"},
        {"follow": "every"},
    ],
)
async def test_a_message_about_all_orders_that_is_wrong_is_answered(bench, message):
    async with opened("/ws/orders") as socket:
        await socket.send(message)
        assert (await socket.event())["error"]["code"] == "invalid"


async def test_a_cursor_whose_events_are_kept_no_longer_is_refused(bench):
    await aside(bench.place, 3)
    for order_id in bench.ids:
        await aside(journal.note_again, [order_id])
    first, *_ = await aside(lambda: list(JournalRow.objects.values_list("position", flat=True).order_by("position")))
    await aside(JournalRow.objects.filter(position__lte=first + 1).update, at=timezone.now() - timedelta(days=40))
    assert await aside(journal.forget, 30) == 2
    answer = await get(f"/api/events?after={first}")
    assert answer.json()["error"]["message"] == "after is older than the events that are kept"
    assert (await get(f"/api/events?after={first + 1}")).status_code == 200
    assert len((await get("/api/events?after=0")).json()["results"]) == 1


async def test_one_look_at_the_journal_serves_every_socket(bench, monkeypatch):
    looks = []
    look = journal.news
    monkeypatch.setattr(journal, "news", lambda after: (looks.append(after), look(after))[1])
    monkeypatch.setattr(accounts, "LOOK_EVERY_S", 0.2)
    async with following() as one, following() as two, following() as three:
        await aside(bench.place)
        await aside(bench.archive)
        for socket in (one, two, three):
            await reached(socket, await newest())
    assert len(looks) < 10


async def test_what_the_feed_skipped_is_read_from_postgres_although_redis_came_back_without_it(bench, monkeypatch):
    await aside(bench.quote_all)
    async with following() as socket:
        (order_id,) = await aside(bench.place, slippage_bps=5_000)
        before, _ = await heard(socket, 1)
        with monkeypatch.context() as patch:
            patch.setattr(accounts.Accounts, "hand_on", lost)
            await aside(bench.carry, [order_id])
            await aside(bench.archive)
            await aside(bench.run, [order_id])
            # A Redis of long ago would answer so; what the journal names is in Postgres.
            patch.setattr(all_orders, "history", None)
            await aside(bench.archive)
            after = await reached(socket, await newest())
    assert [event["seq"] for event in (*before, *after)] == [1, 2, 3, 4, 5]
