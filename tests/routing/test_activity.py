"""What happens in the sandbox market: the same for everybody, and lively enough."""

import os
import subprocess
import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from engine.market import EventKind
from engine.money import Token
from routing.catalogue import is_mint
from routing.models import Token as TokenRow
from routing.sandbox import activity
from routing.sandbox.activity import NEW, SLOT_MS, happenings, newcomer
from routing.venues import VENUES
from tests.engine.tokens import BONK, SOL, USDC

SLOT = 1_763_800_000
SEEDS = st.integers(0, 2**63)
SLOTS = st.integers(SLOT, SLOT + 10 * 365 * 86_400)
LAUNCHED = Token(newcomer(1, SLOT).symbol, newcomer(1, SLOT).mint, newcomer(1, SLOT).decimals)
BY_HAND = Token("HAND", "HZ1JovNiVvGrGNiiYvEozEVgZ58xaU3RKwX8eACQBCt3", 6)
TOKENS = [SOL, USDC, BONK, LAUNCHED, BY_HAND]


def told(slots, tokens=TOKENS, seed=1):
    return [event for slot in slots for event in happenings(seed, slot, tokens)]


HOUR = told(range(SLOT, SLOT + 3_600))


@given(SEEDS, SLOTS)
def test_what_happens_in_a_slot_happens_within_it_and_is_worth_something(seed, slot):
    for event in happenings(seed, slot, TOKENS):
        assert slot * SLOT_MS <= event.at < (slot + 1) * SLOT_MS
        assert event.amount > 0
        assert event.venue in VENUES


def test_no_two_events_share_an_id():
    assert len({event.id for event in HOUR}) == len(HOUR)


def test_a_slot_is_the_same_whenever_and_with_whomever_it_is_told():
    alone = [event for event in HOUR if event.mint == SOL.mint]
    assert told(range(SLOT, SLOT + 3_600), [SOL]) == alone
    assert told([SLOT + 7]) == told([SLOT + 7])


def test_another_seed_tells_another_story():
    assert told(range(SLOT, SLOT + 60)) != told(range(SLOT, SLOT + 60), seed=2)


def test_two_processes_tell_the_same_without_sharing_anything():
    ask = f"""
from routing.sandbox.activity import happenings, newcomer
from tests.engine.tokens import SOL
print([list(happenings(1, slot, [SOL])) for slot in range({SLOT}, {SLOT + 60})], newcomer(1, {SLOT}))
"""
    answers = [
        subprocess.run(
            [sys.executable, "-c", ask],
            env=os.environ | {"PYTHONHASHSEED": seed, "DJANGO_SETTINGS_MODULE": "config.settings"},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
        for seed in ("1", "2")
    ]
    assert answers[0] == answers[1]
    assert str(newcomer(1, SLOT)) in answers[0]


def test_every_token_is_traded_about_once_in_four_seconds_on_both_venues():
    trades = [event for event in HOUR if event.kind is EventKind.TRADE]
    counts = Counter(event.mint for event in trades)
    assert set(counts) == {token.mint for token in TOKENS}
    assert all(700 < count < 1_100 for count in counts.values())
    assert {event.venue for event in trades} == set(VENUES)


def test_trades_differ_and_most_are_small():
    sizes = sorted(event.amount for event in HOUR if event.kind is EventKind.TRADE and event.mint == SOL.mint)
    assert sizes[-1] > 50 * sizes[len(sizes) // 10]
    assert sizes[len(sizes) // 2] < sum(sizes) / len(sizes)


def test_liquidity_strays_at_most_a_tenth_and_only_where_the_market_knows_it():
    readings = [event for event in HOUR if event.kind is EventKind.LIQUIDITY]
    assert {event.mint for event in readings} == {token.mint for token in TOKENS} - {BY_HAND.mint}
    of_launched = [event.amount for event in readings if event.mint == LAUNCHED.mint]
    worth = newcomer(1, SLOT).liquidity
    assert len(of_launched) > 60
    assert all(worth * 9 // 10 <= amount <= worth * 11 // 10 for amount in of_launched)
    assert len(set(of_launched)) > 30


def test_of_a_newcomer_of_another_market_only_its_launcher_can_tell_the_worth():
    assert activity.depth(2, LAUNCHED) is None
    assert activity.depth(1, LAUNCHED) == newcomer(1, SLOT).liquidity


@given(SEEDS, SLOTS)
def test_a_newcomer_can_be_listed_as_it_is(seed, slot):
    token = newcomer(seed, slot)
    assert is_mint(token.mint)
    assert token.symbol.isalnum() and token.symbol.isascii() and len(token.symbol) <= 16
    assert token.decimals in (6, 9)
    assert NEW[0] <= token.liquidity <= NEW[1]
    row = TokenRow(token.mint, token.symbol, token.decimals, token.mint_authority, token.freeze_authority)
    row.top_holder_bps = token.top_holder_bps
    row.clean_fields()


@given(SEEDS, SLOTS)
def test_a_newcomers_mint_tells_when_it_was_born(seed, slot):
    assert activity.born(newcomer(seed, slot).mint) == slot


def test_other_tokens_were_not_born_here():
    assert [activity.born(token.mint) for token in (SOL, USDC, BONK, BY_HAND)] == [None] * 4
    assert activity.born("no mint at all") is None


NEWCOMERS = [newcomer(1, slot) for slot in range(SLOT, SLOT + 120 * 600, 120)]


def test_no_two_newcomers_share_a_mint_or_a_symbol():
    assert len({token.mint for token in NEWCOMERS}) == len({token.symbol for token in NEWCOMERS}) == len(NEWCOMERS)


def test_two_newcomers_in_three_have_nothing_against_them_and_the_others_each_one_thing():
    safe = [
        token
        for token in NEWCOMERS
        if token.mint_authority == "" and token.freeze_authority == "" and (token.top_holder_bps or 10_000) < 1_000
    ]
    assert 0.6 < len(safe) / len(NEWCOMERS) < 0.73
    others = Counter(
        (bool(token.mint_authority), bool(token.freeze_authority), (token.top_holder_bps or 0) > 5_000)
        for token in NEWCOMERS
        if token not in safe
    )
    # The last are those of which nothing is known.
    assert set(others) == {(True, False, False), (False, True, False), (False, False, True), (False, False, False)}
    unknown = [token for token in NEWCOMERS if token.top_holder_bps is None]
    assert unknown and all(token.mint_authority is None and token.freeze_authority is None for token in unknown)


def test_a_launch_is_due_at_even_intervals_or_never():
    assert [slot for slot in range(240) if activity.is_launch(slot, 60)] == [0, 60, 120, 180]
    assert not any(activity.is_launch(slot, 0) for slot in range(240))
