"""Trading stopped for one user or key, and trading that may only reduce: what is covered, when, and who is told."""

from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import connection

from engine.money import Token
from engine.orders import OrderType, TimeInForce
from engine.quotes import Pair
from engine.triggers import Condition, Kind
from orders.api.estimate import estimate
from orders.flow import intake, limits, pauses, sweep, waiting
from orders.flow.intake import Accepted
from orders.flow.pauses import CannotPause, Paused
from orders.models import (
    BUYS_SQL,
    Act,
    Attempt,
    Pause,
    PauseState,
)
from orders.stores import live, stopped
from orders.stores.threads import aside
from routing.models import LedgerEntry
from routing.store import now_ms, redis
from tests.orders.accounts import account, bearer, row_of, rows_of_keys
from tests.orders.bench import STAGES
from tests.orders.commands.standin import refused, run
from tests.orders.doors import ORDER, opened, post
from tests.orders.sniping import Market, list_token, new_mint
from tests.orders.steps import at
from tests.orders.stopping import BUY, WHY, buying, of, stop

pytestmark = pytest.mark.usefixtures("no_pauses")

STEPS = ("swap.building", "prepare", "sent")
BOUGHT = {"type": "market", "tokenIn": "USDC", "tokenOut": "SOL", "amount": "5"}
NOT_SENT = {"halted": "cancelled by the operator before it was sent: trading of the user alice is halted: " + WHY}


def stop_unheard(scope, name, state, subject=None):
    """Stop as another process does, of which this one has not read yet."""
    pauses.pauses()
    Pause.objects.create(scope=scope, name=name, subject=subject, reason=WHY, by="ops", state=state)


def accepted(bench, *asked):
    """Accept orders and have them ready for the order worker."""
    for pair in {one.order.pair for one in asked}:
        bench.quote_all_of(pair)
    ids = bench.accept(*asked)
    limits.check()
    return ids


def sniped(bench, owner, symbol="NOVA9"):
    """Accept a sniper order whose token is listed and has no pool yet."""
    mint = new_mint()
    list_token(mint, symbol)
    (order_id,) = bench.accept(of(bench.snipe(mint, Condition(Kind.LAUNCH)), owner))
    return order_id, Market(mint)


# --- a user ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [PauseState.PAUSED, PauseState.HALTED])
def test_a_stopped_user_places_nothing_and_others_do(bench, alice, bob, state):
    stop("user", "alice", state)
    answers = intake.place([bench.order(), of(bench.order(), bob)])
    assert isinstance(answers[0], Paused) and isinstance(answers[1], Accepted)
    assert str(answers[0]) == f"trading of the user alice is {state}: {WHY}"


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", [OrderType.MARKET, OrderType.LIMIT])
def test_a_halted_users_order_is_not_sent_from_any_step_and_anothers_beside_it_is(bench, alice, bob, kind, step, heard):
    mine = bench.order() if kind is OrderType.MARKET else bench.limit("100")
    hers, his = accepted(bench, mine, of(bench.order(), bob))

    def halt():
        stop("user", "alice") if heard else stop_unheard("user", "alice", "halted", alice.pk)

    with at(step, halt):
        bench.run([hers, his])
    assert bench.statuses(his) == STAGES
    last = bench.events(hers)[-1]
    if kind is OrderType.MARKET:
        assert (last["status"], last["code"], last["reason"]) == ("cancelled", "halted", NOT_SENT["halted"])
    else:
        assert (last["status"], last["returned"]["code"]) == ("pending", "halted")
    assert LedgerEntry.objects.count() == 1
    assert set(Attempt.objects.filter(order=hers).values_list("state", flat=True)) <= {"withdrawn"}


@pytest.mark.parametrize("state", [PauseState.PAUSED, PauseState.HALTED])
def test_a_stopped_users_limit_order_rests_at_its_price_without_a_word_and_fires_afterwards(bench, alice, bob, state):
    bench.price("90")
    hers, his = bench.accept(bench.limit("100"), of(bench.limit("100"), bob))
    row = stop("user", "alice", state)
    bench.price("150")
    limits.check()
    assert (bench.statuses(hers), bench.statuses(his)) == (["pending"], ["pending", "triggered"])
    assert limits.fire("SOL-USDC") == 0, "it is not claimed at every price"
    bench.pass_time(hers, 60_000)
    sweep.sweep()
    assert live.standing([hers])[hers].place, "it is back in the book"
    limits.check()
    assert bench.statuses(hers) == ["pending"]
    pauses.resume(row, "ops")
    bench.pass_time(hers, 60_000)
    sweep.sweep()
    limits.check()
    assert bench.statuses(hers) == ["pending", "triggered"]


