"""The admin: orders and attempts."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from redis.exceptions import ConnectionError as StoreGone

from engine.lifecycle import Status
from orders.admin import search
from orders.models import Order, SetAside
from orders.stores import live, placing
from orders.stores.placing import Placement
from orders.stores.terms import order_of
from routing.catalogue import catalogue
from routing.models import LedgerEntry
from tests.factories import AttemptFactory, DeadLetterFactory, OrderEventFactory, OrderFactory
from tests.orders.pages import list_of, messages_of, page_of, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fresh_catalogue")]


AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ROUTED = {
    "venue": "METEORA",
    "reason": "METEORA pays 12 bps more than RAYDIUM after fees and impact",
    "quotes": [
        {"venue": "METEORA", "price": "154.9", "feeBps": 20, "netPrice": "154.59", "ageMs": 350, "amountOut": "231.9"},
        {"venue": "RAYDIUM", "price": "154.7", "feeBps": 25, "netPrice": "154.31", "ageMs": 410, "amountOut": "231.5"},
    ],
}


def event(order, seq, status, ms, **facts):
    return OrderEventFactory(order=order, seq=seq, status=status, at=AT + timedelta(milliseconds=ms), facts=facts)


def test_the_list_shows_amounts_in_whole_tokens_and_how_long_finished_orders_took(operator):
    OrderFactory(status="confirmed", venue="METEORA", created_at=AT, updated_at=AT + timedelta(milliseconds=1532))
    listed = list_of(operator, Order)
    assert "SOL-USDC 1.5 SOL confirmed METEORA 2026-11-22 12:00:00.000 1.532 s" in listed


def test_the_list_counts_nothing(operator, django_assert_max_num_queries):
    OrderFactory.create_batch(3)
    with django_assert_max_num_queries(20) as queries:
        list_of(operator, Order)
    assert queries.captured_queries
    assert not [query for query in queries.captured_queries if "COUNT(" in query["sql"].upper()]


def test_pages_lead_to_older_orders_and_back(operator):
    orders = OrderFactory.create_batch(51)
    address = reverse("admin:orders_order_changelist")
    first = operator.get(address)
    second = operator.get(address + first.context["cl"].older)
    assert [row.pk for row in second.context["cl"].result_list] == [orders[0].pk]
    assert second.context["cl"].older == ""
    back = operator.get(address + second.context["cl"].newer)
    assert len(back.context["cl"].result_list) == 50


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ({"status__exact": "failed"}, {"failed"}),
        ({"pair": "USDC-SOL"}, {"other pair"}),
        ({"created": "1h"}, {"failed", "other pair"}),
        ({}, {"failed", "other pair", "old"}),
    ],
)
def test_filters_keep_the_orders_they_name(operator, query, kept):
    OrderFactory(client_order_id="failed", status="failed")
    OrderFactory(client_order_id="other pair", pair="USDC-SOL", amount_in=1_000_000)
    OrderFactory(client_order_id="old", id=UUID(int=(1_700_000_000_000 << 80) | 7))
    answer = operator.get(reverse("admin:orders_order_changelist"), query)
    assert {row.client_order_id for row in answer.context["cl"].result_list} == kept


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param(lambda order: str(order.id), id="the id"),
        pytest.param(lambda order: str(order.id).upper()[:20], id="the beginning of the id"),
        pytest.param(lambda order: " my-order-7 ", id="the client order id"),
        pytest.param(lambda order: "my-ord", id="the beginning of the client order id"),
        pytest.param(lambda order: "5hashOfTheFirstTry", id="the hash of an attempt that was rejected"),
        pytest.param(lambda order: "5hashOf", id="the beginning of a hash"),
    ],
)
def test_search_finds_the_one_order_by(operator, typed):
    wanted = OrderFactory(id=uuid4(), client_order_id="my-order-7")
    OrderFactory(id=UUID(int=wanted.id.int ^ (1 << 127)), client_order_id="x_my-order-7")
    AttemptFactory(order=wanted, state="rejected", signature="5hashOfTheFirstTry")
    answer = operator.get(reverse("admin:orders_order_changelist"), {"q": typed(wanted)})
    assert [row.pk for row in answer.context["cl"].result_list] == [wanted.pk]


@pytest.mark.parametrize("typed", ["%", "nothing like it", "\\", "ff" * 40])
def test_search_for_what_is_not_there_finds_nothing(operator, typed):
    OrderFactory(client_order_id="mine")
    answer = operator.get(reverse("admin:orders_order_changelist"), {"q": typed})
    assert answer.status_code == 200
    assert answer.context["cl"].result_list == []


def test_every_kind_of_search_goes_through_an_index():
    catalogue()
    with CaptureQueriesContext(connection) as asked:
        search.orders("0193ab")
        search.orders("JUP")
    assert len(asked) == 4
    with connection.cursor() as cursor:
        # Rows of many pairs, so that the planner does not judge by what other tests have left.
        cursor.execute(
            """
            INSERT INTO orders_order (id, type, pair, amount_in, slippage_bps, fingerprint)
            SELECT gen_random_uuid(), 'market', 'T' || n % 500 || '-USDC', 1, 50, '' FROM generate_series(1, 5000) n
            """
        )
        cursor.execute("ANALYZE orders_order")
        # The other tables are small: there the planner would read all; where no index serves, it still has to.
        cursor.execute("SET LOCAL enable_seqscan = off")
        for query in asked.captured_queries:
            cursor.execute(f"EXPLAIN {query['sql']}")
            assert "Index Cond" in str(cursor.fetchall()), query["sql"]


def test_an_order_tells_its_story_with_times_facts_and_both_quotes(operator):
    order = OrderFactory(status="confirmed", created_at=AT)
    event(order, 2, "routing", 512, **ROUTED)
    event(order, 3, "failed", 1_262, code="no_quote", message="no venue", replayMayHelp=True, fees={"venueFeeBps": 20})
    page = page_of(operator, order)
    assert "Timeline: failed after 1.262 s" in page
    assert "2 routing 2026-11-22 12:00:00.512 +512 1 venue METEORA reason METEORA pays 12 bps more" in page
    assert "venue price fee bps net price age ms amount out METEORA 154.9 20 154.59 350 231.9 RAYDIUM 154.7 25" in page
    assert "3 failed 2026-11-22 12:00:01.262 +750 1 code no_quote" in page
    assert "message no venue replay may help yes" in page
    assert "fees: venue fee bps 20" in page


def test_an_order_page_shows_live_events_that_postgres_does_not_have_yet(operator):
    order = OrderFactory(created_at=AT)
    common = {"orderId": str(order.id), "attempt": 1}
    told = [
        common | {"seq": 1, "status": "pending", "at": "2026-11-22T12:00:00.000Z"},
        common | {"seq": 2, "status": "routing", "at": "2026-11-22T12:00:00.020Z", "reason": "only METEORA answered"},
    ]
    placing.place(
        [Placement(order_of(order), Status.ROUTING, 1, tuple(msgspec.json.encode(e).decode() for e in told), 60_000)]
    )
    page = page_of(operator, order)
    assert "Timeline: routing since 0.020 s" in page
    assert "only METEORA answered" in page


def test_an_order_page_opens_from_postgres_while_redis_is_away(operator, monkeypatch):
    def away(*_):
        raise StoreGone("gone")

    monkeypatch.setattr(live, "events", away)
    order = OrderFactory(created_at=AT)
    event(order, 2, "routing", 20, reason="only METEORA answered")
    assert "only METEORA answered" in page_of(operator, order)


def test_an_order_page_shows_its_attempts_and_its_dead_letter(operator):
    order = OrderFactory(status="failed")
    AttemptFactory(order=order, signature="5firstTry", state="rejected", error="slippage exceeded", sends=3)
    letter = DeadLetterFactory(order=order)
    page = page_of(operator, order)
    assert "1 rejected METEORA 5firstTry 232 USDC 230.84 USDC - 3" in page
    assert "slippage exceeded" in page
    answer = operator.get(reverse("admin:orders_order_change", args=[order.pk]))
    assert reverse("admin:orders_deadletter_change", args=[letter.pk]) in answer.content.decode()


def test_an_address_that_is_no_order_leads_back_and_says_so(operator):
    answer = operator.get(reverse("admin:orders_order_change", args=["nonsense"]), follow=True)
    assert "nonsense" in messages_of(answer)[0]


def test_an_attempt_shows_its_amounts_and_its_order(operator):
    attempt = AttemptFactory(amount_out=231_500_000)
    assert "232 USDC 230.84 USDC 231.5 USDC" in list_of(operator, type(attempt), state__exact="landed", venue="METEORA")
    page = page_of(operator, attempt)
    assert str(attempt.order_id) in page
    assert "231.5 USDC" in page


def records():
    """Return one row of each model the engine alone writes."""
    entry = LedgerEntry(signature="5entry", slot=7, lands_at=AT, landing="landed", amount_out=1, fee_lamports=5000)
    entry.save()
    aside = SetAside.objects.create(record="not an event", reason="4 parts")
    return [OrderFactory(), AttemptFactory(), DeadLetterFactory(), aside, entry]


def test_nothing_the_engine_owns_can_be_added_changed_or_deleted(operator):
    for row in records():
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}"
        list_of(operator, type(row))
        page_of(operator, row)
        assert operator.get(reverse(f"{name}_add")).status_code == 403
        assert operator.post(reverse(f"{name}_change", args=[row.pk]), {}).status_code == 403
        assert operator.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
        assert type(row).objects.filter(pk=row.pk).exists()


def test_the_header_names_the_engine_and_leads_to_its_queues(operator, settings):
    settings.ENV = settings.ENV | {"ENGINE_HOST": "127.0.0.1", "ENGINE_FLOWER_PORT": 5999}
    answer = operator.get(reverse("admin:index"))
    assert "Order execution engine" in text(answer)
    assert 'href="http://127.0.0.1:5999"' in answer.content.decode()


def test_the_link_to_the_queues_uses_the_pages_host_when_the_engine_listens_everywhere(operator, settings):
    settings.ENV = settings.ENV | {"ENGINE_HOST": "0.0.0.0", "ENGINE_FLOWER_PORT": 5999}
    settings.ALLOWED_HOSTS = ["desk.example"]
    answer = operator.get(reverse("admin:index"), headers={"host": "desk.example:8000"})
    assert 'href="http://desk.example:5999"' in answer.content.decode()
