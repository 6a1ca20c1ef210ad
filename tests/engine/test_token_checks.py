"""What a token must show before a sniper order buys it."""

from dataclasses import replace

import pytest

from engine.token_checks import Limits, TokenFacts, awaits_market, judge, refusals

LIMITS = Limits(liquidity_min=1_000_000, top_holder_max_bps=2_000)
SAFE = TokenFacts(mint_authority="", freeze_authority="", liquidity=1_000_000, top_holder_bps=2_000)
CHECKS = ["mintAuthority", "freezeAuthority", "liquidity", "topHolder"]


def refused(facts, *, allow_unknown=False):
    return [verdict.check for verdict in judge(facts, LIMITS, allow_unknown=allow_unknown) if not verdict.passed]


def test_a_token_just_within_the_limits_passes_every_token_check_in_order():
    verdicts = judge(SAFE, LIMITS, allow_unknown=False)
    assert [verdict.check for verdict in verdicts] == CHECKS
    assert all(verdict.passed for verdict in verdicts)
    assert refusals(verdicts) == ""


@pytest.mark.parametrize(
    ("wrong", "check", "reason"),
    [
        ({"mint_authority": "somebody"}, "mintAuthority", "more can be minted by somebody"),
        ({"freeze_authority": "somebody"}, "freezeAuthority", "holdings can be frozen by somebody"),
        ({"liquidity": 999_999}, "liquidity", "less than 10000 USD"),
        ({"top_holder_bps": 2_001}, "topHolder", "more than 20 %"),
    ],
)
def test_one_wrong_thing_is_refused_by_its_token_check_alone_whatever_the_order_allows(wrong, check, reason):
    facts = replace(SAFE, **wrong)
    assert refused(facts) == refused(facts, allow_unknown=True) == [check]
    assert refusals(judge(facts, LIMITS, allow_unknown=False)) == f"{check}: {reason}"


@pytest.mark.parametrize("name", ["mint_authority", "freeze_authority", "liquidity", "top_holder_bps"])
def test_what_is_unknown_is_refused_unless_the_order_allows_it(name):
    facts = replace(SAFE, **{name: None})
    assert len(refused(facts)) == 1
    assert refused(facts, allow_unknown=True) == []


def test_nothing_known_at_all_is_refused_by_every_token_check():
    assert refused(TokenFacts()) == CHECKS
    assert refused(TokenFacts(), allow_unknown=True) == []


def test_a_pool_of_nothing_is_known_and_refused():
    assert refused(replace(SAFE, liquidity=0), allow_unknown=True) == ["liquidity"]


@pytest.mark.parametrize(
    ("changed", "awaits"),
    [
        ({}, False),
        ({"liquidity": None}, True),
        ({"liquidity": 999_999}, False),
        ({"liquidity": None, "mint_authority": "somebody"}, False),
        ({"liquidity": None, "top_holder_bps": None}, False),
        ({"top_holder_bps": None}, False),
    ],
)
def test_a_token_awaits_the_market_while_nothing_but_its_silence_keeps_it(changed, awaits):
    facts = replace(SAFE, **changed)
    assert awaits_market(judge(facts, LIMITS, allow_unknown=False)) is awaits
    assert not awaits_market(judge(replace(facts, mint_authority=""), LIMITS, allow_unknown=True))


def test_a_verdict_tells_the_value_its_source_and_why():
    mint, _, liquidity, holder = (verdict.as_dict() for verdict in judge(SAFE, LIMITS, allow_unknown=False))
    assert mint == {
        "gate": "mintAuthority",
        "value": "none",
        "source": "token",
        "verdict": "pass",
        "reason": "renounced",
    }
    assert (liquidity["value"], liquidity["source"], liquidity["reason"]) == ("10000", "market", "at least 10000 USD")
    assert (holder["value"], holder["reason"]) == ("20 %", "at most 20 %")


def test_an_unknown_value_is_null_and_says_whether_it_was_allowed():
    for allowed, verdict, reason in ((False, "refuse", "unknown"), (True, "pass", "unknown, which the order allows")):
        told = judge(TokenFacts(), LIMITS, allow_unknown=allowed)[0].as_dict()
        assert (told["value"], told["verdict"], told["reason"]) == (None, verdict, reason)
