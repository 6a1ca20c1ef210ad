"""What is counted: as much as happened, counted here in another way; and what that costs an order."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.event_kinds import Building, Routing
from engine.lifecycle import Status
from engine.market import EventKind, MarketEvent
from engine.orders import OrderType, TimeInForce
from engine.triggers import Condition, Kind
from orders.flow import dead_letters, limits, sniping, waiting
from orders.operations import reconciliation, scrape
from orders.stores import event_codec, live
from orders.telemetry import metrics
from orders.telemetry.metrics import PROCESS, Stopwatch
from routing import tape, wiring
from routing.store import now_ms, redis
from tests.orders.doors import opened, until
from tests.orders.sniping import list_token, new_mint

SECOND = timedelta(seconds=1)


class Counts:
    """What this process counts from now on."""

    def __init__(self):
        self.before = self.read()

    def read(self):
        return {(s.name, frozenset(s.labels.items())): s.value for f in PROCESS.collect() for s in f.samples}

    def since(self):
        """Return what was added, by series, leaving out what stands still."""
        added = {series: value - self.before.get(series, 0) for series, value in self.read().items()}
        return {series: value for series, value in added.items() if value}

    def of(self, name, *labels):
        """Return what was added to one metric, by the values of these labels."""
        found = {tuple(dict(s)[label] for label in labels): v for (n, s), v in self.since().items() if n == name}
        return {values[0] if len(values) == 1 else values: value for values, value in found.items()}


@pytest.fixture
def counts(bench):
    """Count from an engine that has done nothing yet."""
    return Counts()


@pytest.fixture
def a_lively_day(bench, settings, counts):
    """Every kind of order, and every end there is."""
    bench.quote_all()
    bench.run(bench.place(5))
    bench.run(bench.place(amount=1))
    (withdrawn,) = bench.place()
    waiting.cancel(withdrawn)
    limit_orders(bench)
    sniper_orders(bench)
    bench.quote_all()
    settings.MOCK_REJECT_RATE = 1.0
    wiring.chain.cache_clear()
    rejected = bench.place(2)
    for _ in range(3):
        bench.run(rejected)
        for order_id in rejected:
            bench.pass_time(order_id, 60_000)
    bench.archive()
    bench.archive()


def limit_orders(bench):
    """Limit orders that rest, fire, fire in vain, change, and end unfilled."""
    bench.quote_all()
    filled, _, cancelled, amended = bench.accept(*(bench.limit(p) for p in ("100", "900", "901", "902")))
    limits.check()
    bench.run([filled])
    waiting.cancel(cancelled)
    waiting.amend(amended, 1, {"limit_price": Decimal("903")})
    (impatient,) = bench.accept(bench.limit("904", time_in_force=TimeInForce.IOC))
    limits.fire_or_cancel([impatient])
    (late,) = bench.accept(bench.limit("905", expires_at=now_ms() + 1))
    while now_ms() <= bench.row(late).expires_at.timestamp() * 1000 + 1:
        pass
    waiting.expire()
    for venue in ("RAYDIUM", "METEORA"):
        bench.price("800", venue=venue)
    (vain,) = bench.accept(bench.limit("799"))
    limits.check()
    for venue in ("RAYDIUM", "METEORA"):
        bench.price("700", venue=venue)
    bench.run([vain])


def sniper_orders(bench):
    """A sniper order that fires, and one that a token check refuses."""
    safe, unsafe = new_mint(), new_mint()
    list_token(safe, "SAFE1")
    list_token(unsafe, "UNSAFE1", mint_authority="somebody")
    bench.accept(*(bench.snipe(mint, Condition(Kind.LAUNCH)) for mint in (safe, unsafe)))
    tape.publish([MarketEvent(mint, EventKind.POOL, mint, "RAYDIUM", 5_000_000, now_ms()) for mint in (safe, unsafe)])
    sniping.match()


def told(bench, what, where="true"):
    """Count events in the archive."""
    rows = bench.sql(
        f"SELECT {what}, count(*) FROM orders_orderevent e JOIN orders_order o ON o.id = e.order_id"
        f" WHERE {where} GROUP BY {what}"
    )
    return {row[0] if len(row) == 2 else tuple(row[:-1]): row[-1] for row in rows}


def test_what_is_counted_is_what_happened(bench, counts, a_lively_day):
    assert counts.of("engine_orders_accepted_total", "type") == told(bench, "o.type", "e.seq = 1")
    steps = told(bench, "o.type, e.status", "e.seq > 1")
    assert counts.of("engine_orders_total", "type", "status") == steps
    ends = {"confirmed", "failed", "cancelled", "expired"}
    assert ends < {status for _, status in steps} and {kind for kind, _ in steps} == set(OrderType)


def test_venues_codes_and_triggers_are_counted_as_the_events_state_them(bench, counts, a_lively_day):
    venue = "e.facts->>'venue'"
    assert counts.of("engine_fills_total", "venue") == told(bench, venue, "e.status = 'confirmed'")
    routed = told(bench, venue, "e.status = 'routing' AND NOT e.facts ? 'retry'")
    assert counts.of("engine_routes_total", "venue") == routed
    retries = told(bench, "e.facts->'retry'->>'code'", "e.facts ? 'retry'")
    assert counts.of("engine_retries_total", "code") == retries == {"program_error": 4}
    returns = told(bench, "e.facts->'returned'->>'code'", "e.facts ? 'returned'")
    assert counts.of("engine_returns_total", "code") == returns == {"price_gone": 1}
    failures = told(bench, "e.facts->>'code'", "e.status = 'failed'")
    assert counts.of("engine_failures_total", "code") == failures
    assert failures == {"program_error": 2, "cannot_fill": 1, "gate_refused": 1}
    fired = told(bench, "o.type", "e.status = 'triggered'")
    assert counts.of("engine_limit_triggers_total") == {(): fired["limit"]} == {(): 2}
    assert counts.of("engine_sniper_fired_total") == counts.of("engine_sniper_refused_total") == {(): 1}


LEFT = """
    SELECT status, count(*), sum(extract(epoch FROM left_at - at))::float FROM (
        SELECT e.status, e.at, lead(e.at) OVER (PARTITION BY e.order_id ORDER BY e.seq) AS left_at, o.type
        FROM orders_orderevent e JOIN orders_order o ON o.id = e.order_id
    ) AS told WHERE left_at IS NOT NULL AND NOT (status = 'pending' AND type <> 'market') GROUP BY status
