"""The WebSocket door: every event once and in order, whenever a client comes."""

import asyncio
import gc
from contextlib import asynccontextmanager

import pytest
import structlog
from django.db import OperationalError

from engine.event_kinds import Cancelled, Head
from engine.events import moment
from engine.lifecycle import Status
from orders import models
from orders.flow import intake, limits, recovery, waiting
from orders.sockets import consumers, tail
from orders.stores import event_codec, live, order_view
from orders.stores.threads import aside
from routing.store import StoreError, redis
from tests.orders.doors import ORDER, Socket, get, opened, until

NOBODY = "5f0e8d0c-3c1f-4a59-9a0e-6d3b7c1d2e4f"

STAGES = ["pending", "routing", "building", "submitted", "confirmed"]
PLACE = "/api/orders/execute"


@pytest.fixture(autouse=True)
async def nothing_is_left_behind(request):
    """Every follower goes with its socket, and no task dies unheard."""
    unheard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    yield
    await until(lambda: not tail.tail().followers, "every follower has gone")
    gc.collect()
    await asyncio.sleep(0)
    assert unheard == []


@pytest.fixture
async def order_id(bench):
    """An accepted order that nobody works on yet."""
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place)
    return order_id


def check(events, first=1):
    """Hold that these are the rest of a confirmed order's events, each once."""
    assert [event["seq"] for event in events] == list(range(first, 6))
    assert [event["status"] for event in events] == STAGES[first - 1 :]


async def following(order_id, count=1):
    """Wait until so many sockets follow an order."""
    await until(lambda: len(tail.tail().followers.get(order_id, ())) == count, f"{count} followers")


async def reading():
    """Wait until the feed is being read: from then on nothing but events makes a follower look."""
    with tail.tail().inbox("probe") as inbox:
        tail.tail().ensure_reading()

        head = Head(NOBODY, 1, 7, Status.PENDING, moment(0), 0)
        said = event_codec.encode(head, Cancelled("never"))

        def heard():
            redis().xadd(live.FEED, {"b": f"probe 7 0 {said}"})
            return said in [inbox.get_nowait().text for _ in range(inbox.qsize())]

        await until(heard, "the feed is being read")


# Following


async def test_a_late_client_sees_every_stage_once_and_in_order_and_is_let_go(bench, order_id):
    await aside(bench.run, [order_id])
    async with opened(f"/ws/{order_id}") as socket:
        events, code = await socket.rest()
    check(events)
    assert code == 1000
    assert events == bench.events(order_id)


async def test_a_late_client_sees_an_order_that_only_postgres_remembers(bench, order_id):
    await aside(bench.run, [order_id])
    expected = bench.events(order_id)
    await aside(bench.archive)
    redis().flushdb()
    async with opened(f"/ws/{order_id}") as socket:
        assert await socket.rest() == (expected, 1000)


async def test_a_client_in_the_middle_sees_what_was_and_what_comes(bench, order_id):
    await aside(bench.carry, [order_id])
    async with opened(f"/ws/{order_id}") as socket:
        begun = [await socket.event() for _ in range(4)]
        await aside(bench.run, [order_id])
        rest, code = await socket.rest()
    check(begun + rest)
    assert code == 1000


async def test_an_early_client_sees_each_stage_as_it_comes(bench, order_id):
    async with opened(f"/ws/{order_id}") as socket:
        first = await socket.event()
        await aside(bench.run, [order_id])
        rest, code = await socket.rest()
    check([first, *rest])
    assert code == 1000


@pytest.mark.parametrize("after", [0, 1, 4])
async def test_a_client_goes_on_after_the_seq_it_names(bench, order_id, after):
    await aside(bench.run, [order_id])
    async with opened(f"/ws/{order_id}?after={after}") as socket:
        events, code = await socket.rest()
    check(events, after + 1)
    assert code == 1000


async def test_after_the_last_event_there_is_nothing_but_the_end(bench, order_id):
    await aside(bench.run, [order_id])
    async with opened(f"/ws/{order_id}?after=5") as socket:
        assert await socket.rest() == ([], 1000)


@pytest.mark.parametrize("after", [6, 999_999_999])
async def test_who_has_seen_more_than_there_is_is_told_how_much_stands(bench, order_id, after):
    await aside(bench.run, [order_id])
    async with opened(f"/ws/{order_id}?after={after}") as socket:
        (rewound,), code = await socket.rest()
    assert (rewound["orderId"], rewound["rewoundTo"], code) == (order_id, 5, 1000)


async def test_who_has_seen_more_of_an_order_in_progress_is_told_the_rest_anew(bench, order_id, monkeypatch):
    monkeypatch.setattr(tail, "REREAD_S", 60.0)
    await reading()
    async with opened(f"/ws/{order_id}?after=40") as socket:
        await following(order_id)
        await aside(bench.run, [order_id])
        (rewound, *events), code = await socket.rest()
    assert (rewound["rewoundTo"], [event["seq"] for event in events], code) == (1, [2, 3, 4, 5], 1000)