def out_for(order_id):
    """Return for how many seconds an order stays out of the book."""
    return (redis().zscore(live.OPEN, order_id) - now_ms()) / 1000


def test_a_stopped_order_comes_back_ever_later_and_a_minute_later_at_most(bench, alice):
    (hers,) = bench.accept(bench.limit("100"))
    stop("user", "alice")
    left = []
    for _ in range(6):
        bench.price("150")
        limits.check()
        left.append(out_for(hers))
        bench.pass_time(hers, 61_000)
        sweep.sweep()
        assert live.standing([hers])[hers].place
    for seconds, most in zip(left, (5, 10, 20, 40, 60, 60), strict=True):
        assert 0.75 * most - 2 < seconds <= most
    assert bench.statuses(hers) == ["pending"]


def test_the_end_of_a_stop_wakes_its_orders_at_once_and_no_others(bench, alice, bob, clock):
    hers, again, his = bench.accept(bench.limit("100"), bench.limit("100"), of(bench.limit("100"), bob))
    row, other = stop("user", "alice"), stop("user", "bob")
    wakes = limits.Wakes(clock)
    bench.price("150")
    limits.check()
    assert wakes.look() == 0
    pauses.resume(row, "ops")
    assert wakes.look() == 2
    sweep.sweep()
    limits.check()
    assert [bench.statuses(one)[-1] for one in (hers, again, his)] == ["triggered", "triggered", "pending"]
    assert redis().hkeys(stopped.STOPPED) == [his]
    pauses.resume(other, "ops")
    (late,) = bench.accept(of(bench.limit("100"), bob))
    wakes.look()
    stopped.look_later({late: 1}, 60_000, 60_000)
    clock.now += 1
    assert wakes.look() == 1, "another process heard of the end a little later"
    sweep.sweep()
    limits.check()
    assert {bench.statuses(one)[-1] for one in (his, late)} == {"triggered"}


def test_a_limit_worker_that_was_away_when_the_stop_ended_wakes_its_orders(bench, alice, clock):
    (hers,) = bench.accept(bench.limit("100"))
    row = stop("user", "alice")
    bench.price("150")
    limits.check()
    pauses.resume(row, "ops")
    assert limits.Wakes(clock).look() == 1
    assert out_for(hers) <= 0


def test_what_is_out_of_the_book_for_its_stopped_user_can_be_cancelled_and_amended(bench, alice):
    first, second = bench.accept(bench.limit("100"), bench.limit("100"))
    stop("user", "alice")
    bench.price("150")
    limits.check()
    waiting.cancel(first)
    waiting.amend(second, 1, {"limit_price": Decimal("120")})
    assert bench.statuses(first) == ["pending", "cancelled"]
    assert bench.events(second)[-1]["kind"] == "amended"
    assert live.standing([second])[second].place


def test_a_stopped_users_sniper_order_stays_armed_and_anothers_fires(bench, alice, bob):
    hers, market = sniped(bench, alice)
    stop("user", "alice")
    market.pool()
    assert bench.statuses(hers) == ["pending"]
    his, market = sniped(bench, bob, "NOVA8")
    market.pool()
    assert bench.statuses(his)[:2] == ["pending", "triggered"]


def test_a_users_halt_can_cancel_what_rests_and_what_comes_back_to_rest(bench, alice, bob):
    rests, his, comes_back = bench.accept(bench.limit("999"), of(bench.limit("999"), bob), bench.limit("100"))
    bench.quote_all()
    limits.check()
    row = stop("user", "alice", cancels_resting=True)
    assert waiting.cancel_halted(pauses.stop_of(row)).cancelled == 1
    assert (bench.events(rests)[-1]["code"], bench.statuses(his)) == ("halted", ["pending"])
    bench.run([comes_back])
    bench.pass_time(comes_back, 60_000)
    sweep.sweep()
    assert bench.statuses(comes_back) == ["pending", "triggered", "pending", "cancelled"]


