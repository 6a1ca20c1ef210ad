"""Market orders that buy an exact amount: what they get, what they spend, and what their accounts keep."""

from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import IntegrityError

from engine.money import more_bps
from orders.flow import dead_letters, intake, restoring
from orders.flow.intake import Accepted, Conflict
from orders.flow.trading_limits import trading_limits
from orders.models import Attempt, DeadLetter, LimitKind, LimitScope, Order, TradingLimitUse
from orders.operations import trading_limits as operations
from orders.operations.trading_limits import Wanted
from orders.stores import balances, order_codec, terms
from orders.stores.ids import new_id
from routing import dollars, transactions
from routing.models import LedgerEntry
from routing.wiring import market
from tests.orders.bench import OWNER, empty_redis
from tests.orders.doors import LIMIT, ORDER, SNIPER, get, post

SOL, USDC = 1_000_000_000, 1_000_000
FUNDS = 50
EXACT = ORDER | {"amount": "2", "amountOut": "150.000001"}


@pytest.fixture(autouse=True)
def fifty_of_each(settings, bench):
    settings.MOCK_FUNDS = FUNDS


def exact(bench, amount_out=150 * USDC + 1, amount=2 * SOL, **options):
    """Make an order to buy exactly this many base units of USDC for at most `amount` lamports."""
    asked = bench.order(amount, **options)
    return replace(asked, order=replace(asked.order, amount_out=amount_out))


def held(token):
    row = balances.of(OWNER, [token])[token]
    return row.total, row.reserved


def balances_agree():
    return not [one for one in balances.compared() if one.differs]


def test_it_gets_the_amount_to_the_unit_at_the_venue_that_takes_least(bench):
    quotes = {venue: bench.quote(venue) for venue in ("RAYDIUM", "METEORA")}
    needs = {name: quote.pool.needed(150 * USDC + 1, quote.fee_bps) for name, quote in quotes.items()}
    (order_id,) = bench.accept(exact(bench))
    assert held("SOL") == (50 * SOL, 2 * SOL)
    bench.run([order_id])
    pending, routing, building, _, confirmed = bench.events(order_id)
    assert (pending["amountIn"], pending["amountOut"]) == ("2", "150.000001")
    assert routing["venue"] == min(needs, key=needs.__getitem__) == "METEORA"
    stated = {one["venue"]: Decimal(one["amountIn"]) * SOL for one in routing["quotes"]}
    assert stated == needs and {one["amountOut"] for one in routing["quotes"]} == {"150.000001"}
    assert building["expectedOut"] == building["minimumOut"] == confirmed["amountOut"] == "150.000001"
    assert Decimal(building["expectedIn"]) * SOL == needs["METEORA"]
    assert Decimal(building["maximumIn"]) * SOL == more_bps(needs["METEORA"], 50)
    entry, spent = LedgerEntry.objects.get(), int(Decimal(confirmed["amountIn"]) * SOL)
    assert (entry.amount_in, entry.amount_out) == (spent, 150 * USDC + 1)
    assert entry.amount_in <= entry.maximum_in == Decimal(building["maximumIn"]) * SOL < 2 * SOL
    assert held("SOL") == (50 * SOL - spent, 0) and held("USDC") == (200 * USDC + 1, 0)
    assert balances_agree()


def test_its_slippage_is_in_what_it_spends(bench):
    bench.price("165")
    (order_id,) = bench.accept(exact(bench, slippage_bps=5_000))
    bench.run([order_id])
    _, _, building, _, confirmed = bench.events(order_id)
    expected, spent = Decimal(building["expectedIn"]), Decimal(confirmed["amountIn"])
    assert abs((spent - expected) / expected * 10_000 - Decimal(confirmed["slippageBps"])) <= Decimal("0.01")
    assert Decimal(confirmed["slippageBps"]) != 0


def test_the_transaction_itself_bounds_what_is_taken(bench):
    fair = market().pool("METEORA", bench.pair, 0).spot(bench.pair.token_in, bench.pair.token_out)
    bench.price(str((fair * 2).quantize(Decimal("0.01"))))
    (order_id,) = bench.accept(exact(bench, amount=20 * SOL))
    for _ in range(3):
        bench.pass_time(order_id, 60_000)
        bench.run([order_id])
    last = bench.events(order_id)[-1]
    assert (last["status"], last["code"]) == ("failed", "slippage_exceeded")
    swaps = [transactions.read(bytes(one.raw)) for one in Attempt.objects.all()]
    assert all(swap.exact_out and swap.amount_in < 20 * SOL and swap.min_out == 150 * USDC + 1 for swap in swaps)
    bench.archive()
    assert held("SOL") == (50 * SOL, 0) and balances_agree()


