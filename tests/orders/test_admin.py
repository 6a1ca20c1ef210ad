"""The admin: what may be seen, what may be done, and what may not."""

import html
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import msgspec
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from redis.exceptions import ConnectionError as StoreGone

from engine.lifecycle import Status
from engine.quotes import Pair as TradedPair
from engine.triggers import TokenState
from orders.admin import search
from orders.flow import pauses
from orders.models import DeadLetter, Order, SetAside, Verdict
from orders.stores import live, placing
from orders.stores.placing import Placement
from orders.stores.terms import order_of
from routing import tape
from routing.catalogue import catalogue, token_of
from routing.models import LedgerEntry, Pair, Token
from routing.sandbox import stage
from routing.store import now_ms, redis
from tests.factories import AttemptFactory, DeadLetterFactory, OrderEventFactory, OrderFactory

pytestmark = pytest.mark.django_db

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NEW_MINT = "HZ1JovNiVvGrGNiiYvEozEVgZ58xaU3RKwX8eACQBCt3"
ROUTED = {
    "venue": "METEORA",
    "reason": "METEORA pays 12 bps more than RAYDIUM after fees and impact",
    "quotes": [
        {"venue": "METEORA", "price": "154.9", "feeBps": 20, "netPrice": "154.59", "ageMs": 350, "amountOut": "231.9"},
        {"venue": "RAYDIUM", "price": "154.7", "feeBps": 25, "netPrice": "154.31", "ageMs": 410, "amountOut": "231.5"},
    ],
}


@pytest.fixture(autouse=True)
def fresh_catalogue():
    """Each test reads its own tables: what another test's transaction held is gone."""
    catalogue.forget()
    yield
    catalogue.forget()