# --- who is told -----------------------------------------------------------------------------------------------------


async def test_a_users_stop_is_told_to_that_user_alone(bench, monkeypatch):
    with rows_of_keys(monkeypatch):
        headers = {}
        for name in ("ann", "ben"):
            headers[name] = (await aside(lambda name=name: bearer(account(name))))["authorization"].encode()
        await aside(stop, "user", "ann")
        await aside(bench.price, "155")
        told = {}
        for name, header in headers.items():
            async with opened("/ws/quotes/SOL-USDC", [(b"authorization", header)]) as socket:
                told[name] = (await socket.event())["stops"]
    (hers,), his = told["ann"], told["ben"]
    assert (hers["scope"], hers["name"], hers["state"], hers["reason"]) == ("user", "ann", "halted", WHY)
    assert hers["message"] == f"trading of the user ann is halted: {WHY}" and his == []


def test_an_estimate_names_what_stops_its_user_or_key(bench, alice, bob):
    bench.quote_all()
    key = row_of(bearer(bob))
    stop("user", "alice")
    stop("key", key.prefix, PauseState.PAUSED)
    order = bench.order().order
    assert estimate(order, now_ms())["problem"]["message"] == f"trading of the user alice is halted: {WHY}"
    his = replace(order, owner=bob.pk)
    assert estimate(his, now_ms())["problem"] is None
    assert estimate(his, now_ms(), key.pk)["problem"]["code"] == "paused"


def test_the_commands_and_the_admin_stop_users_and_keys(bench, alice, operator, capsys):
    key = row_of(bearer(alice))
    assert run("halt", "user:alice", "--reason", WHY) == 0
    assert run("pause", f"key:{key.prefix}", "--reason", WHY) == 0
    assert set(Pause.objects.values_list("scope", "subject", "state")) == {
        ("user", alice.pk, "halted"),
        ("key", key.pk, "paused"),
    }
    assert run("resume", "user:alice") == 0
    assert refused("halt", "user:nobody", "--reason", WHY) == (2, "there is no user 'nobody'")
    asked = {"what": "user:", "which": "alice", "reason": WHY, "state": "reducing"}
    operator.post("/admin/orders/pause/add/", asked)
    assert Pause.objects.filter(scope="user", subject=alice.pk, state="reducing").exists()
    assert "user alice" in operator.get("/admin/orders/pause/").content.decode()
    page = operator.post("/admin/orders/pause/add/", asked | {"which": "nobody"}).content.decode()
    assert "there is no user &#x27;nobody&#x27;" in page


# --- reducing --------------------------------------------------------------------------------------------------------


def test_postgres_and_the_engine_agree_on_what_buys(db):
    names = ["USDC", "USDT", "SOL", "JUP", "BONK"]
    pairs = [Pair(Token(sold, "m", 6), Token(bought, "n", 6)) for sold in names for bought in names if sold != bought]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT o.pair FROM unnest(%s::text[]) AS o(pair) WHERE {BUYS_SQL}",
            [[pair.name for pair in pairs]],
        )
        assert {name for (name,) in cursor} == {pair.name for pair in pairs if pair.buys}
    buys = {pair.name: pair.buys for pair in pairs}
    assert not buys["SOL-USDC"] and not buys["BONK-SOL"] and not buys["USDT-USDC"] and not buys["JUP-USDT"]
    assert buys["USDC-SOL"] and buys["SOL-BONK"] and buys["JUP-BONK"] and buys["BONK-JUP"]


async def test_while_trading_is_reducing_sales_are_accepted_and_purchases_refused(bench):
    await aside(stop, "everything", "", PauseState.REDUCING)
    sold, bought = await post(ORDER), await post(BOUGHT)
    assert (sold.status_code, bought.status_code) == (202, 503)
    assert bought.headers["retry-after"] == "10"
    assert bought.json()["error"] == {
        "code": "reducing",
        "message": f"trading is reducing, only sales for the quote token are accepted: {WHY}; "
        "USDC-SOL buys, an order of SOL-USDC, which sells, is accepted",
        "fields": [],
    }


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", [OrderType.MARKET, OrderType.LIMIT])
def test_a_purchase_is_not_sent_from_any_step_and_a_sale_beside_it_is(bench, kind, step, heard):
    bought, sold = accepted(bench, buying(kind), bench.order())
    assert bench.statuses(bought)[-1] == ("pending" if kind is OrderType.MARKET else "triggered")

    def reduce():
        (stop if heard else stop_unheard)("everything", "", PauseState.REDUCING)

    with at(step, reduce):
        bench.run([bought, sold])
    assert bench.statuses(sold) == STAGES
    last = bench.events(bought)[-1]
    if kind is OrderType.MARKET:
        assert (last["status"], last["code"]) == ("cancelled", "reducing")
    else:
        assert (last["status"], last["returned"]["code"]) == ("pending", "reducing")
    assert LedgerEntry.objects.count() == 1


