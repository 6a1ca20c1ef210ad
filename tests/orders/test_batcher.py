"""Group commit: one statement for all who wait, an answer for each of them whatever happens."""

import asyncio
import gc
import threading
import weakref

import pytest
import structlog
from django.db import OperationalError

from orders import models
from orders.flow import batcher as module
from orders.flow import intake
from orders.flow.batcher import Overloaded, batcher
from orders.flow.intake import Accepted, Conflict
from orders.stores.threads import Late, aside, one_per_loop
from tests.orders.doors import ORDER, accept, post, until


class Held:
    """An intake that counts its groups and waits for a word before it writes."""

    def __init__(self, monkeypatch):
        self.groups, self.go, self.real = [], threading.Event(), intake.place
        monkeypatch.setattr(intake, "place", self.place)

    def place(self, asked):
        self.groups.append(len(asked))
        assert self.go.wait(10)
        return self.real(asked)


@pytest.fixture
def held(monkeypatch):
    """Hold the first group back so that others collect behind it."""
    held = Held(monkeypatch)
    yield held
    held.go.set()


async def test_a_client_is_answered_even_if_the_database_never_does(bench, held, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_S", 0.1)
    writing = asyncio.create_task(accept(bench.order()))
    await until(lambda: held.groups, "the first group is being written")
    waiting = asyncio.create_task(accept(bench.order()))
    for one in (writing, waiting):
        with pytest.raises(Late, match=r"0\.1 s"):
            await one
    held.go.set()
    monkeypatch.undo()
    # What becomes of the two is not known to their clients; the batcher works on.
    await accept(bench.order())


async def test_orders_that_arrive_while_one_is_written_share_the_next_group(bench, held):
    first = asyncio.create_task(accept(bench.order()))
    await until(lambda: held.groups, "the first group is being written")
    others = [asyncio.create_task(accept(bench.order())) for _ in range(20)]
    await asyncio.sleep(0)
    held.go.set()
    accepted = await asyncio.gather(first, *others)
    assert held.groups == [1, 20]
    assert len({one.order_id for one in accepted}) == 21
    assert await aside(models.Order.objects.count) == 21


async def test_no_group_is_larger_than_its_limit(bench, held, monkeypatch):
    monkeypatch.setattr(module, "GROUP_MAX", 8)
    waiting = [asyncio.create_task(accept(bench.order())) for _ in range(20)]
    held.go.set()
    await asyncio.gather(*waiting)
    assert sum(held.groups) == 20 and max(held.groups) == 8


async def test_a_conflict_reaches_its_own_client_alone(bench, held):
    first = asyncio.create_task(accept(bench.order(client_order_id="taken")))
    await until(lambda: held.groups, "the first group is being written")
    same = asyncio.create_task(accept(bench.order(client_order_id="taken")))
    other = asyncio.create_task(accept(bench.order(client_order_id="taken", amount=7)))
    fine = asyncio.create_task(accept(bench.order()))
    await asyncio.sleep(0)
    held.go.set()
    original = await first
    assert (await same).order_id == original.order_id
    with pytest.raises(Conflict) as conflict:
        await other
    assert conflict.value.order_id == original.order_id
    assert isinstance(await fine, Accepted)


async def test_a_client_that_leaves_while_it_waits_has_placed_no_order_and_harms_nobody(bench, held):
    first = asyncio.create_task(accept(bench.order()))
    await until(lambda: held.groups, "the first group is being written")
    gone, stays = (asyncio.create_task(accept(bench.order())) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    held.go.set()
    await asyncio.gather(first, stays)
    assert held.groups == [1, 1]
    assert await aside(models.Order.objects.count) == 2


async def test_a_client_that_leaves_while_its_order_is_written_harms_nobody(bench, held):
    gone, stays = (asyncio.create_task(accept(bench.order())) for _ in range(2))
    await until(lambda: held.groups, "the group is being written")
    gone.cancel()
    held.go.set()
    assert isinstance(await stays, Accepted)


async def test_a_failing_database_answers_every_waiter_with_503_and_the_batcher_works_on(bench, monkeypatch):
    def refuse(_):
        raise OperationalError("the database is shutting down")

    with monkeypatch.context() as broken:
        broken.setattr(intake, "insert", refuse)
        answers = await asyncio.gather(*(post(ORDER) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["error"]["code"] for answer in answers} == {"store_unreachable"}
    assert (await post(ORDER)).status_code == 202


async def test_a_defect_in_a_group_is_answered_too_and_the_batcher_works_on(bench, monkeypatch):
    def defect(_):
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(intake, "insert", defect)
        answer = await post(ORDER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert (await post(ORDER)).status_code == 202


async def test_a_writer_that_was_cancelled_is_replaced(bench, held):
    lost = asyncio.create_task(accept(bench.order()))
    await until(lambda: held.groups, "the group is being written")
    batcher().writer.cancel()
    await asyncio.gather(batcher().writer, return_exceptions=True)
    held.go.set()
    assert isinstance(await asyncio.wait_for(accept(bench.order()), 10), Accepted)
    lost.cancel()


async def test_past_its_limit_the_batcher_says_it_is_overloaded(bench, held, monkeypatch):
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    first = asyncio.create_task(accept(bench.order()))
    await until(lambda: held.groups, "the first group is being written")
    waiting = [asyncio.create_task(accept(bench.order())) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await accept(bench.order())
    answer = await post(ORDER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    held.go.set()
    await asyncio.gather(first, *waiting)
    assert (await post(ORDER)).status_code == 202


async def test_refusals_leave_nothing_for_the_collector(bench, held, monkeypatch):
    monkeypatch.setattr(module, "WAITING_MAX", 0)
    await post(ORDER)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            assert (await post(ORDER)).json()["error"]["code"] == "overloaded"
        assert not [one for one in gc.get_objects() if isinstance(one, Overloaded)]
    finally:
        gc.enable()


def test_each_event_loop_has_its_own_and_a_closed_loop_is_forgotten():
    class Thing:
        """Whatever belongs to one loop."""

    thing = one_per_loop(Thing)

    async def made():
        assert thing() is thing()
        return weakref.ref(thing()), weakref.ref(asyncio.get_running_loop())

    first = asyncio.run(made())
    second = asyncio.run(made())
    gc.collect()
    assert [ref() for ref in first] == [None, None]
    assert second[0]() is not None


async def test_blocking_work_keeps_the_log_context(bench):
    with structlog.contextvars.bound_contextvars(order_id="o-1"):
        assert (await aside(structlog.contextvars.get_contextvars))["order_id"] == "o-1"