"""


def test_stages_are_timed_as_the_archived_events_say_and_rests_are_not(bench, counts, a_lively_day):
    expected = {stage: (number, seconds) for stage, number, seconds in bench.sql(LEFT)}
    numbers = counts.of("engine_order_stage_seconds_count", "stage")
    assert numbers == {stage: number for stage, (number, _) in expected.items()}
    seconds = counts.of("engine_order_stage_seconds_sum", "stage")
    for stage, (_, total) in expected.items():
        assert seconds.get(stage, 0) == pytest.approx(total, abs=1e-6), stage
    lives = counts.of("engine_order_seconds_count", "status")
    assert lives["confirmed"] == told(bench, "e.status")["confirmed"]
    # Of the cancelled only the market order had moved at all; the others rested to their end, like the expired one.
    assert (lives["cancelled"], lives.get("expired"), lives["failed"]) == (1, None, 4)


def test_what_is_written_twice_is_timed_once(bench, counts):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    bench.archive()
    once = counts.of("engine_order_stage_seconds_count", "stage")
    assert once == {"pending": 1, "routing": 1, "building": 1, "submitted": 1}
    live.feed_again([order_id])
    bench.archive()
    assert counts.of("engine_order_stage_seconds_count", "stage") == once


def test_an_order_that_is_repeated_is_accepted_once(bench, counts):
    asked = bench.order(client_order_id="rebalance")
    bench.accept(asked)
    bench.accept(bench.order(client_order_id="rebalance"))
    assert counts.of("engine_orders_accepted_total", "type") == {"market": 1}


def test_a_move_that_lost_is_not_counted(bench, counts):
    (order_id,) = bench.place()
    waiting.cancel(order_id)
    bench.quote_all()
    bench.run([order_id])
    with pytest.raises(waiting.NotResting):
        waiting.cancel(order_id)
    assert counts.of("engine_orders_total", "status") == {"cancelled": 1}


def test_a_dead_letter_counts_once_however_often_it_is_kept(bench, counts, a_lively_day):
    failed = dead_letters.missing()
    dead_letters.keep(failed)
    dead_letters.keep(failed)
    letters = dict(bench.sql("SELECT code, count(*) FROM orders_deadletter GROUP BY code"))
    assert counts.of("engine_dead_letters_total", "code") == letters
    assert sum(letters.values()) == len(failed) == 4


def test_a_repair_to_the_book_is_counted_by_its_kind(bench, counts):
    bench.accept(bench.limit("900"), bench.limit("901"))
    redis().delete("limit_bucket:{SOL-USDC}:900")
    assert reconciliation.take()["misplaced"] == 1
    assert counts.of("engine_book_repaired_total", "kind") == {"misplaced": 1}


def test_a_record_that_is_set_aside_is_counted_and_so_is_how_late_the_others_were(bench, counts):
    bench.place()
    redis().xadd(live.FEED, {"b": "nonsense"})
    bench.archive()
    assert counts.of("engine_set_aside_total") == {(): 1}
    assert counts.of("engine_dbsync_lag_seconds_count") == {(): 1}
    assert counts.of("engine_dbsync_lag_seconds_sum").get((), 0.0) < 60


def test_a_time_without_a_zone_is_set_aside_and_holds_up_neither_the_archive_nor_the_clock(bench, counts):
    (order_id,) = bench.place()
    event = {"orderId": order_id, "seq": 2, "status": "routing", "at": "2026-01-01T00:00:00", "attempt": 1}
    redis().xadd(live.FEED, {"b": f"{order_id} 2 0 {event_codec.dump(event)}"})
    bench.archive()
    assert counts.of("engine_set_aside_total") == {(): 1}
    assert bench.sql("SELECT count(*) FROM orders_orderevent") == [(1,)]


def test_lateness_is_that_of_the_oldest_event():
    counts = Counts()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    events = [happened(uuid4(), 1, Status.PENDING, at + SECOND * late) for late in (3, 0, 2)]
    metrics.archived(events, int((at + 4 * SECOND).timestamp() * 1000), refused=0)
    assert counts.of("engine_dbsync_lag_seconds_sum") == pytest.approx({(): 4.0})


async def test_sockets_are_counted_while_they_are_open(bench):
    def clients():
        return PROCESS.get_sample_value("engine_websocket_clients", {"stream": "PlaceAndStream"}) or 0

    before = clients()
    async with opened("/api/orders/execute"), opened("/api/orders/execute"):
        assert clients() == before + 2
    await until(lambda: clients() == before, "both have been counted out")


# Timing, event by event


def happened(order_id, seq, status, at, kind="market"):
    return SimpleNamespace(order_id=order_id, seq=seq, status=status, at=at, type=kind if seq == 1 else None)


def test_an_event_whose_predecessor_went_to_another_process_times_nothing():
    counts, watch, order_id = Counts(), Stopwatch(), uuid4()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    watch.see(happened(order_id, 1, Status.PENDING, at), rests=False)
    watch.see(happened(order_id, 4, Status.SUBMITTED, at + SECOND), rests=False)
    assert counts.of("engine_order_stage_seconds_count", "stage") == {}
    watch.see(happened(order_id, 5, Status.CONFIRMED, at + 3 * SECOND), rests=False)
    assert counts.of("engine_order_stage_seconds_sum", "stage") == pytest.approx({"submitted": 2.0})
    assert counts.of("engine_order_seconds_sum", "status") == pytest.approx({"confirmed": 3.0})


def test_an_order_that_is_met_in_mid_life_has_no_known_beginning():
    counts, watch, order_id = Counts(), Stopwatch(), uuid4()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    watch.see(happened(order_id, 3, Status.BUILDING, at), rests=False)
    watch.see(happened(order_id, 4, Status.SUBMITTED, at + SECOND), rests=False)
    watch.see(happened(order_id, 5, Status.CONFIRMED, at + SECOND), rests=False)
    assert counts.of("engine_order_stage_seconds_count", "stage") == {"building": 1, "submitted": 1}
    assert counts.of("engine_order_seconds_count", "status") == {}


def test_a_waiting_orders_life_begins_when_it_fires_and_anew_when_it_fires_again():
    counts, watch, order_id = Counts(), Stopwatch(), uuid4()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    lived = [Status.PENDING, Status.TRIGGERED, Status.PENDING, Status.TRIGGERED, Status.ROUTING, Status.FAILED]
    for seq, status in enumerate(lived, 1):
        watch.see(happened(order_id, seq, status, at + seq * seq * SECOND, "limit"), rests=status is Status.PENDING)
    assert counts.of("engine_order_stage_seconds_sum", "stage") == pytest.approx({"triggered": 14.0, "routing": 11.0})
    assert counts.of("engine_order_seconds_sum", "status") == pytest.approx({"failed": 20.0})


def test_only_so_many_orders_are_remembered_and_the_longest_unseen_is_forgotten_first():
    watch = Stopwatch(most=2)
    first, second, third = uuid4(), uuid4(), uuid4()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    watch.see(happened(first, 1, Status.PENDING, at), rests=False)
    watch.see(happened(second, 1, Status.PENDING, at), rests=False)
    watch.see(happened(first, 2, Status.ROUTING, at), rests=False)
    watch.see(happened(third, 1, Status.PENDING, at), rests=False)
    assert list(watch.lives) == [first, third]


def test_counting_a_batch_costs_each_counter_one_increment(monkeypatch):
    increments = Counter()
    monkeypatch.setattr(
        metrics, "child", lambda counter, *labels: SimpleNamespace(inc=lambda n: increments.update({labels: n}))
    )
    steps = (Routing("METEORA", "", "", (), ()), Building("METEORA", "", "", ""))
    metrics.moved([(OrderType.MARKET, steps)] * 100)
    assert increments == {("market", "routing"): 100, ("market", "building"): 100, ("METEORA",): 100}


def test_what_is_shown_can_be_read_by_prometheus(bench, a_lively_day):
    families = {family.name: family for family in text_string_to_metric_families(scrape.exposition("process").decode())}
    assert families["engine_orders"].type == "counter"
    assert families["engine_order_stage_seconds"].type == "histogram"
    assert families["process_cpu_seconds"].type == "counter"
