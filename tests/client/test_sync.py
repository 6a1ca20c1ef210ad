"""The client that waits: the methods of the asynchronous one in plain calls and loops, from any thread."""

import asyncio
import inspect
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from decimal import Decimal

import pytest

from config.env import ROOT
from orders.client import (
    Backoff,
    Cancelled,
    Client,
    Confirmed,
    LimitOrder,
    MarketOrder,
    Reached,
    Refused,
    SyncClient,
    Unfinished,
    Unreachable,
)
from orders.sockets import accounts
from orders.stores.threads import aside
from tests.client.forgetful import HOLD, ID, RESTARTING, SEEN, Cut, End, Forgetful, Scripted, served
from tests.client.misbehaving import LOSE
from tests.client.test_client import STAGES, WITHIN_S, in_postgres
from tests.orders.doors import until

SELL = MarketOrder(token_in="SOL", token_out="USDC", amount=Decimal("1.5"))
REST = LimitOrder(token_in="SOL", token_out="USDC", amount=2, limit_price="1000")
QUICK = Backoff(0.01, 0.05)


@pytest.fixture
def server():
    with served() as running:
        yield running


async def used(way, work):
    """Do some work with a client, as a program without an event loop does."""

    def run():
        with SyncClient(way.url, backoff=QUICK) as client:
            return work(client)

    return await asyncio.to_thread(run)


def test_it_has_every_method_of_the_asynchronous_client():
    def methods(kind):
        return {name for name, one in vars(kind).items() if inspect.isfunction(one) and not name.startswith("_")}

    assert methods(SyncClient) == methods(Client)
    for name in methods(Client):
        assert inspect.signature(getattr(SyncClient, name)) == inspect.signature(getattr(Client, name))
    assert inspect.signature(SyncClient) == inspect.signature(Client)


async def test_an_order_is_executed_in_a_plain_loop_over_connections_that_break(way, bench):
    await aside(bench.quote_all)
    way.posts.append(LOSE)
    way.sockets.extend([(2, None), (1, 1012)])
    loop = asyncio.get_running_loop()

    def work(client):
        told = []
        for event in client.execute(SELL, within_s=WITHIN_S):
            told.append(event)
            if event.seq == 1:
                asyncio.run_coroutine_threadsafe(aside(bench.run, [event.order_id]), loop).result()
        return told

    told = await used(way, work)
    assert [event.status for event in told] == STAGES and [event.seq for event in told] == [1, 2, 3, 4, 5]
    assert isinstance(told[-1], Confirmed)
    # The same name under each try is one order.
    assert (len(way.posted), await in_postgres()) == (2, 1)
    assert len({body["clientOrderId"] for body in way.posted}) == 1


async def test_an_order_is_placed_shown_amended_and_cancelled(way, bench):
    await aside(bench.quote_all)

    def work(client):
        assert client.estimate(REST).problem is None
        assert "SOL-USDC" in {pair.pair for pair in client.pairs()}
        placed = client.place(REST)
        changed = client.amend(client.order(placed), limit_price="1001.5")
        with pytest.raises(Refused) as overtaken:
            client.amend(placed, 1, limit_price=999)
        assert overtaken.value.code == "changed"
        assert client.cancel(placed).status == "cancelled"
        *_, last = client.follow(placed)
        assert isinstance(last, Cancelled)
        return changed, [order.order_id for order in client.orders(type="limit")], placed

    changed, listed, placed = await used(way, work)
    assert (changed.limit_price, changed.seq) == (Decimal("1001.5"), 2)
    assert listed == [placed.order_id]


async def test_all_orders_are_followed_and_the_loop_may_be_left(way, bench, monkeypatch):
    monkeypatch.setattr(accounts, "LOOK_EVERY_S", 0.02)

    def work(client):
        heard = []
        for message in client.follow_all(within_s=WITHIN_S):
            if isinstance(message, Reached) and not heard:
                heard.append(client.place(REST).order_id)
            elif not isinstance(message, Reached):
                return heard[0], message.order_id, message.seq
        raise AssertionError("it ended")

    first, heard, seq = await used(way, work)
    assert (first, seq) == (heard, 1)


def test_it_works_beside_a_running_event_loop(server):
    server.engine = Forgetful(deque([*SEEN, Cut(RESTARTING), End()]))

    async def program():
        with SyncClient(server.url, backoff=QUICK) as client:
            return [event.seq for event in client.follow(ID, within_s=WITHIN_S)]

    assert asyncio.run(program()) == [1, 2, 3, 4]


