"""What becomes of a span: hooks that cost nothing when off, traces that stay whole, a collector nobody waits for."""

import socket
import subprocess
import sys
import threading
import time
from uuid import UUID, uuid4

import pytest
from celery import signals
from celery.app.task import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export import SpanExportResult

from config import asgi
from config.env import ROOT as REPOSITORY
from engine.lifecycle import Status
from orders.flow import dead_letters, execution, intake, limits, recovery, settlement, waiting
from orders.stores.ids import new_id
from orders.telemetry import metrics, otlp, traces
from orders.telemetry.traces import calls, doors, spans, stages
from routing import wiring
from routing.store import redis
from tests.collector import ERROR, Collector, collector
from tests.orders.doors import post
from tests.system import eventually
from workers import base

ORDER = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}


def reset():
    for known in (spans.sdk, spans.is_set_up):
        known.cache_clear()


@pytest.fixture
def kept(bench, settings, monkeypatch):
    """Trace into this process's memory, by way of what a collector would be sent."""
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:1"
    made = Collector("")
    monkeypatch.setattr(otlp.Sender, "send", lambda _, span: made.take(encode_spans([span]).SerializeToString()))
    stages.begun.clear()
    reset()
    yield made
    traces.flush()
    reset()


def worked(ids):
    """Do what the order worker does with a message about these orders, once somebody has sent it."""
    task_id = str(uuid4())
    with traces.publishing("order.execute", task_id, ids) as headers:
        pass
    with traces.processing("order.execute", Context(headers or {}, id=task_id), ids, 3):
        execution.carry(ids)


def looked():
    """Do what the order worker's duty does."""
    with traces.work("look"):
        settlement.look()


# Off


