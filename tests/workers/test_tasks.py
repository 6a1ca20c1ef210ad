"""The workers' tasks: doors to the rooms, and the threads that live beside them."""

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import structlog
from celery import signals

from config.celery import app
from config.env import ROOT
from orders.flow import dbsync as syncing
from orders.flow import dead_letters, dispatch, execution, limits, recovery, sniping, waiting
from orders.flow.duties import Duty
from orders.flow.price_watch import PriceWatch
from orders.models import DeadLetter
from orders.operations import reconciliation, retention
from orders.stores import book
from routing import outages, polling
from routing.asking import asker
from routing.breakers import MOMENTS_MIN
from routing.models import Candle
from routing.polling import Watchdog
from routing.store import StoreError
from tests.system import eventually
from workers import dbsync, dlq, limit, order, sniper, stream

BESIDES = [order.duties, limit.duties, sniper.duties, stream.watchdog, stream.watch, stream.recording, stream.breakers]


@pytest.fixture
def calls(monkeypatch):
    """Record what the tasks call."""
    found = []
    for module, name in [
        (execution, "carry"),
        (recovery, "recover"),
        (syncing, "drain"),
        (polling, "poll"),
        (dead_letters, "keep"),
        (retention, "retire"),
        (limits, "fire"),
        (limits, "fire_or_cancel"),
        (limits, "check"),
        (waiting, "expire"),
        (reconciliation, "take"),
        (sniping, "match"),
        (sniping, "evaluate"),
    ]:
        monkeypatch.setattr(module, name, lambda *args, called=name: found.append((called, *args)))
    return found


def test_each_task_is_a_door_to_one_function(calls, monkeypatch):
    monkeypatch.setattr(dead_letters, "missing", lambda: ["lost"])
    order.execute(order_ids=["a", "b"])
    order.recover()
    dbsync.drain()
    stream.poll()
    dlq.keep(order_ids=["c"])
    dlq.keep()
    dlq.retire()
    expected = [
        ("carry", ["a", "b"]),
        ("recover",),
        ("drain", syncing.ROUND_EVERY_S),
        ("poll", book.pairs, 500),
        ("keep", ["c"]),
    ]
    assert calls == [*expected, ("keep", ["lost"]), ("retire",)]


def test_the_tasks_of_waiting_orders_are_doors_too(calls):
    limit.fire(pairs=["SOL-USDC"])
    limit.fire(order_ids=["a"])
    limit.check()
    limit.audit()
    sniper.match()
    sniper.evaluate(order_ids=["b"])
    fired = [("fire", "SOL-USDC"), ("fire_or_cancel", []), ("fire_or_cancel", ["a"])]
    assert calls == [*fired, ("check",), ("expire",), ("take",), ("match",), ("evaluate", ["b"])]


def test_a_task_bears_arguments_of_a_later_version(calls):
    order.execute(order_ids=["a"], priority=3)
    order.recover(reason="x")
    dbsync.drain(reason="x")
    stream.poll(reason="x")
    dlq.keep(order_ids=["a"], reason="x")
    sniper.evaluate(order_ids=["a"], reason="x")
    assert len(calls) == 6


def test_a_task_binds_its_name_and_id_to_every_line_it_logs(monkeypatch):
    seen = {}
    monkeypatch.setattr(syncing, "drain", lambda _: seen.update(structlog.contextvars.get_contextvars()))
    dbsync.drain.apply(task_id="t-1", throw=True)
    assert (seen["task_id"], seen["task"]) == ("t-1", dispatch.DRAIN)
    assert "task_id" not in structlog.contextvars.get_contextvars()


def test_a_dead_letter_is_kept_by_the_task_its_failure_woke(bench):
    bench.quote_all()
    (order_id,) = bench.place(amount=10**18)
    bench.run([order_id])
    assert bench.messages("dlq") == 1
    dlq.keep(order_ids=[order_id])
    assert DeadLetter.objects.filter(order_id=order_id).exists()


def consumer(*queues):
    return SimpleNamespace(app=SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=set(queues)))))


@pytest.mark.parametrize("worker", [order, limit, sniper])
def test_a_pulse_beats_beside_its_queue_and_ends_with_its_worker(monkeypatch, worker):
    queue = worker.__name__.rpartition(".")[2]
    beaten = threading.Event()
    monkeypatch.setattr(worker, f"{queue}_duties", lambda: [Duty("beat", 0.01, lambda: beaten.set() or 0)])
    worker.duties.start(sender=consumer(queue))
    assert beaten.wait(10)
    worker.duties.stop(sender=None)
    assert not any(thread.is_alive() for thread in worker.duties.thread.threads)


