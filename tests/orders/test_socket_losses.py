"""Streams when the feed or a store fails."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from django.db import OperationalError

from orders.flow import limits, recovery, waiting
from orders.sockets import consumers, tail
from orders.stores import event_codec, live, order_view
from orders.stores.threads import aside
from routing.store import StoreError, redis
from tests.orders.doors import get, opened, until
from tests.orders.following import check, following, reading

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")


async def test_events_the_feed_skips_are_read_from_the_order_itself(bench, order_id, monkeypatch):
    async with opened(f"/ws/{order_id}") as socket:
        await socket.event()
        await following(order_id)
        heard = tail.Tail.hand_on

        def deaf_to_the_middle(self, batch):
            kept = [line for line in batch.split("\n") if line.split(" ")[1] not in ("2", "3", "4")]
            heard(self, "\n".join(kept) or "- 0 0 -")

        monkeypatch.setattr(tail.Tail, "hand_on", deaf_to_the_middle)
        await aside(bench.run, [order_id])
        rest, code = await socket.rest()
    check(rest, 2)
    assert code == 1000


async def test_a_feed_that_was_deleted_costs_a_follower_nothing_but_time(bench, order_id, monkeypatch):
    monkeypatch.setattr(tail, "REREAD_S", 0.1)
    monkeypatch.setattr(tail.Tail, "hand_on", lambda *_: None)
    async with opened(f"/ws/{order_id}") as socket:
        await socket.event()
        await aside(bench.run, [order_id])
        redis().delete(live.FEED)
        rest, code = await socket.rest()
    check(rest, 2)
    assert code == 1000


async def test_events_heard_twice_or_out_of_order_are_told_once_and_in_order(bench, order_id, monkeypatch):
    async with opened(f"/ws/{order_id}") as socket:
        await socket.event()
        await following(order_id)
        heard = tail.Tail.hand_on
        monkeypatch.setattr(
            tail.Tail, "hand_on", lambda self, b: heard(self, "\n".join(reversed([*b.split("\n")] * 2)))
        )
        await aside(bench.run, [order_id])
        rest, code = await socket.rest()
    check(rest, 2)
    assert code == 1000


@pytest.mark.parametrize("junk", [{"x": "1"}, {"b": ""}, {"b": "junk"}, {"b": "{id}"}, {"b": "{id} two 1 {{}}"}])
async def test_a_feed_entry_nobody_can_read_stops_no_stream(bench, order_id, junk):
    async with opened(f"/ws/{order_id}") as socket:
        await socket.event()
        await following(order_id)
        redis().xadd(live.FEED, {name: value.replace("{id}", order_id) for name, value in junk.items()})
        reader = tail.tail().reader
        await aside(bench.run, [order_id])
        rest, code = await socket.rest()
        assert tail.tail().reader is reader and not reader.done()
    check(rest, 2)
    assert code == 1000


async def test_a_last_event_that_is_read_before_its_status_ends_the_stream_at_once(bench, order_id, monkeypatch):
    monkeypatch.setattr(tail, "REREAD_S", 60.0)
    await reading()
    await aside(bench.carry, [order_id])
    real = live.standing_with_events

    def finished_meanwhile(asked):
        monkeypatch.setattr(live, "standing_with_events", real)
        ((found, _),) = real(asked)
        bench.run([order_id])
        ((_, events),) = real(asked)
        return [(found, events)]

    monkeypatch.setattr(live, "standing_with_events", finished_meanwhile)
    async with opened(f"/ws/{order_id}") as socket:
        events, code = await socket.rest()
    check(events)
    assert code == 1000


async def lose_redis(bench, *, after):
    """Empty Redis once `after` was told of an order, and have what Postgres knows put back."""
    await aside(redis().flushdb)
    await aside(recovery.recover)
    await aside(bench.quote_all)


def story(messages):
    """What a client holds that does as it is told."""
    held = []
    for message in messages:
        if "rewoundTo" in message:
            held = held[: message["rewoundTo"]]
        else:
            assert message["seq"] == len(held) + 1
            held.append(message)
    return held


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("cursor", ["after=2&epoch={epoch}", "after=2"])
async def test_who_saw_what_was_lost_is_told_so_and_then_what_came_instead(bench, connected, cursor):
    (order_id,) = await aside(bench.accept, bench.limit("1"))
    await aside(bench.quote_all)
    async with opened(f"/ws/{order_id}") as socket:
        first = await socket.event()
        await aside(limits.fire, "SOL-USDC")
        triggered = await socket.event()
        assert (first["seq"], triggered["seq"], triggered["status"]) == (1, 2, "triggered")
        await lose_redis(bench, after=triggered)
        if connected:
            await aside(waiting.cancel, order_id)
            rest, code = await socket.rest()
    if not connected:
        await aside(waiting.cancel, order_id)
        async with opened(f"/ws/{order_id}?{cursor.format(epoch=triggered['epoch'])}") as socket:
            rest, code = await socket.rest()
    assert rest[0]["rewoundTo"] == 1 and code == 1000
    held = story([first, triggered, *rest])
    assert [event["status"] for event in held] == ["pending", "cancelled"]
    answer = (await get(f"/api/orders/{order_id}/events?after=2&epoch={triggered['epoch']}")).json()
    assert answer["rewoundTo"] == 1 and answer["events"] == held[1:]


async def test_who_saw_only_what_was_kept_is_told_nothing_of_a_loss(bench, order_id):
    await aside(bench.carry, [order_id])
    async with opened(f"/ws/{order_id}") as socket:
        begun = [await socket.event() for _ in range(4)]
        await lose_redis(bench, after=begun[-1])
        await aside(bench.run, [order_id])
        rest, code = await socket.rest()
    check(begun + rest)
    assert code == 1000


async def test_what_is_withdrawn_and_heard_late_is_not_taken_for_news(bench):
    (order_id,) = await aside(bench.accept, bench.limit("1"))
    await aside(bench.quote_all)
    await reading()
    async with opened(f"/ws/{order_id}") as socket:
        first = await socket.event()
        await aside(limits.fire, "SOL-USDC")
        triggered = await socket.event()
        await lose_redis(bench, after=triggered)
        # Made to look for itself, the client is taken back before anything else has happened.
        tail.tail().ring()
        rewound = await socket.event()
        assert rewound["rewoundTo"] == 1
        late = f"{order_id} 2 0 {event_codec.dump(triggered)}"
        await aside(redis().xadd, live.FEED, {"b": late})
        await aside(waiting.cancel, order_id)
        rest, _ = await socket.rest()
    assert [event["status"] for event in story([first, triggered, rewound, *rest])] == ["pending", "cancelled"]


class Proxy:
    """A way to Redis that can be cut."""

    def __init__(self):
        self.pipes, self.connections = set(), 0

    async def start(self):
        """Listen."""
        self.server = await asyncio.start_server(self.connect, "127.0.0.1", getattr(self, "port", 0))
        self.port = self.server.sockets[0].getsockname()[1]

    async def connect(self, reader, writer):
        """Join a client with Redis."""
        at = redis().connection_pool.connection_kwargs
        back, forth = await asyncio.open_connection(at["host"], at["port"])
        self.connections += 1
        for source, sink in ((reader, forth), (back, writer)):
            task = asyncio.create_task(self.pipe(source, sink))
            self.pipes.add(task)
            task.add_done_callback(self.pipes.discard)

    async def pipe(self, source, sink):
        """Carry bytes one way until either end closes."""
        try:
            while data := await source.read(65536):
                sink.write(data)
        except OSError:
            pass
        finally:
            sink.close()

    async def cut(self):
        """Drop every connection and refuse new ones."""
        self.server.close()
        for pipe in list(self.pipes):
            pipe.cancel()
        await asyncio.gather(*self.pipes, return_exceptions=True)


@asynccontextmanager
async def proxied(settings):
    """Have followers reach Redis by a way that can be cut."""
    proxy = Proxy()
    await proxy.start()
    at = redis().connection_pool.connection_kwargs
    settings.REDIS_URL = f"redis://:{at.get('password') or ''}@127.0.0.1:{proxy.port}/{at.get('db', 0)}"
    yield proxy
    await proxy.cut()


async def test_a_follower_goes_on_when_redis_is_back(bench, order_id, settings):
    async with proxied(settings) as proxy, opened(f"/ws/{order_id}") as socket:
        first = await socket.event()
        await until(lambda: proxy.connections == 1, "the feed is being read")
        await proxy.cut()
        await aside(bench.run, [order_id])
        assert await socket.wire.receive_nothing(timeout=0.05)
        await proxy.start()
        rest, code = await socket.rest()
        assert proxy.connections >= 2
    check([first, *rest])
    assert code == 1000


async def test_with_redis_away_a_follower_is_shown_what_postgres_knows(bench, order_id, monkeypatch):
    await aside(bench.run, [order_id])
    await aside(bench.archive)

    def away(*_):
        raise StoreError("gone")

    monkeypatch.setattr(live, "statuses", away)
    async with opened(f"/ws/{order_id}") as socket:
        events, code = await socket.rest()
    check(events)
    assert code == 1000


async def test_with_both_stores_away_a_follower_is_told_to_come_again(bench, order_id, monkeypatch):
    def redis_away(*_):
        raise StoreError("gone")

    def postgres_away(*_):
        raise OperationalError("gone")

    monkeypatch.setattr(live, "standing_with_events", redis_away)
    monkeypatch.setattr(order_view, "archived", postgres_away)
    async with opened(f"/ws/{order_id}") as socket:
        (error,), code = await socket.rest()
    assert (error["error"]["code"], code) == ("store_unreachable", 1013)


async def test_a_client_that_is_gone_when_an_event_is_sent_ends_its_stream_quietly(bench, order_id, monkeypatch):
    async def gone(*_, **__):
        raise RuntimeError("Unexpected ASGI message 'websocket.send', after sending 'websocket.close'.")

    async with opened(f"/ws/{order_id}") as socket:
        await socket.event()
        await following(order_id)
        monkeypatch.setattr(consumers.EventStream, "send", gone)
        await aside(bench.run, [order_id])
        await until(lambda: not tail.tail().followers, "the follower has gone")
