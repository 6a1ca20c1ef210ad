"""The admin: tokens and pairs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from redis.exceptions import ConnectionError as StoreGone

from engine.quotes import Pair as TradedPair
from engine.triggers import TokenState
from orders.flow import pauses
from orders.models import Act
from routing import tape
from routing.catalogue import token_of
from routing.models import Pair, Token
from routing.sandbox import stage
from routing.store import now_ms, redis
from tests.orders.pages import list_of, messages_of, page_of, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fresh_catalogue")]


NEW_MINT = "HZ1JovNiVvGrGNiiYvEozEVgZ58xaU3RKwX8eACQBCt3"


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


def test_adding_a_token_and_a_pair_is_announced(operator, announced):
    token = {"mint": NEW_MINT, "symbol": "PYTH", "decimals": 6}
    assert announced(lambda: operator.post(reverse("admin:routing_token_add"), token)) == 1
    usdc = Token.objects.get(symbol="USDC")
    pair = {"token_in": NEW_MINT, "token_out": usdc.pk, "active": "on"}
    assert announced(lambda: operator.post(reverse("admin:routing_pair_add"), pair)) == 1
    assert str(Pair.objects.get(token_in=NEW_MINT)) == "PYTH-USDC"


def test_a_pair_is_switched_off_on_its_page_and_by_action_and_both_are_announced(operator, announced):
    first, second = Pair.objects.filter(active=True)[:2]
    assert announced(lambda: operator.post(reverse("admin:routing_pair_change", args=[first.pk]), {})) == 1
    asked = {"action": "deactivate", "_selected_action": [second.pk]}
    assert announced(lambda: operator.post(reverse("admin:routing_pair_changelist"), asked)) == 1
    assert not Pair.objects.filter(pk__in=[first.pk, second.pk], active=True).exists()


def test_a_pair_keeps_its_tokens_and_cannot_be_deleted(operator):
    pair = Pair.objects.first()
    other = Token.objects.exclude(pk__in=[pair.token_in_id, pair.token_out_id]).first()
    operator.post(reverse("admin:routing_pair_change", args=[pair.pk]), {"token_in": other.pk, "active": "on"})
    assert operator.post(reverse("admin:routing_pair_delete", args=[pair.pk]), {"post": "yes"}).status_code == 403
    assert Pair.objects.get(pk=pair.pk).token_in_id == pair.token_in_id


def test_a_traded_token_stays_as_it_is(operator):
    sol = Token.objects.get(symbol="SOL")
    changed = {"mint": NEW_MINT, "symbol": "XOL", "decimals": 3}
    operator.post(reverse("admin:routing_token_change", args=[sol.pk]), changed)
    operator.post(reverse("admin:routing_token_delete", args=[sol.pk]), {"post": "yes"})
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
def test_a_token_that_could_not_be_traded_is_refused(operator, wrong, said):
    answer = operator.post(
        reverse("admin:routing_token_add"), {"mint": NEW_MINT, "symbol": "PYTH", "decimals": 6} | wrong
    )
    assert said in text(answer)
    assert not Token.objects.filter(decimals=6, symbol__in=["PYTH", "SOL-2"]).exists()


@pytest.fixture
def token(db):
    """Return a token nobody trades, and forget what the market said of it."""
    redis().flushdb()
    yield Token.objects.create(mint=NEW_MINT, symbol="PYTH", decimals=6, mint_authority="", top_holder_bps=1_250)
    redis().flushdb()


def told(mint=NEW_MINT):
    return tape.states({mint: [60_000]}, now_ms())[mint]


def test_the_list_of_tokens_shows_what_is_known_of_each(operator, token):
    assert f"PYTH {NEW_MINT} 6 nobody unknown 12.5 %" in list_of(operator, Token)


def test_a_tokens_page_keeps_what_is_unknown_apart_from_what_has_been_given_up(operator, token):
    address = reverse("admin:routing_token_change", args=[NEW_MINT])
    form = operator.get(address).context["adminform"].form
    shown = {name: form[name].value() or "" for name in form.fields}
    assert (shown["mint_authority"], shown["freeze_authority"]) == ("nobody", "")
    assert operator.post(address, shown).status_code == 302
    token.refresh_from_db()
    assert (token.mint_authority, token.freeze_authority, token.top_holder_bps) == ("", None, 1_250)


@pytest.mark.parametrize(
    ("said", "kept"), [("nobody", ""), ("", None), (f" {NEW_MINT} ", NEW_MINT)], ids=["nobody", "empty", "address"]
)
def test_an_authority_is_written_as_an_address_as_nobody_or_left_empty(operator, token, said, kept):
    given = {"symbol": "PYTH", "decimals": 6, "freeze_authority": said}
    assert operator.post(reverse("admin:routing_token_change", args=[NEW_MINT]), given).status_code == 302
    token.refresh_from_db()
    assert token.freeze_authority == kept


def test_saving_a_token_looks_it_up_and_the_list_says_which_was_looked_up_too_long_ago(operator, token):
    Token.objects.filter(mint=NEW_MINT).update(facts_at=datetime.now(UTC) - timedelta(days=31))
    address = reverse("admin:routing_token_change", args=[NEW_MINT])
    assert "too old to use" in list_of(operator, Token)
    assert "too old to use" in page_of(operator, token)
    given = {"symbol": "PYTH", "decimals": 6, "mint_authority": "nobody"}
    assert operator.post(address, given).status_code == 302
    token.refresh_from_db()
    assert datetime.now(UTC) - token.facts_at < timedelta(minutes=1)
    assert "too old to use" not in list_of(operator, Token)


def test_an_authority_that_is_no_address_is_refused(operator, token):
    given = {"symbol": "PYTH", "decimals": 6, "mint_authority": "me"}
    answer = operator.post(reverse("admin:routing_token_change", args=[NEW_MINT]), given)
    assert "An authority is a Solana address, or nobody; empty if unknown." in text(answer)


@pytest.mark.parametrize(
    ("action", "name", "state"),
    [
        ("trade", "A trade of 25000 USD was emitted.", TokenState(1, None, {60_000: 2_500_000})),
        ("read_liquidity", "A liquidity of 100000 USD was emitted.", TokenState(1, 10_000_000, {60_000: 0})),
    ],
)
def test_an_action_has_the_market_tell_of_a_token_and_is_on_record(operator, token, action, name, state):
    asked = {"action": action, "_selected_action": [NEW_MINT]}
    answer = operator.post(reverse("admin:routing_token_changelist"), asked, follow=True)
    assert messages_of(answer) == [f"PYTH: {name}"]
    assert told() == state
    assert Act.objects.get(page__contains=NEW_MINT).outcome == name


def test_a_tokens_page_shows_what_its_pools_are_worth_also_while_redis_is_away(operator, token, monkeypatch):
    stage.liquidity("PYTH", 123_400)
    assert "Liquidity 1234 USD" in page_of(operator, token)

    def away(*_):
        raise StoreGone("gone")

    monkeypatch.setattr(tape, "states", away)
    assert "Liquidity unknown" in page_of(operator, token)


def test_what_redis_did_not_hear_of_is_said_and_not_on_record(operator, token, monkeypatch):
    def away(*_):
        raise StoreGone("Timeout connecting to 10.0.0.7:6379")

    monkeypatch.setattr(tape, "publish", away)
    asked = {"action": "trade", "_selected_action": [NEW_MINT]}
    answer = operator.post(reverse("admin:routing_token_changelist"), asked, follow=True)
    assert messages_of(answer) == ["PYTH: Redis cannot be reached: no answer in time"]
    assert not Act.objects.filter(page__contains=NEW_MINT).exists()


def test_the_button_above_the_list_launches_a_token_announces_it_and_is_on_record(operator, token, announced):
    address = reverse("admin:routing_token_launch")
    assert address in operator.get(reverse("admin:routing_token_changelist")).content.decode()
    before = set(Token.objects.values_list("pk", flat=True))
    assert announced(lambda: operator.post(address)) == 1
    launched = Token.objects.exclude(pk__in=before).get()
    assert Pair.objects.filter(token_in=launched, active=True).count() == 2
    assert told(launched.mint).liquidity == stage.LIQUIDITY
    entry = Act.objects.get(page__contains=launched.pk)
    assert (entry.what, entry.outcome) == ("add token", "Launched with a pool of 50000 USD.")
    assert f"{launched.symbol} launched: " in list_of(operator, Token)


def test_following_a_link_or_merely_looking_launches_nothing(operator, looker, token):
    before = Token.objects.count()
    address = reverse("admin:routing_token_launch")
    assert address not in looker.get(reverse("admin:routing_token_changelist")).content.decode()
    assert looker.post(address).status_code == 403
    asked = {"action": "trade", "_selected_action": [NEW_MINT]}
    looker.post(reverse("admin:routing_token_changelist"), asked)
    assert told().volumes == {60_000: 0}
    looker.force_login(User.objects.get(username="ops"))
    assert looker.get(address).status_code == 405
    assert Token.objects.count() == before


@pytest.mark.parametrize(
    ("given", "tick"),
    [({"tick": "0.005"}, "0.005"), ({"tick": ""}, None), ({}, None)],
    ids=["given", "empty", "absent"],
)
def test_a_new_pair_has_the_tick_it_is_given_or_one_by_its_price_and_keeps_it(operator, token, given, tick):
    usdc = Token.objects.get(symbol="USDC")
    pair = {"token_in": NEW_MINT, "token_out": usdc.pk, "active": "on"}
    assert operator.post(reverse("admin:routing_pair_add"), pair | given).status_code == 302
    row = Pair.objects.get(token_in=NEW_MINT)
    price = stage.wiring.market().mid(TradedPair(token_of(token), token_of(usdc)), now_ms())
    assert row.tick == Decimal(tick) if tick else Decimal("1e-5") < row.tick / price <= Decimal("1e-4")
    operator.post(reverse("admin:routing_pair_change", args=[row.pk]), {"active": "on", "tick": "7"})
    assert Pair.objects.get(pk=row.pk).tick == row.tick
    assert f"PYTH-USDC {row.tick.normalize():f}" in list_of(operator, Pair)


@pytest.mark.parametrize("tick", ["0", "-1", "much"])
def test_a_tick_that_no_price_could_sit_on_is_refused(operator, token, tick):
    pair = {"token_in": NEW_MINT, "token_out": Token.objects.get(symbol="USDC").pk, "tick": tick}
    assert operator.post(reverse("admin:routing_pair_add"), pair).status_code == 200
    assert not Pair.objects.filter(token_in=NEW_MINT).exists()
