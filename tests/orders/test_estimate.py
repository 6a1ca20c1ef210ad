"""What an order would get: worked out as the order worker would, with nothing placed."""

from decimal import Decimal

import pytest

from orders import models
from orders.flow.pauses import pause
from orders.models import PauseState
from routing.store import redis
from tests.orders.doors import ORDER, post
from tests.orders.sniping import Market, list_token, new_mint

ESTIMATE = "/api/orders/estimate"
LIMIT = ORDER | {"type": "limit", "limitPrice": "160"}


@pytest.fixture
def quoted(bench):
    """METEORA pays 155 without a fee; RAYDIUM 150."""
    bench.price("155")
    bench.price("150", venue="RAYDIUM")
    return bench


def asked(client, order):
    answer = client.post(ESTIMATE, order, content_type="application/json")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_an_estimate_is_what_the_order_then_expects(bench, client):
    bench.quote_all()
    fill = asked(client, ORDER)["fill"]
    (order_id,) = bench.place()
    bench.run([order_id])
    _, routing, building, *_ = bench.events(order_id)
    assert fill["expectedOut"] == building["expectedOut"]
    assert fill["minimumOut"] == building["minimumOut"]
    assert fill["venue"] == routing["venue"]
    assert fill["expectedPrice"] == building["quotedPrice"]
    assert [one["venue"] for one in fill["quotes"]] == [one["venue"] for one in routing["quotes"]]


def test_nothing_is_placed(quoted, client):
    before = sorted(redis().keys("*"))
    asked(client, ORDER | {"clientOrderId": "mine"})
    asked(client, LIMIT)
    assert models.Order.objects.count() == 0
    assert sorted(redis().keys("*")) == before


def test_the_fee_is_said_in_the_token_that_is_sold(bench, client):
    bench.quote("RAYDIUM")
    fill = asked(client, ORDER)["fill"]
    assert (fill["feeBps"], fill["fee"]) == (25, "0.00375")


@pytest.mark.parametrize(("age_ms", "fresh"), [(0, True), (5_000, False)])
def test_the_age_of_the_quote_is_told(bench, client, age_ms, fresh):
    bench.price("155", age_ms=age_ms)
    fill = asked(client, ORDER)["fill"]
    assert fill["fresh"] is fresh
    assert age_ms <= fill["ageMs"] < age_ms + 1_500


@pytest.mark.parametrize("age_ms", [None, 20_000])
def test_without_a_usable_quote_there_is_no_fill_and_the_reason(bench, client, age_ms):
    if age_ms:
        bench.price("155", age_ms=age_ms)
    found = asked(client, ORDER)
    assert (found["fill"], found["problem"]["code"]) == (None, "no_quote")


def test_an_order_that_spoils_its_own_price_is_told_so_beside_what_it_would_get(bench, client):
    bench.quote_all()
    found = asked(client, ORDER | {"amount": "1000000"})
    assert found["problem"]["code"] == "price_impact"
    assert Decimal(found["fill"]["impactBps"]) > 1_000


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("state", [PauseState.PAUSED, PauseState.HALTED])
def test_an_order_that_would_be_refused_for_a_pause_is_told_so_beside_what_it_would_get(quoted, client, state):
    pause("pair", "SOL-USDC", "odd prices", "ops", state)
    found = asked(client, ORDER)
    assert found["fill"]
    assert found["problem"] == {"code": "paused", "message": f"SOL-USDC is {state}: odd prices"}


def test_an_order_no_pool_can_pay_for_has_no_fill(bench, client):
    bench.quote("RAYDIUM")
    found = asked(client, ORDER | {"tokenIn": "SOL", "amount": "0.000000001"})
    assert (found["fill"], found["problem"]["code"]) == (None, "cannot_fill")


def test_a_limit_order_is_told_how_far_its_price_is_and_the_least_it_gets(quoted, client):
    found = asked(client, LIMIT)
    assert found["limit"]["best"] == "155"
    assert (found["limit"]["awayBps"], found["limit"]["leastOut"]) == ("322.59", "240")
    assert found["fill"]["minimumOut"] == "240"
    assert asked(client, LIMIT | {"limitPrice": "155"})["limit"]["awayBps"] == "0"
    assert asked(client, ORDER)["limit"] is None


def test_a_limit_order_on_a_pair_without_quotes_is_told_that_nobody_knows(bench, client):
    assert asked(client, LIMIT)["limit"]["awayBps"] is None


def test_a_sniper_order_is_told_what_the_market_shows_and_how_the_token_checks_would_judge(bench, client):
    mint = new_mint()
    list_token(mint, "NOVA9", top_holder_bps=9_000)
    Market(mint).pool(40_000)
    trigger = [{"kind": "liquidity", "atLeast": "50000"}, {"kind": "launch"}]
    found = asked(client, ORDER | {"type": "sniper", "tokenOut": mint, "trigger": trigger})["sniper"]
    assert found["listed"] is True
    assert [(one["kind"], one["value"], one["met"]) for one in found["conditions"]] == [
        ("liquidity", "40000", False),
        ("launch", "1", True),
    ]
    assert {one["gate"]: one["verdict"] for one in found["gates"]}["topHolder"] == "refuse"


def test_a_sniper_order_for_a_token_still_to_come_is_told_what_is_unknown(bench, client):
    order = ORDER | {"type": "sniper", "tokenOut": new_mint(), "trigger": {"kind": "launch"}}
    found = asked(client, order)
    assert (found["sniper"]["listed"], found["fill"]) == (False, None)
    assert {one["verdict"] for one in found["sniper"]["gates"]} == {"refuse"}
    unknown_passes = asked(client, order | {"allowUnknown": True})
    assert {one["verdict"] for one in unknown_passes["sniper"]["gates"]} == {"pass"}


@pytest.mark.parametrize(
    "order",
    [
        {},
        [],
        ORDER | {"amount": "-1", "slippageBps": 9_999},
        ORDER | {"tokenOut": "SOL"},
        ORDER | {"limitPrice": "160"},
        LIMIT | {"limitPrice": "160.005"},
        LIMIT | {"timeInForce": "gtd"},
        ORDER | {"type": "sniper", "trigger": {"kind": "tea"}},
    ],
)
async def test_what_is_refused_is_refused_as_placing_it_is(bench, order):
    estimated, placed = await post(order, ESTIMATE), await post(order)
    assert estimated.status_code == placed.status_code == 400
    assert estimated.json() == placed.json()


async def test_a_parameter_is_refused(bench):
    assert (await post(ORDER, f"{ESTIMATE}?x=1")).status_code == 400