@pytest.fixture
def admin_client(client):
    """Log a superuser in without a password: hashing one takes half a second per test."""
    client.force_login(User.objects.create(username="admin", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def staff(client):
    """Return a client logged in as somebody who may look at everything and change nothing."""
    user = User.objects.create(username="looker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    return client


def page_of(client, row, **query):
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return text(client.get(reverse(name, args=[row.pk]), query))


def list_of(client, model, **query):
    return text(client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"), query))


def text(answer):
    """Return the page's text without its tags and the names of its icons, blanks collapsed."""
    assert answer.status_code == 200, answer
    body = re.sub("(?s)<(style|script).*?</(style|script)>", "", answer.content.decode())
    body = re.sub('(?s)<span[^>]*class="material-symbols-outlined.*?</span>', "", body)
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", body)).split())


def messages_of(answer):
    return [str(message) for message in answer.context["messages"]]


def event(order, seq, status, ms, **facts):
    return OrderEventFactory(order=order, seq=seq, status=status, at=AT + timedelta(milliseconds=ms), facts=facts)


def test_the_list_shows_amounts_in_whole_tokens_and_how_long_finished_orders_took(admin_client):
    OrderFactory(status="confirmed", venue="METEORA", created_at=AT, updated_at=AT + timedelta(milliseconds=1532))
    listed = list_of(admin_client, Order)
    assert "SOL-USDC 1.5 SOL confirmed METEORA 2026-11-22 12:00:00.000 1.532 s" in listed


def test_the_list_counts_nothing(admin_client, django_assert_max_num_queries):
    OrderFactory.create_batch(3)
    with django_assert_max_num_queries(20) as queries:
        list_of(admin_client, Order)
    assert queries.captured_queries
    assert not [query for query in queries.captured_queries if "COUNT(" in query["sql"].upper()]


def test_pages_lead_to_older_orders_and_back(admin_client):
    orders = OrderFactory.create_batch(51)
    address = reverse("admin:orders_order_changelist")
    first = admin_client.get(address)
    second = admin_client.get(address + first.context["cl"].older)
    assert [row.pk for row in second.context["cl"].result_list] == [orders[0].pk]
    assert second.context["cl"].older == ""
    back = admin_client.get(address + second.context["cl"].newer)
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
def test_filters_keep_the_orders_they_name(admin_client, query, kept):
    OrderFactory(client_order_id="failed", status="failed")
    OrderFactory(client_order_id="other pair", pair="USDC-SOL", amount_in=1_000_000)
    OrderFactory(client_order_id="old", id=UUID(int=(1_700_000_000_000 << 80) | 7))
    answer = admin_client.get(reverse("admin:orders_order_changelist"), query)
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
def test_search_finds_the_one_order_by(admin_client, typed):
    wanted = OrderFactory(id=uuid4(), client_order_id="my-order-7")
    OrderFactory(id=UUID(int=wanted.id.int ^ (1 << 127)), client_order_id="x_my-order-7")
    AttemptFactory(order=wanted, state="rejected", signature="5hashOfTheFirstTry")
    answer = admin_client.get(reverse("admin:orders_order_changelist"), {"q": typed(wanted)})
    assert [row.pk for row in answer.context["cl"].result_list] == [wanted.pk]


@pytest.mark.parametrize("typed", ["%", "nothing like it", "\\", "ff" * 40])
def test_search_for_what_is_not_there_finds_nothing(admin_client, typed):
    OrderFactory(client_order_id="mine")
    answer = admin_client.get(reverse("admin:orders_order_changelist"), {"q": typed})
    assert answer.status_code == 200
    assert answer.context["cl"].result_list == []


def test_every_kind_of_search_goes_through_an_index():
    catalogue()
    with CaptureQueriesContext(connection) as asked:
        search.orders("0193ab")
        search.orders("JUP")
    assert len(asked) == 4
    with connection.cursor() as cursor:
        # On a table of this size the planner would read all of it; where no index serves, it still has to.
        cursor.execute("SET LOCAL enable_seqscan = off")
        for query in asked.captured_queries:
            cursor.execute(f"EXPLAIN {query['sql']}")
            assert "Index Cond" in str(cursor.fetchall()), query["sql"]


def test_an_order_tells_its_story_with_times_facts_and_both_quotes(admin_client):
    order = OrderFactory(status="confirmed", created_at=AT)
    event(order, 2, "routing", 512, **ROUTED)
    event(order, 3, "failed", 1_262, code="no_quote", message="no venue", replayMayHelp=True, fees={"venueFeeBps": 20})
    page = page_of(admin_client, order)
    assert "Timeline: failed after 1.262 s" in page
    assert "2 routing 2026-11-22 12:00:00.512 +512 1 venue METEORA reason METEORA pays 12 bps more" in page
    assert "venue price fee bps net price age ms amount out METEORA 154.9 20 154.59 350 231.9 RAYDIUM 154.7 25" in page
    assert "3 failed 2026-11-22 12:00:01.262 +750 1 code no_quote" in page
    assert "message no venue replay may help yes" in page
    assert "fees: venue fee bps 20" in page


def test_an_order_page_shows_live_events_that_postgres_does_not_have_yet(admin_client):
    order = OrderFactory(created_at=AT)
    common = {"orderId": str(order.id), "attempt": 1}
    told = [
        common | {"seq": 1, "status": "pending", "at": "2026-11-22T12:00:00.000Z"},
        common | {"seq": 2, "status": "routing", "at": "2026-11-22T12:00:00.020Z", "reason": "only METEORA answered"},
    ]
    placing.place(
        [Placement(order_of(order), Status.ROUTING, 1, tuple(msgspec.json.encode(e).decode() for e in told), 60_000)]
    )
    page = page_of(admin_client, order)
    assert "Timeline: routing since 0.020 s" in page
    assert "only METEORA answered" in page


def test_an_order_page_opens_from_postgres_while_redis_is_away(admin_client, monkeypatch):
    def away(*_):
        raise StoreGone("gone")

    monkeypatch.setattr(live, "events", away)
    order = OrderFactory(created_at=AT)
    event(order, 2, "routing", 20, reason="only METEORA answered")
    assert "only METEORA answered" in page_of(admin_client, order)


def test_an_order_page_shows_its_attempts_and_its_dead_letter(admin_client):
    order = OrderFactory(status="failed")
    AttemptFactory(order=order, signature="5firstTry", state="rejected", error="slippage exceeded", sends=3)
    letter = DeadLetterFactory(order=order)
    page = page_of(admin_client, order)
    assert "1 rejected METEORA 5firstTry 232 USDC 230.84 USDC - 3" in page
    assert "slippage exceeded" in page
    answer = admin_client.get(reverse("admin:orders_order_change", args=[order.pk]))
    assert reverse("admin:orders_deadletter_change", args=[letter.pk]) in answer.content.decode()


def test_an_address_that_is_no_order_leads_back_and_says_so(admin_client):
    answer = admin_client.get(reverse("admin:orders_order_change", args=["nonsense"]), follow=True)
    assert "nonsense" in messages_of(answer)[0]


def test_an_attempt_shows_its_amounts_and_its_order(admin_client):
    attempt = AttemptFactory(amount_out=231_500_000)
    assert "232 USDC 230.84 USDC 231.5 USDC" in list_of(
        admin_client, type(attempt), state__exact="landed", venue="METEORA"
    )
    page = page_of(admin_client, attempt)
    assert str(attempt.order_id) in page
    assert "231.5 USDC" in page


def records():
    """Return one row of each model the engine alone writes."""
    entry = LedgerEntry(signature="5entry", slot=7, lands_at=AT, landing="landed", amount_out=1, fee_lamports=5000)
    entry.save()
    aside = SetAside.objects.create(record="not an event", reason="4 parts")
    return [OrderFactory(), AttemptFactory(), DeadLetterFactory(), aside, entry]


def test_nothing_the_engine_owns_can_be_added_changed_or_deleted(admin_client):
    for row in records():
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}"
        list_of(admin_client, type(row))
        page_of(admin_client, row)
        assert admin_client.get(reverse(f"{name}_add")).status_code == 403
        assert admin_client.post(reverse(f"{name}_change", args=[row.pk]), {}).status_code == 403
        assert admin_client.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
        assert type(row).objects.filter(pk=row.pk).exists()


def replay_by_action(client, *letters):
    asked = {"action": "replay_selected", "_selected_action": [letter.pk for letter in letters]}
    return client.post(reverse("admin:orders_deadletter_changelist"), asked, follow=True)


def test_the_replay_action_places_the_order_anew_links_to_it_and_is_on_record(admin_client):
    letter = DeadLetterFactory()
    answer = replay_by_action(admin_client, letter)
    again = Order.objects.get(replay_of=letter.order)
    assert messages_of(answer) == [
        f'{letter.order_id} replayed as <a href="/admin/orders/order/{again.pk}/change/">{again.pk}</a>.'
    ]
    letter.refresh_from_db()
    assert letter.replayed_by == "admin"
    assert LogEntry.objects.get(object_id=str(letter.pk)).change_message == f"Replayed as {again.pk}."


def test_the_button_on_a_letters_page_replays_it(admin_client):
    letter = DeadLetterFactory()
    address = reverse("admin:orders_deadletter_replay", args=[letter.pk])
    assert address in admin_client.get(reverse("admin:orders_deadletter_change", args=[letter.pk])).content.decode()
    answer = admin_client.post(address, follow=True)
    again = Order.objects.get(replay_of=letter.order)
    assert answer.redirect_chain[-1][0] == reverse("admin:orders_deadletter_change", args=[letter.pk])
    assert str(again.pk) in text(answer)
    assert address not in answer.content.decode()


def test_a_letter_whose_order_landed_is_not_replayed_and_the_reason_is_shown(admin_client):
    landed, safe = DeadLetterFactory(), DeadLetterFactory()
    AttemptFactory(order=landed.order, state="landed")
    answer = replay_by_action(admin_client, landed, safe)
    assert f"Not replayed: {landed.order_id}: landed, do not replay." in messages_of(answer)
    assert not Order.objects.filter(replay_of=landed.order).exists()
    assert Order.objects.filter(replay_of=safe.order).exists(), "one refusal must not stop the others"


def test_an_order_and_its_replay_link_to_each_other(admin_client):
    letter = DeadLetterFactory()
    replay_by_action(admin_client, letter)
    again = Order.objects.get(replay_of=letter.order)
    assert f"Replay of {letter.order_id}" in page_of(admin_client, again)
    assert f"Replayed as {again.pk}" in page_of(admin_client, letter.order)
    assert str(again.pk) in list_of(admin_client, DeadLetter)


def test_the_list_of_letters_takes_as_many_queries_for_many_as_for_one(admin_client):
    def queries():
        with CaptureQueriesContext(connection) as asked:
            list_of(admin_client, DeadLetter)
        return len(asked)

    DeadLetterFactory()
    alone = queries()
    DeadLetterFactory.create_batch(5)
    assert queries() == alone


def test_a_letters_page_shows_why_it_failed_and_how_it_came_to_that(admin_client):
    page = page_of(admin_client, DeadLetterFactory())
    assert "no venue has quoted this pair" in page
    assert "Timeline: failed after 1.250 s" in page


def test_who_may_only_look_sees_no_replay_and_is_refused_one(staff):
    letter = DeadLetterFactory()
    address = reverse("admin:orders_deadletter_replay", args=[letter.pk])
    assert address not in staff.get(reverse("admin:orders_deadletter_change", args=[letter.pk])).content.decode()
    assert staff.post(address).status_code == 403
    replay_by_action(staff, letter)
    assert not Order.objects.filter(replay_of=letter.order).exists()


def test_following_a_link_replays_nothing(admin_client):
    letter = DeadLetterFactory()
    assert admin_client.get(reverse("admin:orders_deadletter_replay", args=[letter.pk])).status_code == 405
    assert not Order.objects.filter(replay_of=letter.order).exists()


def test_a_second_replay_says_what_the_first_made_of_it_and_is_not_on_record(admin_client):
    letter = DeadLetterFactory()
    replay_by_action(admin_client, letter)
    (said,) = messages_of(replay_by_action(admin_client, letter))
    assert said.startswith(f"{letter.order_id} was already replayed as <a href")
    assert LogEntry.objects.filter(object_id=str(letter.pk)).count() == 1


def test_a_letter_that_a_replay_cannot_help_is_not_called_safe_and_has_no_button(admin_client):
    letter = DeadLetterFactory(replay_may_help=False)
    page = admin_client.get(reverse("admin:orders_deadletter_change", args=[letter.pk])).content.decode()
    assert reverse("admin:orders_deadletter_replay", args=[letter.pk]) not in page
    assert "Replay cannot help" in page_of(admin_client, letter)
    assert "safe to replay" not in list_of(admin_client, DeadLetter)


def test_dead_letters_are_filtered_by_outlook_and_found_by_order(admin_client):
    safe, landed = DeadLetterFactory(), DeadLetterFactory(verdict=Verdict.LANDED)
    DeadLetterFactory(replay_may_help=False)
    address = reverse("admin:orders_deadletter_changelist")
    by_outlook = [admin_client.get(address, {"replay": word}).context["cl"].result_list for word in ("landed", "safe")]
    by_order = admin_client.get(address, {"q": str(safe.order_id)}).context["cl"].result_list
    assert [*map(list, by_outlook), list(by_order)] == [[landed], [safe], [safe]]


@pytest.fixture
def announced(monkeypatch, django_capture_on_commit_callbacks):
    """Return what runs a request and counts the announcements its commit makes."""
    calls = []
    monkeypatch.setattr(pauses, "catalogue_changed", lambda: calls.append(1))

    def count(request):
        calls.clear()
        with django_capture_on_commit_callbacks(execute=True):
            assert request().status_code == 302
        return len(calls)

    return count


def test_adding_a_token_and_a_pair_is_announced(admin_client, announced):
    token = {"mint": NEW_MINT, "symbol": "PYTH", "decimals": 6}
    assert announced(lambda: admin_client.post(reverse("admin:routing_token_add"), token)) == 1
    usdc = Token.objects.get(symbol="USDC")
    pair = {"token_in": NEW_MINT, "token_out": usdc.pk, "active": "on"}
    assert announced(lambda: admin_client.post(reverse("admin:routing_pair_add"), pair)) == 1
    assert str(Pair.objects.get(token_in=NEW_MINT)) == "PYTH-USDC"


def test_a_pair_is_switched_off_on_its_page_and_by_action_and_both_are_announced(admin_client, announced):
    first, second = Pair.objects.filter(active=True)[:2]
    assert announced(lambda: admin_client.post(reverse("admin:routing_pair_change", args=[first.pk]), {})) == 1
    asked = {"action": "deactivate", "_selected_action": [second.pk]}
    assert announced(lambda: admin_client.post(reverse("admin:routing_pair_changelist"), asked)) == 1
    assert not Pair.objects.filter(pk__in=[first.pk, second.pk], active=True).exists()


def test_a_pair_keeps_its_tokens_and_cannot_be_deleted(admin_client):
    pair = Pair.objects.first()
    other = Token.objects.exclude(pk__in=[pair.token_in_id, pair.token_out_id]).first()
    admin_client.post(reverse("admin:routing_pair_change", args=[pair.pk]), {"token_in": other.pk, "active": "on"})
    assert admin_client.post(reverse("admin:routing_pair_delete", args=[pair.pk]), {"post": "yes"}).status_code == 403
    assert Pair.objects.get(pk=pair.pk).token_in_id == pair.token_in_id


def test_a_traded_token_stays_as_it_is(admin_client):
    sol = Token.objects.get(symbol="SOL")
    changed = {"mint": NEW_MINT, "symbol": "XOL", "decimals": 3}
    admin_client.post(reverse("admin:routing_token_change", args=[sol.pk]), changed)
    admin_client.post(reverse("admin:routing_token_delete", args=[sol.pk]), {"post": "yes"})
    kept = Token.objects.get(pk=sol.pk)
    assert (kept.symbol, kept.decimals) == ("SOL", 9)
    assert not Token.objects.filter(pk=NEW_MINT).exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mint": "not-a-mint"}, "A mint is a Solana address: 32 bytes in base58."),
        ({"symbol": "SOL-2"}, "A symbol is letters and digits."),
    ],
)
def test_a_token_that_could_not_be_traded_is_refused(admin_client, wrong, said):
    answer = admin_client.post(
        reverse("admin:routing_token_add"), {"mint": NEW_MINT, "symbol": "PYTH", "decimals": 6} | wrong
    )
    assert said in text(answer)
    assert not Token.objects.filter(decimals=6, symbol__in=["PYTH", "SOL-2"]).exists()


def test_the_header_names_the_engine_and_leads_to_its_queues(admin_client, settings):
    settings.ENV = settings.ENV | {"ENGINE_HOST": "127.0.0.1", "ENGINE_FLOWER_PORT": 5999}
    answer = admin_client.get(reverse("admin:index"))
    assert "Order execution engine" in text(answer)
    assert 'href="http://127.0.0.1:5999"' in answer.content.decode()


def test_the_link_to_the_queues_uses_the_pages_host_when_the_engine_listens_everywhere(admin_client, settings):
    settings.ENV = settings.ENV | {"ENGINE_HOST": "0.0.0.0", "ENGINE_FLOWER_PORT": 5999}
    settings.ALLOWED_HOSTS = ["desk.example"]
    answer = admin_client.get(reverse("admin:index"), headers={"host": "desk.example:8000"})
    assert 'href="http://desk.example:5999"' in answer.content.decode()


@pytest.fixture
def token(db):
    """Return a token nobody trades, and forget what the market said of it."""
    redis().flushdb()
    yield Token.objects.create(mint=NEW_MINT, symbol="PYTH", decimals=6, mint_authority="", top_holder_bps=1_250)
    redis().flushdb()


def told(mint=NEW_MINT):
    return tape.states({mint: [60_000]}, now_ms())[mint]


def test_the_list_of_tokens_shows_what_is_known_of_each(admin_client, token):
    assert f"PYTH {NEW_MINT} 6 nobody unknown 12.5 %" in list_of(admin_client, Token)


def test_a_tokens_page_keeps_what_is_unknown_apart_from_what_has_been_given_up(admin_client, token):
    address = reverse("admin:routing_token_change", args=[NEW_MINT])
    form = admin_client.get(address).context["adminform"].form
    shown = {name: form[name].value() or "" for name in form.fields}
    assert (shown["mint_authority"], shown["freeze_authority"]) == ("nobody", "")
    assert admin_client.post(address, shown).status_code == 302
    token.refresh_from_db()
    assert (token.mint_authority, token.freeze_authority, token.top_holder_bps) == ("", None, 1_250)


@pytest.mark.parametrize(
    ("said", "kept"), [("nobody", ""), ("", None), (f" {NEW_MINT} ", NEW_MINT)], ids=["nobody", "empty", "address"]
)
def test_an_authority_is_written_as_an_address_as_nobody_or_left_empty(admin_client, token, said, kept):
    given = {"symbol": "PYTH", "decimals": 6, "freeze_authority": said}
    assert admin_client.post(reverse("admin:routing_token_change", args=[NEW_MINT]), given).status_code == 302
    token.refresh_from_db()
    assert token.freeze_authority == kept


def test_saving_a_token_looks_it_up_and_the_list_says_which_was_looked_up_too_long_ago(admin_client, token):
    Token.objects.filter(mint=NEW_MINT).update(facts_at=datetime.now(UTC) - timedelta(days=31))
    address = reverse("admin:routing_token_change", args=[NEW_MINT])
    assert "too long ago to be believed" in list_of(admin_client, Token)
    assert "too long ago to be believed" in page_of(admin_client, token)
    given = {"symbol": "PYTH", "decimals": 6, "mint_authority": "nobody"}
    assert admin_client.post(address, given).status_code == 302
    token.refresh_from_db()
    assert datetime.now(UTC) - token.facts_at < timedelta(minutes=1)
    assert "too long ago" not in list_of(admin_client, Token)


def test_an_authority_that_is_no_address_is_refused(admin_client, token):
    given = {"symbol": "PYTH", "decimals": 6, "mint_authority": "me"}
    answer = admin_client.post(reverse("admin:routing_token_change", args=[NEW_MINT]), given)
    assert "An authority is a Solana address, or nobody; empty when it is unknown." in text(answer)


@pytest.mark.parametrize(
    ("action", "name", "state"),
    [
        ("trade", "A trade of 25000 USD was emitted.", TokenState(1, None, {60_000: 2_500_000})),
        ("read_liquidity", "A liquidity of 100000 USD was emitted.", TokenState(1, 10_000_000, {60_000: 0})),
    ],
)
def test_an_action_has_the_market_tell_of_a_token_and_is_on_record(admin_client, token, action, name, state):
    asked = {"action": action, "_selected_action": [NEW_MINT]}
    answer = admin_client.post(reverse("admin:routing_token_changelist"), asked, follow=True)
    assert messages_of(answer) == [f"PYTH: {name}"]
    assert told() == state
    assert LogEntry.objects.get(object_id=NEW_MINT).change_message == name


def test_a_tokens_page_shows_what_its_pools_are_worth_also_while_redis_is_away(admin_client, token, monkeypatch):
    stage.liquidity("PYTH", 123_400)
    assert "Liquidity 1234 USD" in page_of(admin_client, token)

    def away(*_):
        raise StoreGone("gone")

    monkeypatch.setattr(tape, "states", away)
    assert "Liquidity unknown" in page_of(admin_client, token)


def test_what_redis_did_not_hear_of_is_said_and_not_on_record(admin_client, token, monkeypatch):
    def away(*_):
        raise StoreGone("gone")

    monkeypatch.setattr(tape, "publish", away)
    asked = {"action": "trade", "_selected_action": [NEW_MINT]}
    answer = admin_client.post(reverse("admin:routing_token_changelist"), asked, follow=True)
    assert messages_of(answer) == ["PYTH: Redis cannot be reached: gone"]
    assert not LogEntry.objects.filter(object_id=NEW_MINT).exists()


def test_the_button_above_the_list_launches_a_token_announces_it_and_is_on_record(admin_client, token, announced):
    address = reverse("admin:routing_token_launch")
    assert address in admin_client.get(reverse("admin:routing_token_changelist")).content.decode()
    before = set(Token.objects.values_list("pk", flat=True))
    assert announced(lambda: admin_client.post(address)) == 1
    launched = Token.objects.exclude(pk__in=before).get()
    assert Pair.objects.filter(token_in=launched, active=True).count() == 2
    assert told(launched.mint).liquidity == stage.LIQUIDITY
    entry = LogEntry.objects.get(object_id=launched.pk)
    assert (entry.is_addition(), entry.change_message) == (True, "Launched with a pool of 50000 USD.")
    assert f"{launched.symbol} launched: " in list_of(admin_client, Token)


def test_following_a_link_or_merely_looking_launches_nothing(admin_client, staff, token):
    before = Token.objects.count()
    address = reverse("admin:routing_token_launch")
    assert address not in staff.get(reverse("admin:routing_token_changelist")).content.decode()
    assert staff.post(address).status_code == 403
    asked = {"action": "trade", "_selected_action": [NEW_MINT]}
    staff.post(reverse("admin:routing_token_changelist"), asked)
    assert told().volumes == {60_000: 0}
    staff.force_login(User.objects.get(username="admin"))
    assert staff.get(address).status_code == 405
    assert Token.objects.count() == before


@pytest.mark.parametrize(
    ("given", "tick"),
    [({"tick": "0.005"}, "0.005"), ({"tick": ""}, None), ({}, None)],
    ids=["given", "empty", "absent"],
)
def test_a_new_pair_has_the_tick_it_is_given_or_one_by_its_price_and_keeps_it(admin_client, token, given, tick):
    usdc = Token.objects.get(symbol="USDC")
    pair = {"token_in": NEW_MINT, "token_out": usdc.pk, "active": "on"}
    assert admin_client.post(reverse("admin:routing_pair_add"), pair | given).status_code == 302
    row = Pair.objects.get(token_in=NEW_MINT)
    price = stage.wiring.market().mid(TradedPair(token_of(token), token_of(usdc)), now_ms())
    assert row.tick == Decimal(tick) if tick else Decimal("1e-5") < row.tick / price <= Decimal("1e-4")
    admin_client.post(reverse("admin:routing_pair_change", args=[row.pk]), {"active": "on", "tick": "7"})
    assert Pair.objects.get(pk=row.pk).tick == row.tick
    assert f"PYTH-USDC {row.tick.normalize():f}" in list_of(admin_client, Pair)


@pytest.mark.parametrize("tick", ["0", "-1", "much"])
def test_a_tick_that_no_price_could_sit_on_is_refused(admin_client, token, tick):
    pair = {"token_in": NEW_MINT, "token_out": Token.objects.get(symbol="USDC").pk, "tick": tick}
    assert admin_client.post(reverse("admin:routing_pair_add"), pair).status_code == 200
    assert not Pair.objects.filter(token_in=NEW_MINT).exists()