async def test_a_client_that_drops_and_returns_misses_nothing_and_sees_nothing_twice(bench, order_id):
    async with opened(f"/ws/{order_id}") as socket:
        first = await socket.event()
    await aside(bench.carry, [order_id])
    async with opened(f"/ws/{order_id}?after={first['seq']}") as socket:
        middle = [await socket.event() for _ in range(2)]
    async with opened(f"/ws/{order_id}?after={middle[-1]['seq']}") as socket:
        third = await socket.event()
        await aside(bench.run, [order_id])
        rest, code = await socket.rest()
    check([first, *middle, third, *rest])
    assert code == 1000


async def test_two_hundred_clients_on_one_order_each_see_all_of_it(bench, order_id):
    sockets = [Socket(f"/ws/{order_id}") for _ in range(200)]
    await asyncio.gather(*(socket.wire.connect(timeout=10) for socket in sockets[:100]))
    await following(order_id, 100)
    await aside(bench.carry, [order_id])
    await asyncio.gather(*(socket.wire.connect(timeout=10) for socket in sockets[100:]))
    await aside(bench.run, [order_id])
    for events, code in await asyncio.gather(*(socket.rest() for socket in sockets)):
        check(events)
        assert code == 1000
    await asyncio.gather(*(socket.wire.disconnect() for socket in sockets))


async def test_sockets_of_different_orders_do_not_hear_each_other(bench, order_id):
    (other,) = await aside(bench.place)
    async with opened(f"/ws/{order_id}") as one, opened(f"/ws/{other}") as two:
        await following(order_id)
        await following(other)
        await aside(bench.run, [other])
        events, _ = await two.rest()
        assert {event["orderId"] for event in events} == {other}
        assert (await one.event())["orderId"] == order_id
        assert await one.wire.receive_nothing(timeout=0.05)


@pytest.mark.parametrize("name", [NOBODY, "not-an-id", "0" * 33, "x" * 500, "%F0%9F%92%A9"])
async def test_an_order_that_does_not_exist_closes_with_4404(bench, name):
    async with opened(f"/ws/{name}") as socket:
        (error,), code = await socket.rest()
    assert code == 4404
    assert error["error"]["code"] == "not_found"


@pytest.mark.parametrize("after", ["-1", "x", "", "1.5", "9999999999", "%D9%A1"])
async def test_a_bad_after_closes_with_4400(bench, order_id, after):
    async with opened(f"/ws/{order_id}?after={after}") as socket:
        (error,), code = await socket.rest()
    assert code == 4400
    assert error["error"]["code"] == "invalid"


@pytest.mark.parametrize("path", ["/", "/ws", "/ws/", "/ws/a/b", "/api/orders", "/admin/"])
async def test_an_unknown_address_is_refused_at_the_handshake(path):
    accepted, code = await Socket(path).wire.connect()
    assert (accepted, code) == (False, 4404)


async def test_what_a_follower_says_is_ignored(bench, order_id):
    async with opened(f"/ws/{order_id}") as socket:
        await socket.event()
        await socket.send("hello")
        await socket.wire.send_to(bytes_data=b"\0")
        await aside(bench.run, [order_id])
        rest, code = await socket.rest()
    check(rest, 2)
    assert code == 1000


# When the feed is not what it should be


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
    real = live.events

    def finished_meanwhile(*args):
        monkeypatch.setattr(live, "events", real)
        bench.run([order_id])
        return real(*args)

    monkeypatch.setattr(live, "events", finished_meanwhile)
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
    def away(*_):
        raise OperationalError("gone")

    monkeypatch.setattr(order_view, "history", away)
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


# Placing


async def test_an_order_is_placed_and_streamed_on_one_socket(bench):
    await aside(bench.quote_all)
    async with opened(PLACE) as socket:
        await socket.send(ORDER | {"clientOrderId": "ws-1"})
        first = await socket.event()
        await aside(bench.run, [first["orderId"]])
        rest, code = await socket.rest()
    check([first, *rest])
    assert code == 1000
    assert (await aside(bench.row, first["orderId"])).client_order_id == "ws-1"


async def test_placing_again_under_the_same_client_order_id_streams_the_order_that_is_there(bench):
    await aside(bench.quote_all)
    async with opened(PLACE) as one, opened(PLACE) as two:
        await one.send(ORDER | {"clientOrderId": "ws-2"})
        await two.send(ORDER | {"clientOrderId": "ws-2"})
        assert await one.event() == await two.event()
    assert await aside(models.Order.objects.count) == 1


async def test_an_order_may_come_as_bytes(bench):
    async with opened(PLACE) as socket:
        await socket.wire.send_to(bytes_data=b'{"type":"market","tokenIn":"SOL","tokenOut":"USDC","amount":1}')
        assert (await socket.event())["status"] == "pending"


