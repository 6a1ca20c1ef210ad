"""The dashboard: its numbers are those of the stores, counted here in another way; and looking costs little."""

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import quantiles
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from redis.exceptions import ConnectionError as StoreGone

from engine.lifecycle import FINAL
from orders.flow import dispatch, pauses
from orders.models import Attempt, DeadLetter, Order, OrderEvent, Pause
from orders.operations import figures, reconciliation
from orders.stores import live
from routing import quotes
from routing.store import now_ms, redis
from routing.venues import VENUES
from tests.factories import AttemptFactory, DeadLetterFactory, OrderEventFactory, OrderFactory


@pytest.fixture(autouse=True)
def fresh_figures():
    """Each test gathers its own."""
    figures.figures.forget()
    yield
    figures.figures.forget()


@pytest.fixture
def busy(bench, settings):
    """An engine after some trade: filled, refused, cancelled, resting and old orders, letters, a backlog, repairs."""
    bench.quote_all()
    bench.run(bench.place(7))
    settings.MOCK_REJECT_RATE = 1.0
    bench.archive()
    bench.quote_all()
    bench.accept(*(bench.limit("999.00") for _ in range(3)))
    bench.place(2)
    for state in ("rejected", "expired", "sent"):
        order = OrderFactory(status="routing", created_at=datetime.now(UTC) - timedelta(minutes=2))
        AttemptFactory(order=order, state=state, venue="RAYDIUM")
        OrderEventFactory(order=order, seq=2, status="routing", facts={"retry": {"code": "no_quote"}})
    OrderFactory(status="failed", created_at=datetime.now(UTC) - timedelta(minutes=30))
    OrderFactory(id=UUID(int=(1_700_000_000_000 << 80) | 7), status="failed")
    DeadLetterFactory.create_batch(2)
    DeadLetterFactory(replay_may_help=False)
    DeadLetterFactory(verdict="landed", replayed_at=datetime.now(UTC))
    redis().hset(reconciliation.REPAIRED, mapping={"missing": 3, "behind": 1})
    return bench


def newest(model, name="order_id", minutes=15):
    """Return rows of orders accepted lately, by the time in their id."""
    oldest = datetime.now(UTC).timestamp() - minutes * 60
    return [row for row in model.objects.all() if (getattr(row, name).int >> 80) / 1000 >= oldest]


def test_orders_per_minute_are_those_in_postgres(busy):
    counted = Counter()
    for order in newest(Order, "id", 60):
        minute = order.created_at.replace(second=0, microsecond=0).isoformat()
        counted[minute, order.status if order.status in FINAL else "unfinished"] += 1
    shown = {
        (row["minute"], outcome): row[outcome]
        for row in figures.gather()["minutes"]
        for outcome in figures.OUTCOMES
        if row[outcome]
    }
    assert shown == dict(counted)
    assert sum(counted.values()) == Order.objects.count() - 1
    assert {outcome for _, outcome in counted} >= {"confirmed", "failed", "unfinished"}


def test_stage_times_are_those_between_the_events(busy):
    spent = defaultdict(list)
    lives = defaultdict(list)
    for event in newest(OrderEvent):
        lives[event.order].append(event)
    for order, events in lives.items():
        events.sort(key=lambda event: event.seq)
        for event, after in pairwise(events):
            if event.status != "pending" or order.type == "market":
                spent[event.status].append((after.at - event.at).total_seconds() * 1000)
        if events[-1].status == "confirmed":
            spent["total"].append((events[-1].at - events[0].at).total_seconds() * 1000)
    shown = {row["stage"]: row for row in figures.gather()["stages"]}
    assert {stage: row["count"] for stage, row in shown.items()} == {stage: len(ms) for stage, ms in spent.items()}
    assert shown.keys() == {"pending", "routing", "building", "submitted", "total"}
    for stage, ms in spent.items():
        cuts = quantiles(ms, n=100, method="inclusive")
        assert [shown[stage][name] for name in ("p50", "p95", "p99")] == pytest.approx([cuts[49], cuts[94], cuts[98]])


def test_what_each_venue_won_and_landed_is_what_the_attempts_say(busy):
    counted = Counter((attempt.venue, attempt.state) for attempt in newest(Attempt))
    shown = figures.gather()["venues"]
    assert [row["venue"] for row in shown] == list(VENUES)
    for row in shown:
        assert row["attempts"] == sum(count for (venue, _), count in counted.items() if venue == row["venue"])
        assert row["open"] == counted[row["venue"], "sent"] + counted[row["venue"], "prepared"]
        assert [row[s] for s in ("landed", "rejected", "expired")] == [
            counted[row["venue"], s] for s in ("landed", "rejected", "expired")
        ]
    assert sum(row["landed"] for row in shown) == 7