def test_an_amount_that_does_not_pay_for_it_fails_at_once_and_signs_nothing(bench):
    bench.quote_all()
    (order_id,) = bench.accept(exact(bench, amount=SOL // 10))
    bench.run([order_id])
    last = bench.events(order_id)[-1]
    assert (last["status"], last["code"], last["replayMayHelp"]) == ("failed", "maximum_exceeded", True)
    assert "that the order may spend" in last["message"] and not Attempt.objects.exists()
    assert held("SOL") == (50 * SOL, 0)


def test_never_is_more_spent_than_the_amount_however_wide_the_slippage(bench):
    quote = bench.quote("METEORA")
    amount = quote.pool.needed(150 * USDC, quote.fee_bps) + 5
    (order_id,) = bench.accept(exact(bench, 150 * USDC, amount, slippage_bps=5_000))
    bench.carry([order_id])
    assert transactions.read(bytes(Attempt.objects.get().raw)).amount_in == amount


def test_more_than_the_pools_hold_fails_for_good(bench):
    bench.quote_all()
    (order_id,) = bench.accept(exact(bench, 10**18))
    bench.run([order_id])
    last = bench.events(order_id)[-1]
    assert (last["code"], last["replayMayHelp"]) == ("cannot_fill", False)


def test_a_repeat_with_another_exact_amount_is_a_conflict(bench):
    first, same, other, without = intake.place(
        [
            exact(bench, 100, client_order_id="once"),
            exact(bench, 100, client_order_id="once"),
            exact(bench, 101, client_order_id="once"),
            bench.order(2 * SOL, client_order_id="once"),
        ]
    )
    assert isinstance(first, Accepted) and same.repeat and same.order_id == first.order_id
    assert isinstance(other, Conflict) and isinstance(without, Conflict)


def test_a_replay_buys_the_same_amount(bench):
    bench.quote_all()
    (order_id,) = bench.accept(exact(bench, amount=SOL // 10))
    bench.run([order_id])
    bench.archive()
    dead_letters.keep([order_id])
    assert DeadLetter.objects.get().replay_may_help
    replayed = dead_letters.replay(order_id, "ops")
    assert terms.order_of(bench.row(replayed.order_id)).amount_out == 150 * USDC + 1


def test_it_is_the_same_order_after_redis_was_lost(bench):
    (order_id,) = bench.accept(exact(bench))
    bench.archive()
    empty_redis()
    restoring.restore([order_id], "lost")
    bench.quote_all()
    bench.run([order_id])
    assert bench.events(order_id)[-1]["amountOut"] == "150.000001"


def test_it_is_encoded_for_redis_and_others_are_as_before(bench):
    asked = exact(bench).order
    assert order_codec.order_from(order_codec.loads(order_codec.dumps(asked))) == asked
    assert "amountOut" not in order_codec.dumps(bench.order().order)


def test_no_order_that_waits_can_have_one(bench):
    (order_id,) = bench.accept(bench.limit("900"))
    with pytest.raises(IntegrityError, match="exact_out_at_market"):
        Order.objects.filter(pk=order_id).update(amount_out=1)


@pytest.mark.parametrize("kind", [LIMIT, SNIPER])
async def test_other_types_are_refused_by_name(bench, kind):
    answer = await post(kind | {"amountOut": "1"})
    (field,) = answer.json()["error"]["fields"]
    assert answer.status_code == 400
    assert (field["field"], field["message"]) == ("amountOut", f"does not apply to a {kind['type']} order")


@pytest.mark.parametrize(("value", "message"), [("0", "greater than zero"), ("0.0000001", "USDC has 6 decimals")])
async def test_an_amount_that_is_none_is_refused(bench, value, message):
    answer = await post(EXACT | {"amountOut": value})
    (field,) = answer.json()["error"]["fields"]
    assert answer.status_code == 400 and field["field"] == "amountOut" and message in field["message"]


async def test_it_is_shown_and_exported_as_asked(bench):
    order_id = (await post(EXACT)).json()["orderId"]
    shown = (await get(f"/api/orders/{order_id}")).json()
    assert (shown["amount"], shown["amountOut"]) == ("2", "150.000001")
    header, line = (await get("/api/orders?format=csv")).text.splitlines()
    row = dict(zip(header.split(","), line.split(","), strict=True))
    assert (row["amount"], row["exactAmountOut"], row["amountOut"]) == ("2", "150.000001", "")


async def test_an_estimate_says_what_it_takes_and_what_is_in_the_way(bench):
    quote = bench.quote("RAYDIUM")
    needed = quote.pool.needed(150 * USDC + 1, quote.fee_bps)
    found = (await post(EXACT, "/api/orders/estimate")).json()
    fill = found["fill"]
    assert (found["amountOut"], fill["expectedOut"], fill["minimumOut"]) == ("150.000001",) * 3
    assert (Decimal(fill["expectedIn"]) * SOL, Decimal(fill["maximumIn"]) * SOL) == (needed, more_bps(needed, 50))
    assert found["problem"] is None
    too_little = (await post(EXACT | {"amount": "0.1"}, "/api/orders/estimate")).json()
    assert too_little["problem"]["code"] == "maximum_exceeded" and too_little["fill"]["maximumIn"] == "0.1"


@pytest.fixture
def sol_at_150(bench):
    """One SOL is 150 dollars, and nothing is remembered of other tests."""
    dollars.prices.known.clear()
    trading_limits.forget()
    bench.price("150")
    yield
    dollars.prices.known.clear()
    trading_limits.forget()


def test_it_uses_what_it_may_cost_of_a_limit_and_not_its_whole_maximum(bench, sol_at_150, settings):
    settings.MOCK_FUNDS = 1_000
    limit = operations.put(Wanted(LimitScope.EVERYTHING, "", LimitKind.DAY_VALUE, 100_000, ()), "why", "ops")
    cheap = bench.order(600 * SOL)
    cheap = replace(cheap, order=replace(cheap.order, amount_out=150_000_000))
    short = replace(cheap, order=replace(cheap.order, id=new_id(), amount_in=SOL // 10))
    assert isinstance(*intake.place([cheap]), Accepted)
    once = TradingLimitUse.objects.get(limit=limit).used
    assert 150 < once < 200, "one SOL's worth, slippage, impact and fees"
    assert isinstance(*intake.place([short]), Accepted)
    assert TradingLimitUse.objects.get(limit=limit).used == once + 15, "no more than it may spend"