def threads():
    return [one for one in threading.enumerate() if one.name == "order-engine-client"]


def test_a_loop_that_is_left_closes_its_socket_and_closing_ends_the_thread(server):
    server.engine = Forgetful(deque([*SEEN]))
    with SyncClient(server.url) as client:
        for event in client.follow(ID, within_s=WITHIN_S):
            if event.seq == 2:
                break
        assert event.seq == 2 and len(threads()) == 1
        going = client.follow(ID, within_s=WITHIN_S)
        assert next(going).seq == 1
    assert threads() == []
    with pytest.raises(RuntimeError, match="the client is closed"):
        next(going)
    with pytest.raises(RuntimeError, match="within `with"):
        client.order(ID)


async def test_closing_ends_what_waits_in_another_thread(server):
    server.engine = Scripted([[HOLD]])
    reason = []

    def wait(client):
        try:
            for _ in client.follow(ID):
                raise AssertionError("nothing comes")
        except RuntimeError as closed:
            reason.append(str(closed))

    with SyncClient(server.url) as client:
        waiting = threading.Thread(target=wait, args=[client])
        waiting.start()
        await until(lambda: server.open, "it waits")
    waiting.join(WITHIN_S)
    assert reason == ["the client is closed"]
    await until(lambda: not server.open, "the socket is closed")


def test_what_the_asynchronous_client_raises_is_raised(server):
    server.engine = Scripted([[HOLD]])
    with SyncClient(server.url, patience_s=0) as client, pytest.raises(Unfinished):
        list(client.follow(ID, within_s=0.2))
    with SyncClient("http://127.0.0.1:1", patience_s=0) as client, pytest.raises(Unreachable):
        client.place(SELL)
    with SyncClient(server.url) as client, pytest.raises(TypeError, match="required positional"):
        client.place()
    with pytest.raises(Unreachable), SyncClient("http://[::1"):
        pass
    assert threads() == []


def test_a_callback_that_would_wait_for_its_own_thread_is_told(server):
    server.engine = Scripted([[RESTARTING]])
    told = []

    def away(_):
        try:
            client.order(ID)
        except RuntimeError as reason:
            told.append(str(reason))

    with SyncClient(server.url, backoff=Backoff(0.001, 0.002)) as client, pytest.raises(Unfinished):
        list(client.follow(ID, within_s=1.0, away=away))
    assert told == ["a callback of the client cannot use the client"]


INTERRUPTED = f"""
import signal, sys, threading
from orders.client import SyncClient
# Background jobs of a shell are started with it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with SyncClient(sys.argv[1]) as client:
    try:
        for event in client.follow({ID!r}):
            print(event.seq, flush=True)
    except KeyboardInterrupt:
        print("interrupted")
print(sum(one.name == "order-engine-client" for one in threading.enumerate()))
"""


def test_ctrl_c_ends_a_loop_that_waits_and_the_client_closes(server):
    server.engine = Scripted([[Forgetful().history[0], HOLD]])
    command = [sys.executable, "-c", INTERRUPTED, server.url]
    program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert program.stdout.readline() == "1\n"
        program.send_signal(signal.SIGINT)
        shown, wrong = program.communicate(timeout=WITHIN_S)
    finally:
        program.kill()
    assert (shown.split(), wrong, program.returncode) == (["interrupted", "0"], "", 0)


TYPED = """
from collections.abc import Generator
from typing import assert_type
from orders.client import Event, MarketOrder, Order, Pair, Placed, Rewound, SyncClient

with SyncClient(api_key="key") as client:
    placed = client.place(MarketOrder(token_in="SOL", token_out="USDC", amount=1))
    assert_type(placed, Placed)
    assert_type(client.amend(placed, 1, limit_price=2), Order)
    assert_type(client.pairs(), tuple[Pair, ...])
    assert_type(client.orders(type="limit"), Generator[Order, None, None])
    for told in client.follow(placed, within_s=3.0):
        assert_type(told, Event | Rewound)
    client.place("an order")
    client.follow(placed, within=3.0)
"""


def test_a_program_that_uses_it_is_type_checked(tmp_path):
    (tmp_path / "program.py").write_text(TYPED)
    mypy = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*mypy, str(tmp_path / "program.py")],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"program\.py:(\d+): error: .* \[([a-z-]+)\]", done.stdout)
    assert found == [("14", "arg-type"), ("15", "call-arg")], done.stdout + done.stderr