def test_how_many_orders_the_recent_figures_are_about_is_how_many_there_are(busy, monkeypatch):
    there = len(newest(Order, "id"))
    assert 0 < there < Order.objects.count()
    assert figures.gather()["recent"] == {"orders": there, "minutes": 15, "capped": False}
    monkeypatch.setattr(figures, "RECENT_MAX", 4)
    assert figures.gather()["recent"] == {"orders": 4, "minutes": 15, "capped": True}


def test_retries_are_those_the_events_tell_of_the_most_frequent_first(busy):
    for code in ("no_quote", "slippage_exceeded", "slippage_exceeded"):
        OrderEventFactory(seq=3, facts={"returned": {"code": code, "message": "the price has gone"}})
    counted = Counter()
    for event in newest(OrderEvent):
        told = event.facts.get("retry") or event.facts.get("returned")
        if told:
            counted[told["code"]] += 1
    assert counted == {"no_quote": 4, "slippage_exceeded": 2}
    assert figures.gather()["retries"] == [{"code": code, "count": count} for code, count in counted.most_common()]


def test_dead_letters_are_those_in_postgres_by_what_a_replay_would_come_to(busy):
    DeadLetterFactory(verdict="wait")
    DeadLetterFactory.create_batch(2, verdict="landed", replay_may_help=False)
    counted = Counter()
    for letter in DeadLetter.objects.all():
        if letter.replayed_at:
            counted["replayed"] += 1
        elif letter.verdict == "safe":
            counted["safe" if letter.replay_may_help else "cannot-help"] += 1
        else:
            counted[letter.verdict] += 1
    assert counted == {"safe": 2, "cannot-help": 1, "landed": 2, "wait": 1, "replayed": 1}
    assert {row["outlook"]: row["count"] for row in figures.gather()["letters"]} == counted


def test_the_oldest_unfinished_order_is_the_one_in_postgres_and_as_old(busy):
    moving = min(
        (row for row in Order.objects.all() if row.status not in FINAL and (row.type == "market" or row.venue)),
        key=lambda row: row.created_at,
    )
    before = datetime.now(UTC)
    shown = figures.gather()["oldest"]
    assert (shown["id"], shown["status"]) == (str(moving.id), moving.status)
    ages = [(at - moving.created_at).total_seconds() for at in (before, datetime.now(UTC))]
    # One decimal, and one machine's clock for both.
    assert ages[0] - 0.1 <= shown["age_s"] <= ages[1] + 0.1


def test_what_is_paused_is_what_the_rows_say(busy):
    pauses.pause("pair", "SOL-USDC", "drained", "ops")
    pauses.pause("venue", "METEORA", "slow", "ops")
    rows = [(row.scope, row.name, row.reason) for row in Pause.objects.order_by("pk")]
    assert len(rows) == 2
    shown = figures.gather()["pauses"]
    assert [(row["scope"], row["name"], row["reason"]) for row in shown] == rows
    assert [row["what"] for row in shown] == ["SOL-USDC", "METEORA"]
    for row in Pause.objects.all():
        pauses.resume(row, "ops")
    assert figures.gather()["pauses"] == []


def test_ages_are_judged_by_the_risk_limits_as_they_stand(busy, settings):
    shown = figures.gather()
    assert (shown["freshMs"], shown["staleMs"]) == (settings.QUOTE_FRESH_MS, settings.QUOTE_STALE_MS) == (2_000, 10_000)
    settings.QUOTE_FRESH_MS = 3_000
    assert figures.gather()["freshMs"] == 3_000


def test_there_is_no_figure_that_no_test_here_compares(busy):
    assert figures.gather().keys() == {
        *("at", "parts", "away", "recent", "minutes", "stages", "venues", "retries", "letters", "pauses", "notes"),
        *("oldest", "resting", "quotes", "freshMs", "staleMs", "queues", "dbsync", "repaired"),
    }


def entries_postgres_lacks():
    """Count the entries of the event feed with an event that has no row."""
    rows = set(OrderEvent.objects.values_list("order_id", "seq"))
    lacking = 0
    for _, fields in redis().xrange(live.FEED):
        told = [json.loads(line[line.index("{") :]) for line in fields["b"].split("\n")]
        lacking += any((UUID(event["orderId"]), event["seq"]) not in rows for event in told)
    return lacking


