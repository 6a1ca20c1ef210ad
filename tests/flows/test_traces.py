"""Orders watched from outside, in an engine of separate processes: a whole trace each, their log lines, the metrics."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.sync.client import connect

from tests.collector import ERROR, OK, collector
from tests.deploy.test_monitoring import EXPRESSIONS, OTHERS, named
from tests.system import NO_DELAYS, eventually, is_settled, system

pytestmark = pytest.mark.system

# The price wanders while the chain takes its time; the order must put up with it.
MARKET = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "slippageBps": 2000}
HUGE = {**MARKET, "amount": "9000000000"}
LIMIT = {**MARKET, "type": "limit", "limitPrice": "1.00"}
RESTING = {**MARKET, "type": "limit", "limitPrice": "999999.00"}
CLIENT = {"trace": "0af7651916cd43dd8448eb211c80319c", "span": "b7ad6b7169203331"}
HEADERS = {"traceparent": f"00-{CLIENT['trace']}-{CLIENT['span']}-01"}
BURST = 80
STAGES = {"route", "build", "settle"}


@pytest.fixture(scope="module")
def traced():
    """A collector, and an engine that sends to it."""
    with (
        collector() as kept,
        system({**NO_DELAYS, "MOCK_LAUNCH_EVERY_S": "0", "OTEL_EXPORTER_OTLP_ENDPOINT": kept.url}) as engine,
    ):
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        yield kept, engine


@pytest.fixture(scope="module")
def orders(traced):
    """Place orders of every door and outcome; return their ids by kind once all are settled and their traces whole."""
    kept, engine = traced
    with httpx.Client(base_url=engine.url, headers=engine.headers, timeout=30) as client:

        def post(body):
            answer = client.post("/api/orders/execute", json=body, headers=HEADERS)
            assert answer.status_code == 202, answer.text
            return answer.json()["orderId"]

        with ThreadPoolExecutor(20) as crowd:
            burst = list(crowd.map(post, [MARKET] * BURST))
        batch = client.post("/api/orders/batch", json={"orders": [MARKET, MARKET]}).json()["results"]
        found = {
            "burst": burst,
            "limit": [post(LIMIT)],
            "failed": [post(HUGE)],
            "resting": [post(RESTING)],
            "batch": [one["order"]["orderId"] for one in batch],
        }
    with connect(f"{engine.ws}/api/orders/execute", additional_headers=engine.headers) as socket:
        socket.send(json.dumps(MARKET))
        found["socket"] = [json.loads(message)["orderId"] for message in socket][:1]
    ended = [order_id for kind, ids in found.items() if kind != "resting" for order_id in ids]
    eventually(is_settled(engine, len(ended)), 90, "all orders are settled")
    with httpx.Client(base_url=engine.url, headers=engine.headers, timeout=30) as client:
        # Each process sends its spans as they end: once this order's are here, nothing of the others' is due.
        found["last"] = [client.post("/api/orders/execute", json=MARKET).json()["orderId"]]
    for order_id in [*ended, *found["last"]]:
        eventually(lambda order_id=order_id: is_whole(kept.of(order_id)), 90, f"the trace of {order_id} is whole")
    eventually(lambda: kept.of(found["resting"][0]).names["archive"], 90, "the resting order is archived")
    return found


def is_whole(trace):
    """Tell whether an order's beginning, its end and its archive have come, and whatever they are part of."""
    ends = [span for span in trace.spans if span.attributes.get("order.status") in ("confirmed", "failed")]
    return bool(ends and not trace.orphans and trace.named("archive") and len(roots(trace)) == 1)


def roots(trace):
    return [span for span in trace.spans if not span.parent]


def test_each_order_has_one_trace_and_every_other_is_of_work_on_several_and_linked_to_them(traced, orders):
    kept, _ = traced
    placed = [order_id for ids in orders.values() for order_id in ids]
    own = {order_id.replace("-", "") for order_id in placed}
    assert own <= kept.traces
    batches = [span for span in kept.spans if span.wire.trace_id.hex() not in own]
    for trace_id in {span.wire.trace_id for span in batches}:
        linked = {link.trace_id.hex() for span in batches if span.wire.trace_id == trace_id for link in span.wire.links}
        strays = [f"{span.name} of {span.service}" for span in batches if span.wire.trace_id == trace_id]
        assert linked and linked <= own, strays
    for trace in map(kept.of, placed):
        assert len(roots(trace)) == 1, trace.tree()
        assert trace.orphans == []
        assert len({span.id for span in trace.spans}) == len(trace.spans), trace.tree()


