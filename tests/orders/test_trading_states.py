"""Trading stopped for one user or key, and trading that may only reduce: what is covered, when, and who is told."""

from dataclasses import replace
from decimal import Decimal

import httpx
import pytest
from django.db import connection

from config.asgi import application
from engine.money import Token
from engine.orders import Order, OrderType, TimeInForce
from engine.quotes import Pair
from engine.triggers import Condition, Kind
from orders.api.estimate import estimate
from orders.flow import dead_letters, intake, limits, pauses, sweep, waiting
from orders.flow.intake import Accepted, NewOrder
from orders.flow.pauses import CannotPause, Paused
from orders.flow.trading_limits import Rejected
from orders.models import (
    BUYS_SQL,
    Act,
    Attempt,
    LimitKind,
    LimitScope,
    Pause,
    PauseState,
    TradingLimit,
    TradingLimitUse,
)
from orders.models import Order as Order_
from orders.operations import replays, trading_limits
from orders.stores import live
from orders.stores.ids import new_id
from orders.stores.threads import aside
from routing import dollars
from routing.models import LedgerEntry
from routing.store import now_ms
from tests.factories import DeadLetterFactory
from tests.orders import bench as benches
from tests.orders.accounts import account, bearer, row_of, rows_of_keys
from tests.orders.bench import STAGES, TOKENS
from tests.orders.commands.standin import refused, run
from tests.orders.doors import ORDER, opened, post
from tests.orders.sniping import Market, list_token, new_mint
from tests.orders.steps import at

pytestmark = pytest.mark.usefixtures("no_pauses")

WHY = "the bot runs wild"
STEPS = ("swap.building", "prepare", "sent")
BUY = Pair(TOKENS["USDC"], TOKENS["SOL"], Decimal("0.0000001"))
BOUGHT = {"type": "market", "tokenIn": "USDC", "tokenOut": "SOL", "amount": "5"}
NOT_SENT = {"halted": "cancelled by the operator before it was sent: trading of the user alice is halted: " + WHY}


@pytest.fixture(autouse=True)
def no_limits():
    """Each test begins and ends with no trading limit and no price in this process's memory."""

    def forget():
        trading_limits.trading_limits.forget()
        dollars.prices.known.clear()

    forget()
    yield
    forget()


@pytest.fixture
def alice(bench, monkeypatch):
    """The account that places the bench's orders."""
    found = account("alice")
    monkeypatch.setattr(benches, "OWNER", found.pk)
    return found


@pytest.fixture
def bob(bench):
    return account("bob")


def stop(scope, name, state=PauseState.HALTED, **more):
    return pauses.pause(scope, name, WHY, "ops", state, **more)


def stop_unheard(scope, name, state, subject=None):
    """Stop as another process does, of which this one has not read yet."""
    pauses.pauses()
    Pause.objects.create(scope=scope, name=name, subject=subject, reason=WHY, by="ops", state=state)


def of(asked, owner):
    return replace(asked, order=replace(asked.order, id=new_id(), owner=owner.pk))


def buying(kind=OrderType.MARKET, **more):
    """Make an order that buys SOL for 5 USDC; of the kinds that wait, a limit order that any price reaches."""
    price = Decimal("0.0000001") if kind is OrderType.LIMIT else None
    return NewOrder(Order(new_id(), kind, BUY, 5_000_000, 50, limit_price=price, owner=benches.OWNER, **more))


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


# --- a key -----------------------------------------------------------------------------------------------------------


def test_a_stopped_key_places_nothing_and_its_halt_can_cancel_what_it_has_placed(bench, alice):
    stopped, other = row_of(bearer(alice)), row_of(bearer(alice))
    mine, others = bench.accept(*(replace(bench.limit("999"), key=key.pk) for key in (stopped, other)))
    row = stop("key", stopped.prefix, cancels_resting=True)
    answers = intake.place([replace(bench.order(), key=key) for key in (stopped.pk, other.pk, None)])
    assert [type(answer) for answer in answers] == [Paused, Accepted, Accepted]
    assert str(answers[0]) == f"trading with the API key {stopped.prefix} is halted: {WHY}"
    assert waiting.cancel_halted(pauses.stop_of(row)).cancelled == 1
    assert (bench.statuses(mine)[-1], bench.statuses(others)) == ("cancelled", ["pending"])