@pytest.mark.parametrize(
    ("message", "code", "named"),
    [
        (ORDER | {"amount": "-1"}, "invalid", "amount"),
        (ORDER | {"tokenOut": "DOGE"}, "invalid", "tokenOut"),
        (ORDER | {"note": "x"}, "invalid", "note"),
        ([], "invalid", None),
        ("hello", "not_json", None),
        (" ", "not_json", None),
        ('{"amount":NaN}', "not_json", None),
        ("[" * 10_000, "not_json", None),
        (" " * 65_537, "too_large", None),
        ('{"type":"\\ud800"}', "invalid", "type"),
    ],
)
async def test_a_bad_first_message_is_answered_in_the_one_error_shape_and_closes(bench, message, code, named):
    async with opened(PLACE) as socket:
        await socket.send(message)
        (said,), closed = await socket.rest()
    assert closed == 4400
    assert set(said) == {"error"} and set(said["error"]) == {"code", "message", "fields"}
    assert said["error"]["code"] == code
    assert named is None or named in {field["field"] for field in said["error"]["fields"]}
    assert await aside(models.Order.objects.count) == 0


async def test_a_conflict_closes_with_4409_and_names_the_order(bench):
    (order_id,) = await aside(bench.place, client_order_id="ws-3")
    async with opened(PLACE) as socket:
        await socket.send(ORDER | {"clientOrderId": "ws-3", "amount": "7"})
        (said,), code = await socket.rest()
    assert code == 4409
    assert order_id in said["error"]["message"]


async def test_a_second_message_is_refused_and_the_first_order_goes_on(bench):
    await aside(bench.quote_all)
    async with opened(PLACE) as socket:
        await socket.send(ORDER)
        first = await socket.event()
        await socket.send(ORDER)
        assert (await socket.event())["error"]["code"] == "one_order"
        await aside(bench.run, [first["orderId"]])
        rest, code = await socket.rest()
    check([first, *rest])
    assert code == 1000
    assert await aside(models.Order.objects.count) == 1


async def test_with_postgres_away_placing_closes_with_1013(bench, monkeypatch):
    def refuse(_):
        raise OperationalError("gone")

    monkeypatch.setattr(intake, "insert", refuse)
    async with opened(PLACE) as socket:
        await socket.send(ORDER)
        (said,), code = await socket.rest()
    assert (said["error"]["code"], code) == ("store_unreachable", 1013)


async def test_a_socket_on_which_no_order_comes_is_closed(monkeypatch):
    monkeypatch.setattr(consumers, "FIRST_MESSAGE_S", 0.02)
    async with opened(PLACE) as socket:
        (said,), code = await socket.rest()
    assert (said["error"]["code"], code) == ("no_order", 4400)


async def test_a_socket_whose_order_came_in_time_is_not_closed_for_want_of_one(bench, monkeypatch):
    monkeypatch.setattr(consumers, "FIRST_MESSAGE_S", 0.5)
    async with opened(PLACE) as socket:
        await socket.send(ORDER)
        assert (await socket.event())["status"] == "pending"
        assert await socket.wire.receive_nothing(timeout=0.7)


async def test_a_client_that_left_while_its_order_was_placed_is_not_followed(bench):
    socket = Socket(PLACE)
    await socket.wire.connect()
    await socket.send(ORDER)
    await socket.wire.disconnect()
    await until(lambda: not tail.tail().followers, "nobody is followed")
    assert await aside(models.Order.objects.count) == 1


# Who may come


def origin(text):
    """Make the header a browser sends."""
    return [(b"origin", text.encode("latin-1"))]


@pytest.mark.parametrize("path", [PLACE, "/ws/x"])
@pytest.mark.parametrize(
    "text",
    [
        "http://evil.example",
        "https://localhost.evil.example",
        "null",
        "",
        "http://[",
        "http://localhost:x",
        "é",
        "file://",
    ],
)
async def test_a_foreign_origin_is_refused_at_the_handshake(path, text):
    accepted, _ = await Socket(path, origin(text)).wire.connect()
    assert not accepted


@pytest.mark.parametrize("headers", [[], origin("http://localhost:8000"), origin("https://localhost")])
async def test_our_own_pages_and_clients_that_are_no_browser_may_come(headers):
    async with opened(PLACE, headers):
        pass


# Logs


async def test_what_is_logged_for_a_socket_names_its_order(bench, order_id, monkeypatch):
    def away(*_):
        structlog.get_logger().warning("seen from a thread")
        raise OperationalError("gone")

    monkeypatch.setattr(order_view, "history", away)
    merging = [structlog.contextvars.merge_contextvars]
    with structlog.testing.capture_logs(processors=merging) as lines:
        async with opened(f"/ws/{order_id}") as socket:
            await socket.rest()
    said = {line["event"]: line for line in lines}
    assert said["stream broken off"]["order_id"] == order_id
    assert said["seen from a thread"]["order_id"] == order_id