def test_a_market_orders_trace_goes_from_the_post_through_every_process_to_the_archive(traced, orders):
    kept, _ = traced
    for trace in map(kept.of, orders["burst"]):
        assert {span.service for span in trace.spans} >= {"api", "order", "dbsync"}, trace.tree()
        root = trace.root
        assert (root.name, root.kind, root.service) == ("POST /api/orders/execute", "SERVER", "api")
        assert root.attributes["http.response.status_code"] == 202
        assert root.attributes["http.request.method"] == "POST"
        assert root.attributes["order.id"] == trace.order_id
        assert {name: trace.names[name] for name in STAGES} == dict.fromkeys(STAGES, 1), trace.tree()
        assert trace.names["accept"] == 1 and trace.names["archive"] >= 1


def test_orders_that_came_together_share_their_batches_work(traced, orders):
    kept, _ = traced
    sizes = [kept.of(order_id).named("accept")[0].attributes["engine.batch.orders"] for order_id in orders["burst"]]
    assert max(sizes) > 1
    (work, *_) = [span for span in kept.spans if span.name == "accept" and not span.parent]
    having = {span.wire.trace_id for span in kept.spans if work.id in {link.span_id for link in span.wire.links}}
    assert len(having) == work.attributes["engine.batch.orders"] > 1
    assert {link.trace_id for link in work.wire.links} == having


def test_the_message_leads_from_who_sent_it_to_who_worked_on_it(traced, orders):
    kept, _ = traced
    for order_id in orders["burst"]:
        around = kept.around(order_id)
        (done, *_) = [span for span in around if (span.name, span.kind) == ("process order", "CONSUMER")]
        (sent,) = [span for span in around if span.id == done.parent]
        (work,) = [span for span in around if span.id == sent.parent]
        assert (sent.name, sent.kind, sent.service, work.name) == ("publish order", "PRODUCER", "api", "accept")
        assert done.service == "order"
        for span in (sent, done):
            assert span.attributes["messaging.system"] == "celery"
            assert span.attributes["messaging.destination.name"] == "order"
        assert sent.attributes["messaging.message.id"] == done.attributes["messaging.message.id"]
        assert done.attributes["messaging.celery.waited_ms"] >= 0


def test_every_span_begins_with_or_after_its_parent_and_stages_follow_one_another(traced, orders):
    kept, _ = traced
    for trace in map(kept.of, orders["burst"]):
        for span in trace.spans:
            assert span.ended >= span.began, trace.tree()
            assert not span.parent or span.began >= trace.parent(span).began, (span.name, trace.tree())
        (route,), (build,), (settle,) = (trace.named(name) for name in ("route", "build", "settle"))
        assert route.ended == build.began and build.ended == settle.began, trace.tree()
        assert trace.root.began <= trace.named("accept")[0].began <= route.began


def test_both_stores_calls_are_there_named_by_what_they_are_for(traced, orders):
    kept, _ = traced
    calls = [span for span in kept.around(orders["burst"][0]) if "db.system.name" in span.attributes]
    named_ = {(span.attributes["db.system.name"], span.service, span.name) for span in calls}
    assert named_ >= {
        ("postgresql", "api", "INSERT orders_order"),
        ("redis", "api", "EVALSHA place"),
        ("redis", "order", "EVALSHA take"),
        ("redis", "order", "EVALSHA advance"),
        ("postgresql", "order", "INSERT orders_attempt"),
        ("postgresql", "order", "UPDATE orders_attempt"),
        ("postgresql", "dbsync", "UPDATE orders_order"),
        ("postgresql", "dbsync", "INSERT orders_orderevent"),
    }
    assert {span.kind for span in calls} == {"CLIENT"}


def test_the_stages_say_what_the_client_was_told_and_how_it_ended(traced, orders):
    kept, engine = traced
    for order_id in (orders["burst"][0], *orders["failed"]):
        told = httpx.get(f"{engine.url}/api/orders/{order_id}/events", headers=engine.headers).json()["events"]
        seen = {}
        for span in kept.of(order_id).spans:
            seen |= span.events if "order.status" in span.attributes else {}
        assert set(seen) == {event["status"] for event in told[1:]}
        for event in told[1:]:
            facts = seen[event["status"]]
            assert {"venue", "reason", "code"} & set(event) <= set(facts)
            assert all(facts[name] == event[name] for name in ("venue", "reason", "code") if name in event)
    confirmed = kept.of(orders["burst"][0]).named("settle")[0]
    assert (confirmed.attributes["order.status"], confirmed.wire.status.code) == ("confirmed", OK)
    assert confirmed.attributes["order.executedPrice"] and confirmed.attributes["order.txHash"]


def test_an_order_that_fails_says_so_in_its_last_stage_and_its_dead_letter_is_in_its_trace(traced, orders):
    kept, _ = traced
    trace = kept.of(orders["failed"][0])
    (failed,) = trace.named("route")
    assert failed.attributes["order.status"] == "failed" and failed.attributes["order.code"] == "price_impact"
    assert failed.wire.status.code == ERROR and failed.wire.status.message.startswith("price_impact: ")
    eventually(lambda: kept.of(trace.order_id).named("process dlq"), 30, "the dead letter's work is in the trace")
    (kept_letter, *_) = kept.of(trace.order_id).named("process dlq")
    assert kept.of(trace.order_id).parent(kept_letter).name == "publish dlq"