async def amended(order_id, header, price="901"):
    headers = {**header, "if-match": '"1"'}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://localhost") as client:
        return await client.patch(f"/api/orders/{order_id}", json={"limitPrice": price}, headers=headers)


@pytest.mark.parametrize("state", list(PauseState))
async def test_a_stopped_key_amends_nothing_and_nobody_amends_what_it_has_placed(bench, monkeypatch, state):
    with rows_of_keys(monkeypatch):
        alice = await aside(account, "alice")
        stopped, other = [await aside(bearer, alice) for _ in range(2)]
        ids = [(await aside(row_of, header)) for header in (stopped, other)]
        rests = [replace(of(buying(OrderType.LIMIT), alice), key=key.pk) for key in ids]
        mine, others = await aside(bench.accept, *rests)
        sold = (await aside(bench.accept, replace(of(bench.limit("900"), alice), key=ids[0].pk)))[0]
        await aside(stop, "key", ids[0].prefix, state)
        answers = [await amended(mine, stopped), await amended(others, stopped), await amended(mine, other)]
        code = "reducing" if state is PauseState.REDUCING else "paused"
        assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [(503, code)] * 3
        assert answers[0].headers["retry-after"] == "10"
        assert f"trading with the API key {ids[0].prefix} is {state}" in answers[0].json()["error"]["message"]
        assert (await amended(others, other)).status_code == 200
        assert (await amended(sold, stopped)).status_code == (200 if state is PauseState.REDUCING else 503)


def test_a_dead_letter_of_a_stopped_key_is_not_replayed_and_a_replay_counts_as_the_keys(bench, alice):
    key = row_of(bearer(alice))
    letter = DeadLetterFactory()
    Order_.objects.filter(pk=letter.order_id).update(api_key=key.pk, owner=alice)
    row = stop("key", key.prefix)
    with pytest.raises(dead_letters.NotSafe, match=f"trading with the API key {key.prefix} is halted"):
        dead_letters.replay(str(letter.order_id), "ops")
    letter.refresh_from_db()
    assert f"the API key {key.prefix} is halted" in replays.refusal(letter)
    pauses.resume(row, "ops")
    limit = trading_limits.Wanted(LimitScope.KEY, key.prefix, LimitKind.SLIPPAGE, 0)
    trading_limits.put(limit, WHY, "ops")
    assert f"API key {key.prefix}" in replays.refusal(letter)
    with pytest.raises(dead_letters.NotSafe, match=f"API key {key.prefix}"):
        dead_letters.replay(str(letter.order_id), "ops")
    trading_limits.remove(trading_limits.find(LimitScope.KEY, key.prefix, LimitKind.SLIPPAGE), "ops")
    assert bench.row(dead_letters.replay(str(letter.order_id), "ops").order_id).api_key == key.pk


def test_an_amendment_counts_for_the_key_that_amends_and_for_the_one_that_placed(bench, alice):
    placing, amending = (row_of(bearer(alice)) for _ in range(2))
    limits_ = [
        trading_limits.put(trading_limits.Wanted(LimitScope.KEY, key.prefix, LimitKind.DAY_VALUE, most), WHY, "ops")
        for key, most in ((placing, 1_000), (amending, 400))
    ]
    bench.price("150")

    def used(limit):
        return TradingLimitUse.objects.get(limit=limit).used

    (order_id,) = bench.accept(replace(bench.limit("900", 1_000_000_000), key=placing.pk))
    keys = {placing.pk, amending.pk}
    waiting.amend(order_id, 1, {"amount_in": 2 * 1_000_000_000}, keys)
    assert [used(limit) for limit in limits_] == [300, 300]
    with pytest.raises(Rejected) as day:
        waiting.amend(order_id, 2, {"amount_in": 3 * 1_000_000_000}, keys)
    assert (day.value.code, amending.prefix in str(day.value)) == ("rejected_day_value", True)
    waiting.amend(order_id, 2, {"amount_in": 3 * 1_000_000_000}, {placing.pk})
    assert [used(limit) for limit in limits_] == [450, 300]
    waiting.cancel(order_id)
    assert [used(limit) for limit in limits_] == [0, 0]