def test_the_watchdog_watches_beside_the_stream_queue_and_ends_with_its_worker(monkeypatch):
    monkeypatch.setattr(polling, "silent", lambda: False)
    stream.watchdog.start(sender=consumer("stream"))
    thread = stream.watchdog.thread
    assert isinstance(thread, Watchdog) and thread.is_alive()
    stream.watchdog.stop(sender=None)
    thread.join(5)
    assert not thread.is_alive()


def test_each_quote_the_stream_worker_stores_rings_for_its_pair_until_the_worker_ends(bench, monkeypatch):
    rung = []
    monkeypatch.setattr(limits, "price_changed", rung.extend)
    stream.watch.start(sender=consumer("stream"))
    answers = asker().ask(bench.pair).result(10)
    assert [answer.venue for answer in answers] == ["RAYDIUM", "METEORA"]
    eventually(lambda: rung, 10, "the price watch")
    assert set(rung) == {"SOL-USDC"}
    stream.watch.stop(sender=None)
    stream.watch.thread.join(5)
    assert not stream.watch.thread.is_alive()


def test_the_quotes_the_stream_worker_stores_are_recorded_and_those_of_its_last_second_too(bench):
    stream.recording.start(sender=consumer("stream"))
    asker().ask(bench.pair).result(10)
    stream.recording.stop(sender=None)
    assert not any(thread.is_alive() for thread in stream.recording.thread.threads)
    recorded = Candle.objects.filter(pair="SOL-USDC", seconds=1).values_list("venue", flat=True)
    assert set(recorded) == {"RAYDIUM", "METEORA", "BEST"}


def test_the_stream_worker_judges_the_venues_by_their_answers(bench):
    outages.put("METEORA", "down")
    outages.is_down.refresh()
    (duty,) = stream.judging().duties
    outages.withheld.forget()
    for _ in range(MOMENTS_MIN):
        asker().ask(bench.pair).result(10)
        eventually(lambda: not asker().direct, 5, "the question is closed")
        duty.act()
    assert outages.failing().keys() == {"METEORA"}
    outages.put("METEORA", "up")
    outages.is_down.refresh()
    outages.withheld.forget()


def test_the_price_watch_outlives_a_store_that_is_away(bench, monkeypatch):
    rung = []

    def check(pairs):
        rung.append(pairs)
        raise StoreError("away")

    monkeypatch.setattr(limits, "price_changed", check)
    watch = PriceWatch()
    watch.start()
    watch.price_changed("SOL-USDC")
    eventually(lambda: len(rung) == 1, 10, "the price watch")
    watch.price_changed("SOL-USDC")
    eventually(lambda: len(rung) == 2, 10, "the price watch again")
    watch.stop()
    watch.join(5)
    assert not watch.is_alive()


def test_every_thread_beside_a_worker_is_told_of_its_start_and_its_end(bench):
    """Celery takes receivers of one function for one, and would tell only the first."""
    for signal_, name in ((signals.worker_ready, "start"), (signals.worker_shutdown, "stop")):
        told = [receiver for _, receiver in signal_.receivers]
        assert all(getattr(beside, name) in told for beside in BESIDES)


@pytest.mark.parametrize("beside", BESIDES)
def test_other_workers_have_none_of_these(beside):
    beside.thread = None
    beside.start(sender=consumer("dbsync"))
    beside.stop(sender=None)
    assert beside.thread is None


@pytest.mark.parametrize(
    ("queue", "asked"),
    [("order", signal.SIGINT), ("order", signal.SIGTERM), ("stream", signal.SIGTERM), ("dbsync", signal.SIGINT)],
)
def test_a_worker_that_is_asked_to_stop_does_so_without_error_noise(bench, settings, queue, asked, tmp_path):
    log = tmp_path / "worker.log"
    name = settings.DATABASES["default"]["NAME"]
    address = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{name}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "config.celery", "worker", "-Q", queue, "--pool", "threads"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": address, "ENGINE_ROLE": queue, "ENGINE_LOG_FORMAT": "json"},
            stdout=out,
            stderr=out,
        )
    try:
        eventually(lambda: " ready." in log.read_text(), 30, f"the worker is ready: {log.read_text()}")
        process.send_signal(asked)
        # Celery's own answer to Ctrl-C is 1.
        assert process.wait(15) == (0 if asked == signal.SIGTERM else 1)
    finally:
        process.kill()
        process.wait()
    text = log.read_text()
    assert "Traceback" not in text and '"level": "error"' not in text, text


def test_every_worker_file_declares_tasks():
    app.loader.import_default_modules()
    prefixes = {name.partition(".")[0] for name in app.tasks if not name.startswith("celery.")}
    assert prefixes == set(dispatch.QUEUES)