def test_without_a_collector_nothing_that_makes_or_sends_spans_is_imported():
    script = """
import sys, django
django.setup()
import config.asgi, config.celery
config.celery.app.loader.import_default_modules()
from orders.telemetry import traces
with traces.work("accept", ["a"]), traces.processing("order.execute", None, ["a"], None):
    with traces.publishing("t", "t", ["a"]):
        traces.accepted([("a", traces.door(), None)])
        traces.moved([None])
traces.flush()
# redis-py imports the half of it that is for metrics wherever it finds it installed.
ours = ("orders.telemetry.otlp", "opentelemetry.sdk.trace", "opentelemetry.exporter", "opentelemetry.proto")
print(sorted(name for name in sys.modules if name.startswith(ours)))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1:] == ["[]"], done.stdout + done.stderr


async def test_without_a_collector_an_order_makes_no_span(bench):
    reset()
    assert (await post(ORDER)).status_code == 202
    assert spans.sdk.cache_info().currsize == 0
    nothing = (
        traces.work("look"),
        traces.call("send", {}),
        traces.statement("SELECT 1"),
        traces.publishing("a", "b", ["c"]),
    )
    assert {id(one) for one in nothing} == {id(spans.NOTHING)}


# Whole traces


def test_every_try_of_an_order_is_a_stage_with_what_went_wrong(bench, kept, settings):
    settings.MOCK_REJECT_RATE = 1.0
    wiring.chain.cache_clear()
    bench.quote_all()
    (order_id,) = bench.place()
    for _ in range(3):
        worked([order_id])
        looked()
        bench.pass_time(order_id, 60_000)
    trace = kept.of(order_id)
    assert trace.orphans == [] and trace.names["build"] == 3
    settled = trace.named("settle")
    assert [span.attributes["order.attempt"] for span in settled] == [1, 2, 3]
    assert [span.attributes["order.status"] for span in settled] == ["routing", "routing", "failed"]
    assert all(span.wire.status.code == ERROR for span in settled)
    assert all(span.wire.status.message.startswith("program_error: ") for span in settled)
    assert '"code":"program_error"' in settled[0].events["routing"]["retry"]
    # What an order waits for its next try is no work of anybody's.
    assert [span.began for span in trace.named("route")] == [span.began for span in trace.named("process order")]


def test_an_order_whose_venues_are_asked_goes_on_within_the_work_that_asked(bench, kept):
    (order_id,) = bench.place()
    worked([order_id])
    eventually(lambda: kept.of(order_id).named("resume"), 30, "the venues have answered")
    trace = kept.of(order_id)
    (work,), (resumed,), (route,) = (trace.named(name) for name in ("process order", "resume", "route"))
    assert resumed.parent == work.id and work.parent in {span.id for span in trace.named("publish order")}
    assert route.began == work.began and route.ended > work.ended
    assert resumed.began < trace.named("build")[0].began < resumed.ended


def test_a_stage_that_another_process_began_is_told_by_who_ends_it(bench, kept):
    bench.quote_all()
    (order_id,) = bench.place()
    worked([order_id])
    stages.begun.clear()
    looked()
    trace = kept.of(order_id)
    (settle,), (look,) = trace.named("settle"), trace.named("look")
    assert (settle.began, settle.parent, look.parent) == (look.began, trace.root.id, trace.root.id)
    assert trace.orphans == []


async def test_an_order_keeps_its_trace_when_redis_has_lost_everything(bench, kept):
    order_id = (await post(ORDER)).json()["orderId"]
    await traced_to_the_end(bench, order_id)
    trace = kept.of(order_id)
    assert trace.orphans == [] and trace.root.name == "POST /api/orders/execute"
    assert {"accept", "route", "build", "settle", "archive"} <= set(trace.names)
    placed = trace.root.wire.trace_id
    batches = [span for span in kept.spans if span.wire.trace_id != placed and not span.parent]
    assert batches and all({link.trace_id for link in span.wire.links} == {placed} for span in batches)


async def traced_to_the_end(bench, order_id):
    from orders.stores.threads import aside

    def go():
        redis().flushdb()
        recovery.recover()
        bench.quote_all()
        worked([order_id])
        redis().flushdb()
        recovery.recover()
        eventually(lambda: settlement.audit() or bench.statuses(order_id)[-1:] == ["confirmed"], 30, "it is settled")
        bench.archive()

    await aside(go)


def test_a_limit_order_that_fires_in_vain_tells_both_and_its_rest_is_no_span(bench, kept):
    for venue in ("RAYDIUM", "METEORA"):
        bench.price("800", venue=venue)
    (order_id,) = bench.accept(bench.limit("799"))
    limits.check()
    for venue in ("RAYDIUM", "METEORA"):
        bench.price("700", venue=venue)
    worked([order_id])
    trace = kept.of(order_id)
    (fired,), (route,) = trace.named("trigger"), trace.named("route")
    assert fired.parent == trace.root.id
    assert (route.attributes["order.status"], route.wire.status.code) == ("pending", ERROR)
    assert route.wire.status.message.startswith("price_gone: ")
    assert trace.orphans == []


def test_what_ends_a_waiting_order_is_named_for_what_it_is(bench, kept):
    (order_id,) = bench.accept(bench.limit("900"))
    waiting.cancel(order_id)
    (cancelled,) = kept.of(order_id).named("cancel")
    assert cancelled.attributes["order.reason"] == "cancelled by the client"
    assert cancelled.events == {"cancelled": {"kind": "cancelled", "reason": "cancelled by the client"}}


def test_a_replay_is_linked_to_the_order_it_replays(bench, kept, settings):
    settings.MOCK_REJECT_RATE = 1.0
    settings.MAX_ATTEMPTS = 1
    wiring.chain.cache_clear()
    bench.quote_all()
    (dead,) = bench.place()
    bench.run([dead])
    dead_letters.keep([dead])
    bench.archive()
    again = dead_letters.replay(dead, by="somebody").order_id
    root = kept.of(again).root
    assert root.name == "replay"
    assert [(link.trace_id, link.span_id) for link in root.wire.links] == [
        (kept.of(dead).root.wire.trace_id, kept.of(dead).root.id)
    ]


def test_a_work_names_only_so_many_calls_and_counts_the_rest(bench, kept):
    (order_id,) = bench.place()
    with traces.work("look", [order_id]):
        for _ in range(spans.CALLS_MAX + 5):
            redis().ping()
    trace = kept.of(order_id)
    assert trace.names["PING test_a_work_names_only_so_many_calls_and_counts_the_rest"] == 0
    (look,) = trace.named("look")
    assert sum(span.parent == look.id for span in trace.spans) == spans.CALLS_MAX
    assert look.attributes["engine.calls_left_out"] == 5


def test_a_work_that_breaks_off_says_why(bench, kept):
    ids = bench.place(2)
    for about in (ids[:1], ids):
        with pytest.raises(ZeroDivisionError), traces.work("look", about):
            raise ZeroDivisionError("no shares")
    looks = [span for span in kept.spans if span.name == "look"]
    assert len(looks) == 1 + 1 + len(ids)
    for look in looks:
        assert (look.wire.status.code, look.wire.status.message) == (ERROR, "ZeroDivisionError: no shares")


# Doors


async def test_orders_of_one_group_have_the_requests_they_came_through(bench, kept):
    import asyncio

    answers = await asyncio.gather(*(post(ORDER, traceparent=f"00-{n:032x}-{n:016x}-01") for n in range(1, 9)))
    ids = [answer.json()["orderId"] for answer in answers]
    for number, order_id in enumerate(ids, 1):
        (link,) = kept.of(order_id).root.wire.links
        assert int.from_bytes(link.trace_id) == int.from_bytes(link.span_id) == number


async def test_a_request_that_names_an_order_again_adds_nothing_to_its_trace(bench, kept):
    order_id = (await post({**ORDER, "clientOrderId": "k-1"})).json()["orderId"]
    before = len(kept.spans)
    assert (await post({**ORDER, "clientOrderId": "k-1"})).json()["orderId"] == order_id
    assert len(kept.spans) == before and len(kept.traces) == 1


def test_an_order_whose_client_has_gone_has_its_root_all_the_same(bench, kept):
    here = doors.Door("POST /api/orders/execute", {})
    here.answer(None)
    asked = bench.order()
    intake.accept([intake.NewOrder(asked.order, door=here)])
    root = kept.of(asked.order.id).root
    assert (root.name, root.wire.status.message) == ("POST /api/orders/execute", "the client had no answer")
    assert kept.of(asked.order.id).orphans == []


GOOD = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("sent", "linked"),
    [
        (GOOD, True),
        (GOOD.replace(b"00-", b"cc-", 1) + b"-more", True),
        (GOOD.upper(), False),
        (b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01", False),
        (b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01", False),
        (GOOD[:-3], False),
        (b"\xff" * 55, False),
        (b"", False),
    ],
)
def test_a_clients_span_is_linked_if_it_is_named_as_the_standard_says(sent, linked):
    found = doors.sent_by([(b"host", b"x"), (b"traceparent", sent)])
    named = [(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)] if linked else []
    assert [(link.context.trace_id, link.context.span_id) for link in found] == named


# Names and shares


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("\n INSERT INTO orders_order (id) SELECT id FROM json_to_recordset(%s) AS o(id uuid)", "INSERT orders_order"),
        ("WITH a AS (SELECT * FROM orders_order) INSERT INTO orders_attempt SELECT 1", "INSERT orders_attempt"),
        ("UPDATE orders_order o SET x = 1 FROM json_to_recordset(%s) AS v(id uuid)", "UPDATE orders_order"),
        ("SELECT id FROM orders_order WHERE id = ANY(%s)", "SELECT orders_order"),
        ("SELECT 1", "SELECT"),
    ],
)
def test_a_statement_is_named_by_what_it_does_to_what(sql, name):
    assert calls.summary(sql) == name


def test_a_share_of_the_orders_is_traced_and_in_every_process_the_same(settings):
    ids = [new_id() for _ in range(4_000)]
    chosen = {}
    for share in (0.0, 0.1, 0.25, 1.0):
        settings.OTEL_TRACES_SAMPLER_ARG = share
        chosen[share] = {order_id for order_id in ids if spans.is_chosen(order_id)}
    assert (chosen[0.0], chosen[1.0]) == (set(), set(ids))
    assert chosen[0.1] < chosen[0.25]
    assert 800 < len(chosen[0.25]) < 1_200


def test_an_order_that_is_not_chosen_makes_no_span(bench, kept, settings):
    settings.OTEL_TRACES_SAMPLER_ARG = 0.0
    bench.quote_all()
    ids = bench.place(3)
    worked(ids)
    looked()
    bench.archive()
    assert [bench.statuses(order_id)[-1] for order_id in ids] == ["confirmed"] * 3
    assert kept.spans == []


def test_every_status_an_order_can_be_in_has_a_name_for_what_is_done_with_it():
    moving = set(Status) - {Status.CONFIRMED, Status.FAILED, Status.CANCELLED, Status.EXPIRED}
    assert set(stages.STAGES) == moving


# Sending


def count(outcome):
    return metrics.PROCESS.get_sample_value("engine_trace_spans_total", {"outcome": outcome}) or 0


@pytest.fixture
def to(settings):
    """Set up the SDK to send to an address; it ends with the test."""
    made = []

    def make(url):
        settings.OTEL_EXPORTER_OTLP_ENDPOINT = url
        reset()
        made.append(spans.sdk())
        return made[-1]

    yield make
    for one in made:
        one.stop()
    reset()


def test_what_is_made_arrives_whole_and_the_end_waits_for_what_is_left(to, monkeypatch):
    monkeypatch.setattr(otlp, "EVERY_S", 3600)
    ids, before = [str(uuid4()), str(uuid4())], count("sent")
    with collector() as kept:
        to(kept.url)
        traces.accepted([(ids[0], doors.Door("POST", {}, answered=True, status=202), None)])
        with traces.work("carry", ids):
            pass
        assert kept.spans == []
        traces.flush()
        assert count("sent") == before + 4 == before + len(kept.spans)
    root, (batch,) = kept.of(ids[0]).root, [span for span in kept.spans if span.name == "carry" and not span.parent]
    assert (root.id, root.attributes["order.id"]) == (UUID(ids[0]).bytes[8:], ids[0])
    assert {link.span_id for link in batch.wire.links} == {UUID(order_id).bytes[8:] for order_id in ids}
    for order_id in ids:
        (part,) = kept.of(order_id).named("carry")
        assert (part.parent, part.wire.links[0].span_id) == (UUID(order_id).bytes[8:], batch.id)


def test_work_that_turns_out_to_concern_no_order_is_not_sent(kept):
    with traces.work("look"), traces.work("sweep"):
        redis().ping()
    assert kept.spans == []


def test_a_message_continues_the_trace_of_work_on_orders_and_of_no_other(kept):
    with traces.work("look"):
        with traces.publishing("limit.fire", str(uuid4()), ()) as headers:
            assert headers == {}
        with traces.publishing("order.execute", str(uuid4()), [str(uuid4())]) as headers:
            assert headers["traceparent"]
    (sent,) = [span for span in kept.spans if span.name == "publish order"]
    assert headers["traceparent"].split("-")[1:3] == [sent.wire.trace_id.hex(), sent.id.hex()]


def test_more_than_may_wait_is_dropped_counted_and_said_once(to, monkeypatch, caplog):
    monkeypatch.setattr(otlp, "WAITING_MAX", 4)
    monkeypatch.setattr(otlp, "BATCH", 4)
    monkeypatch.setattr(otlp.Exporter, "export", lambda *_: SpanExportResult.SUCCESS)
    sdk, before = to("http://me:hunter2@127.0.0.1:1/otlp?token=hunter2"), count("dropped")
    for _ in range(10):
        sdk.tracer.start_span("work").end()
    assert count("dropped") == before + 6
    assert [record.message.count("spans dropped") for record in caplog.records] == [1]
    assert "http://127.0.0.1:1/otlp" in caplog.text and "hunter2" not in caplog.text


def test_a_batch_of_many_orders_goes_out_in_requests_of_a_bounded_size(to, monkeypatch):
    monkeypatch.setattr(otlp, "BATCH", 10)
    with collector() as kept:
        sdk = to(kept.url)
        for _ in range(24):
            sdk.tracer.start_span("work").end()
        traces.flush()
        assert (kept.requests, len(kept.spans), sdk.sender.exporter.waiting) == (3, 24, 0)


@pytest.fixture(params=["closed", "refusing", "hanging"])
def bad_collector(request):
    """The address of a collector that does not take spans."""
    if request.param == "closed":
        yield "http://127.0.0.1:1"
    elif request.param == "refusing":
        with collector() as kept:
            kept.refuse = True
            yield kept.url
    else:
        # It takes connections, and never says a word.
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_collector_that_does_not_take_spans_costs_spans_and_no_order(bench, to, bad_collector, monkeypatch):
    monkeypatch.setattr(otlp, "ANSWER_WITHIN_S", 0.2)
    to(bad_collector)
    before = count("dropped")
    bench.quote_all()
    ids = bench.place(20)
    worked(ids)
    looked()
    assert [bench.statuses(order_id)[-1] for order_id in ids] == ["confirmed"] * 20
    eventually(lambda: count("dropped") > before, 30, "spans are given up")


def test_the_end_does_not_wait_for_a_collector_that_hangs(to, monkeypatch):
    monkeypatch.setattr(otlp, "ANSWER_WITHIN_S", 60)
    monkeypatch.setattr(otlp, "ENDS_WITHIN_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        sdk = to(f"http://127.0.0.1:{server.getsockname()[1]}")
        sdk.tracer.start_span("work").end()
        peer, _ = server.accept()
        began = time.monotonic()
        traces.flush()
        assert time.monotonic() - began < 20
        peer.close()


def test_a_wrong_variable_of_opentelemetrys_is_said_and_fails_no_order(bench, settings, monkeypatch, caplog):
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:1"
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "many")
    reset()
    bench.quote_all()
    (order_id,) = bench.place()
    worked([order_id])
    looked()
    reset()
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert any("orders not traced" in record.message for record in caplog.records)


async def test_the_server_sends_what_is_left_when_it_ends(monkeypatch):
    flushed, sent = threading.Event(), []
    monkeypatch.setattr(traces, "flush", flushed.set)
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive():
        assert not flushed.is_set()
        return messages.pop(0)

    async def send(message):
        sent.append((message["type"], flushed.is_set()))

    await asgi.application({"type": "lifespan"}, receive, send)
    assert sent == [("lifespan.startup.complete", False), ("lifespan.shutdown.complete", True)]


def test_a_worker_sends_what_is_left_after_everything_else_has_ended(monkeypatch):
    ended = []
    monkeypatch.setattr(traces, "flush", lambda **_: ended.append("flush"))
    monkeypatch.setattr(signals.worker_shutdown, "receivers", [])
    signals.worker_shutdown.connect(lambda **_: ended.append("pulse"), weak=False)
    base.flush_at_the_end()
    signals.worker_shutdown.send(sender=None)
    assert ended == ["pulse", "flush"]