# --- names change hands ----------------------------------------------------------------------------------------------


def test_a_halt_follows_a_renamed_user_and_the_next_of_that_name_is_another(bench, alice, operator):
    stop("user", "alice")
    form = {"username": "alicia", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00", "is_active": "on"}
    assert operator.post(f"/admin/auth/user/{alice.pk}/change/", form).status_code == 302
    assert str(intake.place([bench.order()])[0]) == f"trading of the user alicia is halted: {WHY}"
    heir = account("alice")
    stop("user", "alice", PauseState.PAUSED)
    stop("user", "alicia", PauseState.PAUSED)
    rows = Pause.objects.order_by("pk").values_list("subject", "name", "state")
    assert list(rows) == [(alice.pk, "alicia", "paused"), (heir.pk, "alice", "paused")]
    assert run("resume", "user:alice") == 0
    answers = intake.place([bench.order(), of(bench.order(), heir)])
    assert [type(one) for one in answers] == [Paused, Accepted]


def test_a_halt_holds_though_the_user_was_renamed_elsewhere(bench, alice):
    stop("user", "alice")
    type(alice).objects.filter(pk=alice.pk).update(username="alicia")
    stop("user", "alicia", PauseState.PAUSED)
    assert Pause.objects.get().state == "paused", "one row for one user"
    heir = account("alice")
    stop("user", "alice")
    assert pauses.read().own(alice.pk, None) and pauses.read().own(heir.pk, None)


def test_a_limit_follows_a_renamed_user(bench, alice):
    def put(value):
        return trading_limits.put(
            trading_limits.Wanted(LimitScope.USER, "alice", LimitKind.SLIPPAGE, value), WHY, "ops"
        )

    mine = put(10)
    type(alice).objects.filter(pk=alice.pk).update(username="alicia")
    heir = account("alice")
    assert put(100).subject == heir.pk and TradingLimit.objects.get(pk=mine.pk).value == 10
    assert trading_limits.find(LimitScope.USER, "alicia", LimitKind.SLIPPAGE).pk == mine.pk


def test_a_user_who_has_the_name_of_a_venue_is_no_venue(bench):
    account("RAYDIUM")
    stop("user", "RAYDIUM")
    assert stop("venue", "METEORA").state == PauseState.HALTED
    with pytest.raises(CannotPause, match="RAYDIUM is the last venue"):
        stop("venue", "RAYDIUM")


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
    message = f"trading of the user ann is halted: {WHY}"
    assert told == {"ann": [{"scope": "user", "name": "ann", "state": "halted", "message": message}], "ben": []}


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
    assert refused("halt", "user:nobody", "--reason", WHY) == (2, "there is no user 'nobody' to pause")
    asked = {"what": "user:", "which": "alice", "reason": WHY, "state": "reducing"}
    operator.post("/admin/orders/pause/add/", asked)
    assert Pause.objects.filter(scope="user", subject=alice.pk, state="reducing").exists()
    assert "user alice" in operator.get("/admin/orders/pause/").content.decode()
    page = operator.post("/admin/orders/pause/add/", asked | {"which": "nobody"}).content.decode()
    assert "there is no user &#x27;nobody&#x27; to pause" in page


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
        "message": f"trading is reducing, only sales for the quote token are accepted: {WHY}",
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
    bought, sold = bench.accept(buying(), bench.order())
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
