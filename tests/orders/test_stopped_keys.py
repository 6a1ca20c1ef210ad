"""A stopped API key trades no more by any way, and stops and limits follow users through their names."""

from dataclasses import replace
from importlib import import_module

import httpx
import pytest
from django.db import connection, transaction

from config.asgi import application
from engine.orders import OrderType
from orders.flow import dead_letters, intake, pauses, waiting
from orders.flow.intake import Accepted
from orders.flow.pauses import CannotPause, Paused
from orders.flow.trading_limits import Rejected
from orders.models import LimitKind, LimitScope, Order, Pause, PauseState, TradingLimit, TradingLimitUse
from orders.operations import replays, trading_limits
from orders.stores.threads import aside
from routing import dollars
from tests.factories import DeadLetterFactory
from tests.orders.accounts import account, bearer, row_of, rows_of_keys
from tests.orders.commands.standin import run
from tests.orders.stopping import WHY, buying, of, stop

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture(autouse=True)
def no_limits():
    """Each test begins and ends with no trading limit and no price in this process's memory."""

    def forget():
        trading_limits.trading_limits.forget()
        dollars.prices.known.clear()

    forget()
    yield
    forget()


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
    Order.objects.filter(pk=letter.order_id).update(api_key=key.pk, owner=alice)
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


def test_the_migration_keeps_the_strongest_of_a_renamed_users_stops(bench, alice, bob):
    migration = import_module("orders.migrations.0024_stops_by_id")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE orders_pause DROP CONSTRAINT subject_paused_once")
        cursor.execute("ALTER TABLE orders_tradinglimit DROP CONSTRAINT subject_limit_once")
        for who, name, state in [(alice, "a", "halted"), (alice, "b", "paused"), (bob, "c", "reducing")]:
            Pause.objects.create(scope="user", name=name, subject=who.pk, state=state, reason=WHY, by="ops")
        Pause.objects.create(scope="pair", name="SOL-USDC", reason=WHY, by="ops")
        for value in (1, 2):
            terms = {"scope": "user", "subject": bob.pk, "kind": "slippage", "name": str(value), "value": value}
            TradingLimit.objects.create(**terms, reason=WHY, by="ops")
        cursor.execute(migration.STOPS)
        cursor.execute(migration.LIMITS)
        assert sorted(Pause.objects.values_list("name", flat=True)) == ["SOL-USDC", "a", "c"]
        assert TradingLimit.objects.get().value == 2
        transaction.set_rollback(True)