def test_resting_orders_queues_backlog_and_repairs_are_those_in_the_stores(busy):
    shown = figures.gather()
    resting = Counter(row.pair for row in Order.objects.exclude(type="market").filter(status="pending"))
    buckets = Counter({"SOL-USDC": sum(redis().zcard(key) for key in redis().keys("limit_bucket:{SOL-USDC}:*"))})
    assert resting == buckets == {"SOL-USDC": 3}
    assert {row["pair"]: row["count"] for row in shown["resting"]} == resting
    assert not any(row["more"] for row in shown["resting"])
    assert {row["queue"]: row["length"] for row in shown["queues"]} == {
        name: busy.messages(name) for name in dispatch.QUEUES
    }
    assert sum(row["length"] for row in shown["queues"]) > 0
    assert shown["dbsync"] == entries_postgres_lacks() > 0
    written = OrderEvent.objects.count()
    busy.archive()
    assert OrderEvent.objects.count() > written
    assert figures.gather()["dbsync"] == entries_postgres_lacks() == 0
    assert shown["repaired"] == {"missing": 3, "misplaced": 0, "behind": 1}


def test_the_age_of_each_venues_quote_is_by_the_stores_clock(bench):
    bench.quote("RAYDIUM", age_ms=4_000)
    bench.quote("METEORA", age_ms=500)
    shown = {row["pair"]: row for row in figures.gather()["quotes"]}
    observed = int(redis().hget(quotes.key("SOL-USDC", "RAYDIUM"), "observed_at"))
    assert shown["SOL-USDC"]["ages"]["RAYDIUM"] == pytest.approx(now_ms() - observed, abs=200)
    assert shown["SOL-USDC"]["ages"]["METEORA"] < 1_500
    assert shown["SOL-USDC"]["fresh"]
    assert shown["JUP-USDC"] == {"pair": "JUP-USDC", "fresh": False, "ages": {"RAYDIUM": None, "METEORA": None}}


def test_more_resting_orders_than_are_counted_are_said_to_be_more(bench, monkeypatch):
    monkeypatch.setattr(figures, "RESTING_MAX", 2)
    bench.accept(*(bench.limit("999.00") for _ in range(3)))
    assert figures.resting() == [{"pair": "SOL-USDC", "count": 2, "more": True}]


def test_every_statement_goes_through_an_index(busy):
    with CaptureQueriesContext(connection) as asked:
        figures.from_postgres()
    statements = [query["sql"] for query in asked.captured_queries if "orders_" in query["sql"]]
    assert len(statements) == 10
    with connection.cursor() as cursor:
        # On tables of this size the planner would read all of it; where no index serves, it still has to.
        cursor.execute("SET enable_seqscan = off")
        for sql in statements:
            cursor.execute(f"EXPLAIN {sql}")
            plan = str(cursor.fetchall())
            assert "Seq Scan" not in plan, plan
        cursor.execute("RESET enable_seqscan")


def test_without_redis_the_dashboard_shows_what_postgres_knows_and_says_what_is_away(busy, monkeypatch):
    def away(*_):
        raise StoreGone("Error 111 connecting to 10.0.0.7:6379. Connection refused.")

    monkeypatch.setattr(figures, "from_redis", away)
    monkeypatch.setattr(figures, "from_broker", away)
    shown = figures.gather()
    assert shown["away"] == ["Redis does not answer: connection refused"]
    assert shown["minutes"]
    assert "queues" not in shown and "quotes" not in shown


def test_without_rabbitmq_the_dashboard_lacks_the_queues_alone(busy, monkeypatch, settings):
    def away(*_):
        raise ConnectionError("[Errno 104] Connection reset by peer of 10.0.0.7")

    settings.BROKER_URL = "amqp://queues.example//"
    monkeypatch.setattr(figures.dispatch, "depths", away)
    shown = figures.gather()
    assert shown["away"] == ["RabbitMQ does not answer: connection lost"]
    assert "queues" not in shown and shown["quotes"] and shown["minutes"]


def test_a_dozen_dashboards_cost_what_one_does(busy):
    figures.figures()
    with CaptureQueriesContext(connection) as asked:
        for _ in range(12):
            figures.figures()
    assert not asked.captured_queries


def test_the_first_page_is_the_dashboard_and_polls_the_same_figures(busy, operator):
    page = operator.get(reverse("admin:index"))
    assert page.status_code == 200
    assert 'data-figures="/admin/figures/"' in page.content.decode()
    figures.figures.forget()
    shown = operator.get("/admin/figures/").json()
    assert sum(row["landed"] for row in shown["venues"]) == 7
    assert shown["oldest"]["link"].endswith(f"/{shown['oldest']['id']}/change/")


def test_the_dashboard_takes_few_queries(busy, operator, django_assert_max_num_queries):
    with django_assert_max_num_queries(13):
        operator.get(reverse("admin:index"))


def test_who_may_not_look_at_orders_sees_no_figures(db, client):
    user = User.objects.create(username="clerk", is_staff=True)
    client.force_login(user)
    assert client.get("/admin/figures/").status_code == 403
    assert "data-figures" not in client.get(reverse("admin:index")).content.decode()
    user.user_permissions.add(Permission.objects.get(codename="view_order"))
    assert client.get("/admin/figures/").status_code == 200
    client.logout()
    assert client.get("/admin/figures/").status_code == 302
