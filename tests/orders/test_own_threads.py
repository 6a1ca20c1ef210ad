"""What acceptance runs on: threads whose connections nobody else can take, and no call hangs them."""

import asyncio
import threading
import time

import pytest
from django.db import OperationalError, connection

from orders.flow.batcher import batcher
from orders.stores.threads import Late, OwnThread, aside, threads
from tests.orders.doors import ORDER, opened, post, until


def pid():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def sleep(seconds):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])


@pytest.fixture
def own():
    return OwnThread("mine")


async def test_it_keeps_one_connection(bench, own):
    assert await own.run(5, pid) == await own.run(5, pid)


async def test_a_connection_that_the_server_has_ended_costs_no_call(bench, own):
    before = await own.run(5, pid)
    await aside(bench.sql, "SELECT pg_terminate_backend(%s, 5000)", before)
    assert await own.run(5, pid) != before


async def test_a_call_that_hangs_is_cut_off_and_the_thread_works_on(bench, own):
    before, began = await own.run(5, pid), time.monotonic()
    with pytest.raises(Late, match=r"0\.2 s"):
        await own.run(0.2, sleep, 4)
    assert await own.run(2, pid) != before
    assert time.monotonic() - began < 3


async def test_a_call_that_still_waits_for_its_turn_ends_nobody_elses(bench, own):
    first = asyncio.create_task(own.run(5, sleep, 0.5))
    await until(lambda: own.running, "the first is being run")
    with pytest.raises(Late):
        await own.run(0.1, pid)
    await first


async def test_an_error_of_the_call_is_its_callers(bench, own):
    def fails():
        raise TimeoutError("of a socket")

    with pytest.raises(TimeoutError, match="of a socket"):
        await own.run(5, fails)


@pytest.fixture
def hungry_readers(bench):
    """Have readers hold every connection of the pool, and every thread that readers share."""
    over, began = threading.Event(), threading.Semaphore(0)

    def hold():
        try:
            connection.ensure_connection()
        except OperationalError:
            return
        began.release()
        over.wait(30)
        connection.close()

    size = connection.settings_dict["OPTIONS"]["pool"]["max_size"]
    holders = [threading.Thread(target=hold) for _ in range(size - 1)]
    for holder in holders:
        holder.start()
    for _ in holders:
        assert began.acquire(timeout=10)
    for _ in range(50):
        threads().submit(over.wait, 30)
    yield
    over.set()
    for holder in holders:
        holder.join()


@pytest.mark.usefixtures("hungry_readers")
async def test_no_reader_can_keep_an_order_waiting():
    # The catalogue must be read anew as well, which plain requests do not wait for the readers' threads for.
    began = time.monotonic()
    answers = await asyncio.gather(*(post(ORDER) for _ in range(20)))
    assert [answer.status_code for answer in answers] == [202] * 20
    async with opened("/api/orders/execute") as socket:
        await socket.send(ORDER)
        # Accepted and wakened; its events are read by the readers, who are busy.
        await until(lambda: batcher().backlog.settled == 21, "the socket's order is accepted")
    assert time.monotonic() - began < 4
