"""The WebSocket API: every event once and in order, whenever a client connects."""

import asyncio

import pytest
import structlog
from django.db import OperationalError

from orders import models
from orders.flow import intake
from orders.sockets import consumers, tail
from orders.stores import live, order_view
from orders.stores.threads import aside
from routing.store import redis
from tests.orders.doors import NOBODY, ORDER, Socket, opened, until
from tests.orders.following import check, following, reading

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")


PLACE = "/api/orders/execute"


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


# Logs


async def test_what_is_logged_for_a_socket_names_its_order(bench, order_id, monkeypatch):
    def away(*_):
        structlog.get_logger().warning("seen from a thread")
        raise OperationalError("gone")

    redis().delete(live.key(order_id))
    monkeypatch.setattr(order_view, "archived", away)
    merging = [structlog.contextvars.merge_contextvars]
    with structlog.testing.capture_logs(processors=merging) as lines:
        async with opened(f"/ws/{order_id}") as socket:
            await socket.rest()
    said = {line["event"]: line for line in lines}
    assert said["stream aborted"]["order_id"] == order_id
    assert said["seen from a thread"]["order_id"] == order_id
