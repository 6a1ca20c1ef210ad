"""The limits of an API key: orders per minute, resting orders of its account, open sockets and followed orders."""

import asyncio
import json

import httpx
import pytest
from django.db import connection, transaction

from config.asgi import application
from orders import models
from orders.access import limits
from orders.flow.batcher import batcher
from orders.sockets.doorkeeper import doorkeeper
from orders.stores.threads import aside
from tests.orders.accounts import account, bearer, rows_of_keys
from tests.orders.doors import LIMIT, NOBODY, ORDER, Socket, opened, until

REST = LIMIT | {"limitPrice": "900"}


@pytest.fixture(autouse=True)
def keys_in_rows(bench, monkeypatch):
    limits.buckets.clear()
    with rows_of_keys(monkeypatch):
        yield


async def post(body, header, path="execute", **headers):
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.post(f"/api/orders/{path}", json=body, headers={**header, **headers})


async def key(name="alice", **more):
    return await aside(lambda: bearer(account(name), **more))


@pytest.mark.parametrize("headers", [{}, {"accept": "application/*"}], ids=["route", "view"])
async def test_a_key_places_so_many_orders_per_minute_and_is_told_what_is_left(headers):
    header, other = await key(orders_per_minute=3), await key(orders_per_minute=3)
    answers = [await post(ORDER, header, **headers) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers[:3]] == ["r=2", "r=1", "r=0"]
    assert {answer.headers["ratelimit-policy"] for answer in answers[:3]} == {'"orders";q=3;w=60'}
    assert answers[3].json()["error"]["code"] == "rate_limited"
    assert answers[3].headers["retry-after"] == "5"
    assert await aside(models.Order.objects.count) == 3
    assert (await post(ORDER, other, **headers)).status_code == 202, "another key has its own"


async def test_a_batch_counts_each_of_its_orders_and_places_none_beyond_the_limit():
    header = await key(orders_per_minute=3)
    assert (await post({"orders": [ORDER] * 4}, header, "batch")).status_code == 429
    assert await aside(models.Order.objects.count) == 0
    assert (await post({"orders": [ORDER] * 3}, header, "batch")).json()["accepted"] == 3


async def test_what_was_spent_comes_back_with_time(monkeypatch):
    header = await key(orders_per_minute=60)
    assert (await post({"orders": [ORDER] * 60}, header, "batch")).status_code == 200
    assert (await post(ORDER, header)).status_code == 429
    (bucket,) = limits.buckets.values()
    bucket.at -= 2
    answers = [(await post(ORDER, header)).status_code for _ in range(3)]
    assert answers == [202, 202, 429]


async def test_without_a_limit_nothing_is_said():
    answer = await post(ORDER, await key())
    assert answer.status_code == 202 and "ratelimit" not in answer.headers


async def test_so_many_orders_of_an_account_rest_and_market_orders_go_on():
    header, other = await key(open_orders_max=2), await key("bob", open_orders_max=2)
    placed = [await post(REST, header) for _ in range(3)]
    assert [answer.status_code for answer in placed] == [202, 202, 429]
    assert placed[2].json()["error"]["code"] == "too_many_open"
    assert (await post(ORDER, header)).status_code == 202
    assert (await post(REST, other)).status_code == 202
    assert await aside(models.Order.objects.filter(type="limit").count) == 3


async def test_an_order_that_is_sent_again_is_counted_once():
    header = await key(open_orders_max=2, orders_per_minute=3)
    again = [await post(REST | {"clientOrderId": "one"}, header) for _ in range(4)]
    assert [answer.status_code for answer in again] == [202] * 4
    assert [answer.headers["ratelimit"].split(";")[1] for answer in again] == ["r=2"] * 4
    assert [(await post(REST, header)).status_code for _ in range(2)] == [202, 429]
    assert await aside(models.Order.objects.count) == 2


async def test_a_refused_order_takes_no_room():
    header = await key(open_orders_max=2)
    await post(REST | {"clientOrderId": "one"}, header)
    assert (await post(REST | {"clientOrderId": "one", "amount": "7"}, header)).status_code == 409
    assert (await post(REST, header)).status_code == 202


async def test_a_cancelled_order_makes_room_within_a_second():
    header = await key(open_orders_max=1)
    order_id = (await post(REST, header)).json()["orderId"]
    assert (await post(REST, header)).status_code == 429
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=header) as client:
        assert (await client.delete(f"/api/orders/{order_id}")).status_code == 200
    owner = (await aside(account, "alice")).pk
    limits.resting()[owner].counted_at -= limits.COUNTED_S
    assert (await post(REST, header)).status_code == 202


async def test_the_count_uses_an_index():
    def plan():
        with transaction.atomic(), connection.cursor() as cursor:
            # Without triggers and foreign keys: these accounts do not exist.
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(
                """
                INSERT INTO orders_order (id, type, pair, owner_id, amount_in, slippage_bps, fingerprint, status)
                SELECT gen_random_uuid(), 'limit', 'SOL-USDC', n % 100, 1500000000, 50, md5(n::text), 'pending'
                FROM generate_series(1, 5000) AS n
                """
            )
            cursor.execute("ANALYZE orders_order")
            cursor.execute(f"EXPLAIN SELECT 1 FROM orders_order WHERE owner_id = 7 AND {limits.WAITING_SQL}")
            found = "\n".join(row for (row,) in cursor.fetchall())
            transaction.set_rollback(True)
            return found

    assert "orders_waiting_of_owner" in await batcher().beside.run(30, plan)


