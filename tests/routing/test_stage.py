"""The hands in the sandbox market: launches, what they leave behind, and who tells of each second."""

import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import OperationalError, close_old_connections

from engine.market import EventKind
from engine.token_checks import TokenFacts
from engine.triggers import TokenState
from routing import catalogue as catalogue_module
from routing import models, tape
from routing.catalogue import catalogue
from routing.facts import believed, facts
from routing.sandbox import activity, stage
from routing.sandbox.activity import SLOT_MS, newcomer
from routing.store import StoreError, now_ms, redis

MINT = "HZ1JovNiVvGrGNiiYvEozEVgZ58xaU3RKwX8eACQBCt3"
SOMEBODY = "2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo"
MINUTE = 60_000
NOW = 1_763_800_000_000
SLOT = NOW // SLOT_MS - 1
"""The last that is over at NOW."""


@pytest.fixture(autouse=True)
def no_launches(bench, settings):
    settings.MOCK_LAUNCH_EVERY_S = 0
    return settings


def events():
    return [tape.event_from(fields) for _, fields in redis().xrange(tape.EVENTS)]


def state(mint=MINT, *windows):
    return tape.states({mint: windows}, now_ms())[mint]


def slots_told():
    return sorted({event.at // SLOT_MS for event in events()})


def traded(mint):
    return models.Pair.objects.filter(token_in=mint, active=True).exists()


def counts():
    return models.Token.objects.count(), models.Pair.objects.count()


def test_a_launched_token_is_traded_against_sol_and_usdc_in_both_directions():
    assert "PYTH" not in catalogue().tokens
    launched = stage.launch(mint=MINT, symbol="PYTH", decimals=9)
    assert sorted(launched.pairs) == ["PYTH-SOL", "PYTH-USDC", "SOL-PYTH", "USDC-PYTH"]
    assert set(launched.pairs) <= set(catalogue().active)
    assert catalogue().tokens["PYTH"] == catalogue().tokens[MINT] == launched.token
    assert launched.token.decimals == 9


def test_its_pool_is_on_the_tape_and_in_its_state():
    stage.launch(mint=MINT, liquidity=1_234_500)
    (event,) = events()
    assert (event.kind, event.mint, event.amount) == (EventKind.POOL, MINT, 1_234_500)
    assert abs(now_ms() - event.at) < 10_000
    assert state() == TokenState(1, 1_234_500, {})


def test_a_tick_is_a_power_of_ten_about_a_ten_thousandth_of_the_price(bench):
    launched = stage.launch(mint=MINT)
    for name in launched.pairs:
        pair = catalogue().pair(name)
        price = stage.wiring.market().mid(pair, now_ms())
        assert pair.tick.normalize().as_tuple().digits == (1,)
        assert Decimal("1e-5") < pair.tick / price <= Decimal("1e-4")


def test_who_hears_of_a_launch_finds_the_token(monkeypatch):
    found = []

    def publish(told):
        for event in told:
            # From another connection: what is not committed is not there.
            thread = threading.Thread(target=lambda mint=event.mint: look(mint))
            thread.start()
            thread.join(10)

    def look(mint):
        found.append(models.Pair.objects.filter(token_in=mint).count())
        close_old_connections()

    monkeypatch.setattr(tape, "publish", publish)
    stage.launch(mint=MINT)
    assert found == [2]


def test_launching_the_same_mint_again_changes_nothing():
    first = stage.launch(mint=MINT, liquidity=1_000, mint_authority=SOMEBODY)
    before = counts()
    assert stage.launch(mint=MINT, liquidity=2_000) == first
    assert counts() == before
    assert state() == TokenState(1, 1_000, {})
    assert models.Token.objects.get(mint=MINT).mint_authority == SOMEBODY


def test_a_launch_that_redis_did_not_hear_of_is_told_when_it_is_asked_for_again(monkeypatch):
    def away(told):
        raise StoreError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(tape, "publish", away)
        with pytest.raises(StoreError):
            stage.launch(mint=MINT)
    assert state().pools == 0
    stage.launch(mint=MINT)
    assert state().pools == 1


def test_many_who_launch_the_same_mint_at_once_launch_it_once():
    launched = []

    def launch():
        launched.append(stage.launch(mint=MINT))
        close_old_connections()

    threads = [threading.Thread(target=launch) for _ in range(4)]
    before = counts()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(launched) == 4 and len({one.token for one in launched}) == 1
    assert counts() == (before[0] + 1, before[1] + 4)
    assert state().pools == 1


def test_what_is_made_up_differs_and_can_be_listed():
    first, second = stage.launch(), stage.launch()
    assert first.token.mint != second.token.mint and first.token.symbol != second.token.symbol
    models.Token.objects.get(mint=first.token.mint).full_clean(exclude=["mint_authority", "freeze_authority"])


@pytest.mark.parametrize(
    ("asked", "refusal", "said"),
    [
        ({"mint": "not a mint"}, stage.BadMint, "'not a mint' is not a Solana address"),
        ({"mint_authority": "me"}, stage.BadMint, "'me' is not a Solana address"),
        ({"freeze_authority": "me"}, stage.BadMint, "'me' is not a Solana address"),
        ({"symbol": "A-B"}, stage.BadSymbol, "'A-B' is not a symbol"),
        ({"symbol": "A" * 17}, stage.BadSymbol, "is not a symbol"),
        ({"symbol": "SOL"}, stage.SymbolTaken, "another token is called SOL"),
    ],
)
def test_a_launch_that_cannot_be_is_refused_and_leaves_nothing(asked, refusal, said):
    before = counts()
    with pytest.raises(refusal, match=said):
        stage.launch(**asked)
    assert counts() == before
    assert events() == []


def test_a_listed_mint_keeps_its_symbol():
    stage.launch(mint=MINT, symbol="PYTH")
    with pytest.raises(stage.SymbolTaken, match="already listed as PYTH"):
        stage.launch(mint=MINT, symbol="OTHER")


@pytest.mark.parametrize("name", ["PYTH", MINT])
def test_liquidity_and_volume_are_told_of_a_token_by_symbol_or_mint(name):
    stage.launch(mint=MINT, symbol="PYTH", liquidity=1_000)
    stage.liquidity(name, 2_000)
    stage.volume(name, 30)
    stage.volume(name, 30)
    assert state(MINT, MINUTE) == TokenState(1, 2_000, {MINUTE: 60})


@pytest.mark.parametrize("tell", [stage.liquidity, stage.volume])
def test_nothing_is_told_of_a_token_nobody_knows(tell):
    with pytest.raises(stage.UnknownToken, match="DOGE"):
        tell("DOGE", 100)
    assert events() == []


def test_facts_come_from_the_row_and_the_tape():
    stage.launch(mint=MINT, liquidity=700, mint_authority=SOMEBODY, freeze_authority="", top_holder_bps=1_234)
    assert facts({MINT: state()}) == {MINT: TokenFacts(SOMEBODY, "", 700, 1_234)}
    assert facts({MINT: TokenState(0, None, {})}) == {MINT: TokenFacts(SOMEBODY, "", None, 1_234)}


def test_unknown_facts_stay_unknown_and_of_an_unknown_token_everything_is():
    stage.launch(mint=MINT, liquidity=700, mint_authority=None, freeze_authority=None, top_holder_bps=None)
    assert facts({MINT: state()}) == {MINT: TokenFacts(None, None, 700, None)}
    assert facts({SOMEBODY: TokenState(1, 500, {})}) == {SOMEBODY: TokenFacts()}


def test_the_second_that_is_over_is_told_and_it_once():
    stage.emit(NOW)
    tokens = [catalogue().tokens[name] for name in ("SOL", "USDC", "JUP")]
    stage.emit(NOW + SLOT_MS - 1)
    expected = activity.happenings(stage.wiring.market().seed, SLOT, tokens)
    assert sorted(events(), key=str) == sorted(expected, key=str)


def test_seconds_in_between_are_told_but_not_those_of_a_long_silence():
    stage.emit(NOW)
    redis().delete(tape.EVENTS)
    stage.emit(NOW + 2 * SLOT_MS)
    assert set(slots_told()) <= {SLOT + 1, SLOT + 2}
    redis().delete(tape.EVENTS)
    stage.emit(NOW + 1_000 * SLOT_MS)
    assert slots_told() and set(slots_told()) <= {SLOT + 1_000 - back for back in range(stage.BACKFILL)}


def test_a_clock_that_steps_back_tells_nothing_twice():
    assert list(stage.take_slots(SLOT)) == [SLOT]
    assert list(stage.take_slots(SLOT - 5)) == []
    assert list(stage.take_slots(SLOT)) == []
    assert 0 < redis().ttl(stage.EMITTED) <= stage.EMITTED_S


def test_each_second_goes_to_one_of_many_processes():
    taken = []

    def take_all():
        for slot in range(SLOT, SLOT + 100):
            taken.extend(stage.take_slots(slot))

    threads = [threading.Thread(target=take_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(taken) == list(range(SLOT, SLOT + 100))


def test_postgres_is_not_asked_while_no_launch_is_due(django_assert_num_queries):
    catalogue()
    with django_assert_num_queries(0):
        stage.emit(NOW)


def test_a_launch_that_is_due_is_made_by_the_clock(no_launches):
    no_launches.MOCK_LAUNCH_EVERY_S = 10
    seed = stage.wiring.market().seed
    due = SLOT - SLOT % 10
    stage.emit((due + 1) * SLOT_MS)
    wanted = newcomer(seed, due)
    assert state(wanted.mint).liquidity == wanted.liquidity
    row = models.Token.objects.get(mint=wanted.mint)
    assert (row.symbol, row.decimals, row.top_holder_bps) == (wanted.symbol, wanted.decimals, wanted.top_holder_bps)
    assert traded(wanted.mint)
    before = counts()
    stage.emit((due + 2) * SLOT_MS)
    assert counts() == before


def test_only_the_newest_automatic_launches_stay_on_the_market_and_those_by_hand_are_left_alone():
    by_hand = stage.launch().token.mint
    slots = range(SLOT, SLOT + 5)
    for slot in slots:
        stage.launch_due(1, slot)
    assert [traded(newcomer(1, slot).mint) for slot in slots] == [False, False, True, True, True]
    assert traded(by_hand)
    assert traded(catalogue().tokens["SOL"].mint)
    assert not [name for name in catalogue().active if newcomer(1, SLOT).symbol in name]


def test_launches_of_another_market_are_retired_too():
    for slot in range(SLOT, SLOT + 3):
        stage.launch_due(1, slot)
    stage.launch_due(2, SLOT + 3)
    assert not traded(newcomer(1, SLOT).mint)


def test_a_symbol_that_is_taken_keeps_only_its_own_launch_from_being_made():
    stage.launch(symbol=newcomer(1, SLOT).symbol)
    stage.launch_due(1, SLOT)
    assert not models.Token.objects.filter(mint=newcomer(1, SLOT).mint).exists()


def test_a_token_is_told_of_only_while_it_is_traded():
    stage.launch(mint=MINT)
    models.Pair.objects.filter(token_in=MINT).update(active=False)
    models.Pair.objects.filter(token_out=MINT).update(active=False)
    catalogue.forget()
    redis().delete(tape.EVENTS)
    for second in range(30):
        stage.emit(NOW + second * SLOT_MS)
    assert events() and MINT not in {event.mint for event in events()}


def test_while_postgres_is_away_what_happens_is_told_and_only_a_launch_fails(no_launches, monkeypatch):
    no_launches.MOCK_LAUNCH_EVERY_S = 1
    catalogue()

    def away(*_, **__):
        raise OperationalError("gone")

    monkeypatch.setattr(catalogue_module, "read", away)
    monkeypatch.setattr(models.Token.objects, "get_or_create", away)
    for second in range(5):
        with pytest.raises(OperationalError):
            stage.emit(NOW + second * SLOT_MS)
    assert len(events()) > 0


def test_tokens_the_market_made_up_are_looked_up_now_and_then_and_never_become_unknown():
    stage.launch(mint=MINT, symbol="PYTH")
    models.Token.objects.update(facts_at=datetime(2020, 1, 1, tzinfo=UTC))
    hour = NOW // SLOT_MS // stage.LOOK_UP_SLOTS * stage.LOOK_UP_SLOTS
    stage.emit(hour * SLOT_MS)
    assert believed_tokens() == set()
    stage.emit((hour + 1) * SLOT_MS)
    assert {"SOL", "USDC", "JUP"} <= believed_tokens()
    assert "PYTH" not in believed_tokens(), "only its launcher can tell of it"


def believed_tokens():
    return set(models.Token.objects.annotate(known=believed()).filter(known=True).values_list("symbol", flat=True))