def test_a_limit_orders_wait_is_no_span_and_its_firing_hangs_below_what_placed_it(traced, orders):
    kept, _ = traced
    trace = kept.of(orders["limit"][0])
    (fired,) = trace.named("trigger")
    assert {span.service for span in trace.spans} >= {"api", "limit", "order", "dbsync"}
    assert fired.parent == trace.root.id
    assert json.loads(fired.events["triggered"]["trigger"])["venue"] in ("RAYDIUM", "METEORA")
    assert {"route", "build", "settle"} <= set(trace.names)
    assert not {"trigger", "route"} & set(kept.of(orders["resting"][0]).names)


def test_orders_of_a_batch_and_of_a_socket_begin_with_their_own_door(traced, orders):
    kept, _ = traced
    names = {kind: {kept.of(order_id).root.name for order_id in orders[kind]} for kind in ("batch", "socket")}
    assert names == {"batch": {"POST /api/orders/batch"}, "socket": {"websocket /api/orders/execute"}}
    assert len({kept.of(order_id).root.began for order_id in orders["batch"]}) == 1


def test_the_clients_own_trace_is_linked(traced, orders):
    kept, _ = traced
    (link,) = kept.of(orders["burst"][0]).root.wire.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (CLIENT["trace"], CLIENT["span"])
    assert not kept.of(orders["batch"][0]).root.wire.links


# Log lines


def lines(engine, order_id):
    """Return what an operator finds with `grep <id> logs/*.log`, by process: every line must be JSON."""
    found = {}
    for path in sorted((engine.data_dir / "logs").glob("*.log")):
        said = [json.loads(line) for line in path.read_text().splitlines() if order_id in line]
        if said:
            found[path.stem] = said
    return found


def test_an_orders_id_finds_its_lines_in_every_process(traced, orders):
    _, engine = traced
    for order_id in orders["burst"]:
        found = lines(engine, order_id)
        events = {process: [line["event"] for line in said] for process, said in found.items()}
        assert events["api"] == ["orders accepted"]
        assert events["order"][0] == "orders picked up"
        assert events["dbsync"] == ["orders saved"]
        moved = [line["status"] for line in found["order"] if line["event"] == "orders moved"]
        assert moved == ["building", "submitted", "confirmed"]
        for line in (line for said in found.values() for line in said):
            assert order_id in (line.get("order_id"), *line.get("order_ids", ())), line


def test_a_batchs_lines_carry_its_task_and_an_orders_own_lines_its_trace(traced, orders):
    _, engine = traced
    (taken, moved, *_) = lines(engine, orders["burst"][0])["order"]
    assert taken["task_id"] and taken["task_id"] == moved["task_id"]
    assert (taken["task"], taken["worker"]) == ("order.execute", "order")
    failed = lines(engine, orders["failed"][0])
    alone = [line for said in failed.values() for line in said if line.get("order_id") == orders["failed"][0]]
    assert {"try failed", "dead letter kept"} <= {line["event"] for line in alone}
    assert {line["trace_id"] for line in alone} == {orders["failed"][0].replace("-", "")}


# Metrics


def metrics(engine):
    """Return the series all processes show, by name, with the labels each was seen with."""
    found = {}
    for target in json.loads((engine.data_dir / "metrics.json").read_text()):
        part = target["labels"].get("__param_part", "")
        text = httpx.get(f"http://{target['targets'][0]}/metrics", params={"part": part} if part else {}).text
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                for suffix in {"histogram": ("_bucket", "_sum", "_count")}.get(kind, ("",)):
                    found.setdefault(name + suffix, set())
            elif not line.startswith("#"):
                name, brace, labels = line.partition("{")
                seen = {one.split("=")[0] for one in labels.rpartition("}")[0].split(",") if "=" in one}
                found.setdefault(name if brace else line.split()[0], set()).update(seen)
    return found


def test_every_metric_the_dashboard_and_the_alerts_ask_for_is_told_by_a_running_engine(traced, orders):
    _, engine = traced
    asked = set().union(*map(named, EXPRESSIONS)) - OTHERS
    eventually(lambda: not asked - metrics(engine).keys(), 40, "every metric is told")
    assert "outcome" in metrics(engine)["engine_trace_spans_total"]
    assert metrics(engine)["engine_queue_age_seconds"] == {"queue"}


# The end


def test_what_is_left_is_sent_when_the_engine_ends(traced, orders):
    kept, engine = traced
    with httpx.Client(base_url=engine.url, headers=engine.headers, timeout=30) as client:
        last = [client.post("/api/orders/execute", json=MARKET).json()["orderId"] for _ in range(10)]
    eventually(is_settled(engine, sum(map(len, orders.values())) - 1 + len(last)), 60, "the last orders are settled")
    engine.stop()
    for order_id in last:
        assert is_whole(kept.of(order_id)), kept.of(order_id).tree()