def test_a_resting_purchase_does_not_fire_and_a_resting_sale_does(bench):
    bought, sold = bench.accept(buying(OrderType.LIMIT), bench.limit("100"))
    row = stop("everything", "", PauseState.REDUCING)
    bench.quote_all()
    bench.quote_all_of(BUY)
    limits.check()
    assert (bench.statuses(bought), bench.statuses(sold)[-1]) == (["pending"], "triggered")
    pauses.resume(row, "ops")
    bench.pass_time(bought, 60_000)
    sweep.sweep()
    limits.check()
    assert bench.statuses(bought) == ["pending", "triggered"]


def test_an_ioc_purchase_accepted_just_before_is_cancelled_with_the_code(bench):
    bench.quote_all_of(BUY)
    (order_id,) = bench.accept(buying(OrderType.LIMIT, time_in_force=TimeInForce.IOC))
    stop("everything", "", PauseState.REDUCING)
    limits.fire_or_cancel([order_id])
    last = bench.events(order_id)[-1]
    assert (last["status"], last["code"]) == ("cancelled", "reducing")


def test_a_sniper_order_buys_and_stays_armed(bench, alice):
    order_id, market = sniped(bench, alice)
    stop("everything", "", PauseState.REDUCING)
    market.pool()
    assert bench.statuses(order_id) == ["pending"]


@pytest.mark.parametrize("scope", [("user", "alice"), ("pair", "USDC-SOL")])
def test_a_user_or_a_pair_can_be_reducing_alone(bench, alice, bob, scope):
    stop(*scope, PauseState.REDUCING)
    answers = intake.place([buying(), bench.order(), of(buying(), bob)])
    assert [type(one) for one in answers] == [Paused, Accepted, Accepted if scope[0] == "user" else Paused]


def test_a_pair_that_only_sells_cannot_be_reducing(bench):
    with pytest.raises(CannotPause, match="SOL-USDC only sells for its quote token: reduce the pair that buys"):
        stop("pair", "SOL-USDC", PauseState.REDUCING)


@pytest.mark.parametrize("step", STEPS)
def test_a_reducing_venue_takes_sales_and_purchases_go_to_the_other(bench, step):
    for pair in (bench.pair, BUY):
        bench.price("0.0063" if pair is BUY else "150", venue="METEORA", pair=pair)
        bench.price("0.0064" if pair is BUY else "154", venue="RAYDIUM", pair=pair)
    # The pools' own prices are others.
    wide = [replace(one, order=replace(one.order, slippage_bps=5_000)) for one in (buying(), bench.order())]
    bought, sold = bench.accept(*wide)
    with at(step, lambda: stop("venue", "RAYDIUM", PauseState.REDUCING)):
        bench.run([bought, sold])
    bench.pass_time(bought, 60_000)
    bench.run([bought])
    assert (bench.events(bought)[-1]["venue"], bench.events(sold)[-1]["venue"]) == ("METEORA", "RAYDIUM")
    assert {bench.statuses(order_id)[-1] for order_id in (bought, sold)} == {"confirmed"}


def test_the_command_reduces_and_ends(bench, capsys):
    assert run("reduce", "everything", "--reason", WHY) == 0
    assert capsys.readouterr().out == f"trading is reducing, only sales for the quote token are accepted: {WHY}\n"
    assert isinstance(intake.place([buying()])[0], Paused)
    assert run("resume", "everything") == 0
    assert isinstance(intake.place([buying()])[0], Accepted)
    assert Act.objects.order_by("-pk")[0].outcome.endswith(f"had reduced it: {WHY}")