async def test_a_socket_is_told_too(monkeypatch):
    header = await key(orders_per_minute=0)
    wire = [(b"authorization", header["authorization"].encode())]
    monkeypatch.setattr("tests.orders.doors.WIRE", [])
    async with opened("/api/orders/execute", wire) as socket:
        await socket.send(json.dumps(ORDER))
        (said,), code = await socket.rest()
    assert (said["error"]["code"], code) == ("rate_limited", 4429)


async def test_racing_orders_do_not_exceed_what_may_rest():
    header = await key(open_orders_max=2)
    codes = [answer.status_code for answer in await asyncio.gather(*(post(REST, header) for _ in range(12)))]
    assert sorted(codes) == [202] * 2 + [429] * 10
    assert await aside(models.Order.objects.count) == 2


async def test_an_accepted_order_is_answered_again_beyond_the_limits():
    header, named = await key(open_orders_max=1, orders_per_minute=2), {"idempotency-key": "once"}
    first, other = await post(REST, header, **named), await post(ORDER, header)
    assert (first.status_code, other.status_code) == (202, 202)
    again = await post(REST, header, **named)
    assert (again.status_code, again.json()["orderId"]) == (202, first.json()["orderId"])
    conflict = await post(REST | {"amount": "7"}, header, **named)
    assert conflict.status_code == 409
    mixed = await post({"orders": [REST | {"clientOrderId": "once"}, REST]}, header, "batch")
    assert [one["status"] for one in mixed.json()["results"]] == [202, 429]


def wire(header):
    return [(b"authorization", header["authorization"].encode())]


async def turned_away(header, path="/ws/orders"):
    """Return the error that a socket hears, and the code and reason of its close."""
    socket = Socket(path, wire(header))
    assert (await socket.wire.connect())[0]
    error = (await socket.event())["error"]
    close = await socket.wire.receive_output(timeout=5)
    await socket.wire.disconnect()
    return error, close["code"], close["reason"]


async def following(socket, *ids, **more):
    """Ask a socket to follow orders; return what it answers first."""
    await socket.send({"follow": [{"orderId": order_id} for order_id in ids], **more})
    return await socket.event()


async def test_a_key_has_so_many_sockets_open_of_whatever_kind_and_others_have_theirs(settings):
    settings.ENGINE_KEY_SOCKETS_MAX = 2
    mine, his = await key(), await key("bob")
    async with opened("/ws/orders", wire(mine)) as first, opened("/ws/quotes/SOL-USDC", wire(mine)) as second:
        assert await following(first) == {"following": 0} and (await second.event())["kind"] == "snapshot"
        for path in ("/ws/orders", "/api/orders/execute", f"/ws/{NOBODY}"):
            error, code, reason = await turned_away(mine, path)
            assert (error["code"], code) == ("too_many_sockets", 4429)
            assert reason.startswith("too_many_sockets: ") and reason.endswith(
                "has 2 sockets open, of at most 2; close some"
            )
        async with opened("/ws/orders", wire(his)) as other:
            assert await following(other) == {"following": 0}
    await until(lambda: not doorkeeper().admitted, "the sockets have gone")
    async with opened("/ws/orders", wire(mine)) as again:
        assert await following(again) == {"following": 0}


async def test_a_keys_sockets_together_follow_so_many_orders_and_a_message_beyond_changes_nothing(settings):
    settings.ENGINE_KEY_FOLLOWS_MAX = 3
    mine = await key()
    ids = [(await post(REST, mine)).json()["orderId"] for _ in range(4)]
    async with opened("/ws/orders", wire(mine)) as first, opened("/ws/orders", wire(mine)) as second:
        assert await following(first, *ids[:2]) == {"following": 2}
        for asked in ({"follow": [{"orderId": one} for one in ids[2:]]}, {"follow": [{"orderId": one} for one in ids]}):
            await second.send(asked)
            error = (await second.event())["error"]
            assert error["code"] == "too_many_follows"
        assert error["message"].endswith("follow at most 3 orders at a time, not 6; unfollow some")
        assert await following(second, ids[2]) == {"following": 1}
        await second.event()
        await second.send({"follow": "all", "after": None})
        assert (await second.event())["error"]["code"] == "too_many_follows", "all orders count as one"
        assert await following(second, ids[3], unfollow=[ids[2]]) == {"following": 1}, "an exchange goes"


async def test_what_a_closed_socket_followed_can_be_followed_anew(settings):
    settings.ENGINE_KEY_FOLLOWS_MAX = 1
    mine = await key()
    order_id = (await post(REST, mine)).json()["orderId"]
    async with opened("/ws/orders", wire(mine)) as first:
        assert await following(first, order_id) == {"following": 1}
    await until(lambda: not doorkeeper().admitted, "the socket has gone")
    async with opened("/ws/orders", wire(mine)) as second:
        assert await following(second, order_id) == {"following": 1}
