"""Past so many orders that wait to be executed, no door takes another; those that rest do not count and are taken."""

import asyncio

import pytest
from django.db import OperationalError

from engine.orders import TimeInForce
from orders.flow import backlog as module
from orders.flow import intake
from orders.flow.backlog import Backlog, adds
from orders.flow.batcher import Overloaded, batcher
from orders.stores import live
from orders.stores.threads import aside
from routing.store import StoreError, now_ms, redis
from tests.orders.doors import ORDER, accept, opened, post, until

MOST = 5
IOC = {"type": "limit", "limitPrice": "9999", "timeInForce": "ioc"}
RESTING = {"type": "limit", "limitPrice": "9999"}


@pytest.fixture
def few(bench, settings):
    """Let few orders wait."""
    settings.ORDER_BACKLOG_MAX = MOST
    return bench


@pytest.fixture
async def full(few):
    """Have as many wait as may."""
    await aside(few.place, MOST)
    await known(MOST)
    return few


async def known(count):
    """Wait until the server knows how many there are."""
    batcher().backlog.is_full()
    await until(lambda: batcher().backlog.depth == count, f"{count} orders are known to wait")


def refusal(answer):
    return answer.status_code, answer.json()["error"]["code"], answer.headers["retry-after"]


@pytest.mark.parametrize("header", [{}, {"accept": "application/*"}])
async def test_an_order_too_many_is_refused_on_the_short_way_and_on_the_long_one(full, header):
    assert refusal(await post(ORDER, **header)) == (503, "overloaded", "1")
    assert await aside(len, await aside(full.sql, "SELECT 1 FROM orders_order")) == MOST


async def test_one_that_is_filled_at_once_or_not_at_all_is_refused_too(full):
    assert refusal(await post({**ORDER, **IOC})) == (503, "overloaded", "1")


async def test_one_that_rests_is_accepted(full):
    assert (await post({**ORDER, **RESTING})).status_code == 202


async def test_a_socket_is_closed_with_the_error(full):
    async with opened("/api/orders/execute") as socket:
        await socket.send(ORDER)
        (said,), code = await socket.rest()
    assert (said["error"]["code"], code) == ("overloaded", 1013)


async def test_of_a_batch_each_order_has_its_own_verdict(full):
    answer = await post({"orders": [ORDER, {**ORDER, **RESTING}, {**ORDER, "amount": "0"}]}, "/api/orders/batch")
    assert answer.status_code == 200
    verdicts = answer.json()["results"]
    assert [verdict["status"] for verdict in verdicts] == [503, 202, 400]
    assert verdicts[0]["error"]["code"] == "overloaded"


async def test_a_batch_is_accepted_as_far_as_there_is_room(few):
    await aside(few.place, MOST - 2)
    await known(MOST - 2)
    verdicts = (await post({"orders": [ORDER] * 4}, "/api/orders/batch")).json()["results"]
    assert [verdict["status"] for verdict in verdicts] == [202, 202, 503, 503]


async def test_in_a_batch_one_that_cannot_be_written_does_not_hide_what_became_of_the_others(few, monkeypatch):
    real = intake.place

    def place(asked):
        if any(one.order.amount_in == 7 * 10**9 for one in asked):
            raise OperationalError("the database is shutting down")
        return real(asked)

    monkeypatch.setattr(intake, "place", place)
    monkeypatch.setattr("orders.flow.batcher.GROUP_MAX", 1)
    answer = await post({"orders": [ORDER, {**ORDER, "amount": "7"}]}, "/api/orders/batch")
    verdicts = answer.json()["results"]
    assert [verdict["status"] for verdict in verdicts] == [202, 503]
    assert verdicts[1]["error"]["code"] == "store_unreachable"


async def test_it_recovers_by_itself(full):
    full.quote_all()
    await aside(full.run, full.ids)
    await until(lambda: batcher().backlog.depth == 0, "the backlog is read again although nobody asks")
    assert (await post(ORDER)).status_code == 202


async def test_orders_that_rest_do_not_count(few):
    await aside(few.accept, *(few.limit("9999") for _ in range(MOST * 2)))
    assert [(await post(ORDER)).status_code for _ in range(MOST)] == [202] * MOST


async def test_submitted_orders_do_not_count(few):
    few.quote_all()
    ids = await aside(few.place, MOST)
    await aside(few.carry, ids)
    assert await aside(few.statuses, ids[0]) == ["pending", "routing", "building", "submitted"]
    assert await aside(module.unsubmitted) == 0


async def test_what_comes_in_between_two_readings_counts(few, monkeypatch):
    monkeypatch.setattr(module, "READ_EVERY_S", 60)
    await known(0)
    answers = await asyncio.gather(*(post(ORDER) for _ in range(MOST * 3)))
    assert sorted(answer.status_code for answer in answers) == [202] * MOST + [503] * MOST * 2


async def test_with_redis_away_no_more_are_taken_than_may_wait(few, monkeypatch):
    def away(*_):
        raise StoreError("away")

    monkeypatch.setattr(live, "load", away)
    answers = [await post(ORDER) for _ in range(MOST * 2)]
    assert [answer.status_code for answer in answers] == [202] * MOST + [503] * MOST


async def test_orders_that_could_not_be_written_do_not_count_for_long(few, monkeypatch):
    def refuse(_):
        raise OperationalError("the database is shutting down")

    with monkeypatch.context() as broken:
        broken.setattr(intake, "insert", refuse)
        for _ in range(MOST):
            await post(ORDER)
    await known(0)
    assert (await post(ORDER)).status_code == 202


async def test_it_is_read_now_and_then_and_never_by_a_request(few, monkeypatch):
    readings = []

    def load(now):
        readings.append(now)
        return live.Load(0, 0, 0)

    monkeypatch.setattr(live, "load", load)
    monkeypatch.setattr(module, "READ_EVERY_S", 60)
    for _ in range(MOST - 1):
        assert (await post(ORDER)).status_code == 202
    await until(lambda: readings, "it is read")
    assert len(readings) == 1


async def test_zero_is_no_limit(full, settings):
    settings.ORDER_BACKLOG_MAX = 0
    assert (await post(ORDER)).status_code == 202


async def test_a_backlog_nobody_asks_for_is_not_read(few):
    backlog = Backlog(batcher().beside)
    backlog.is_full()
    await until(lambda: backlog.asked is False and backlog.reader.done(), "the reading has ended")


def test_which_orders_add_to_it(bench):
    assert adds(bench.order().order)
    assert adds(bench.limit("150", time_in_force=TimeInForce.IOC).order)
    assert not adds(bench.limit("150").order)
    assert not adds(bench.limit("150", expires_at=now_ms() + 60_000, time_in_force=TimeInForce.GTD).order)


async def test_the_batchers_own_limit_holds_for_orders_that_rest_as_well(few, monkeypatch):
    monkeypatch.setattr("orders.flow.batcher.WAITING_MAX", 0)
    with pytest.raises(Overloaded):
        await accept(few.limit("150"))
    assert redis().zcard(live.OPEN) == 0
