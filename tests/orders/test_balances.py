"""Balances: no unit is spent twice, whatever races, and they equal the ledger however orders end."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import httpx
import pytest
from django.db import connection, connections

from config.asgi import application
from engine.lifecycle import AttemptState
from engine.orders import TimeInForce
from engine.quotes import Pair
from orders.access.callers import TRADER, Scope
from orders.flow import dead_letters, decisions, intake, settlement, waiting
from orders.flow.intake import NewOrder
from orders.flow.routes import PriceImpact
from orders.flow.trading_limits import Rejected
from orders.models import FINALS, Act, Attempt, Balance, DeadLetter, Order
from orders.operations import reconciliation
from orders.stores import balances, chain_results
from orders.stores.ids import new_id
from orders.stores.threads import aside
from orders.telemetry import metrics
from routing import dollars
from routing.chain import Landing
from routing.models import LedgerEntry, Token
from routing.store import now_ms, redis
from tests.orders.accounts import account, bearer, rows_of_keys
from tests.orders.bench import OWNER, TOKENS
from tests.orders.commands.standin import refused, run
from tests.orders.doors import ORDER, opened
from tests.orders.sniping import list_token, new_mint
from tests.orders.steps import at
from tests.orders.test_retention import aged, retire_all
from tests.system import eventually

SOL = 1_000_000_000
USDC = 1_000_000
FUNDS = 50


@pytest.fixture(autouse=True)
def fifty_of_each(settings, bench):
    settings.MOCK_FUNDS = FUNDS
    bench.quote_all()


def of(asked, **terms):
    """Return another order, with other terms."""
    return replace(asked, order=replace(asked.order, id=new_id(), **terms))


def codes(answers):
    return [answer.code if isinstance(answer, Rejected) else type(answer).__name__ for answer in answers]


def held(token="SOL", owner=OWNER):
    """Return what an account has of a token, and what of it is reserved, in base units."""
    row = Balance.objects.get(owner_id=owner, token=token)
    return int(row.total), int(row.reserved)


def ledger():
    """Work out every balance from what the chain executed and the orders that have not ended."""
    found, symbols = Counter(), dict(Token.objects.values_list("mint", "symbol"))
    for attempt in Attempt.objects.select_related("order"):
        entry = LedgerEntry.objects.filter(signature=attempt.signature, landing="landed").first()
        if entry:
            sold, _, bought = attempt.order.pair.partition("-")
            found[attempt.order.owner_id, sold, "total"] -= int(entry.amount_in)
            found[attempt.order.owner_id, symbols.get(bought, bought), "total"] += int(entry.amount_out)
    for order in Order.objects.exclude(status__in=FINALS):
        found[order.owner_id, order.pair.partition("-")[0], "reserved"] += int(order.amount_in)
    return found


def agree(bench):
    """Check the balances against the ledger, to the last unit."""
    bench.archive()
    due = ledger()
    rows = list(Balance.objects.all())
    assert {(owner, token) for owner, token, _ in due} <= {(row.owner_id, row.token) for row in rows}
    for row in rows:
        begun = FUNDS * 10 ** TOKENS[row.token].decimals if row.token in TOKENS else 0
        assert int(row.total) == begun + due[row.owner_id, row.token, "total"], row
        assert int(row.reserved) == due[row.owner_id, row.token, "reserved"], row
    assert not [one for one in balances.compared() if one.differs]


def test_200_orders_that_race_for_a_balance_of_50_get_exactly_50(bench):
    def place(_):
        try:
            return [one for _ in range(10) for one in intake.place([bench.order(SOL) for _ in range(5)])]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        answers = [one for those in threads.map(place, range(4)) for one in those]
    assert Counter(codes(answers)) == {"Accepted": FUNDS, "insufficient_balance": 150}
    assert Order.objects.count() == FUNDS
    assert held() == (FUNDS * SOL, FUNDS * SOL)


def test_of_a_group_the_first_come_first_and_the_others_are_told_the_numbers(bench):
    answers = intake.place([bench.order(n * SOL) for n in (30, 25, 20, 1)])
    assert codes(answers) == ["Accepted", "insufficient_balance", "Accepted", "insufficient_balance"]
    assert str(answers[1]) == (
        "the order needs 25 SOL; 20 SOL of 50 SOL are available, 30 SOL are reserved by open orders"
    )
    assert (answers[3].field, answers[3].value, answers[3].accepted) == ("amount", "1 SOL", "at most 0 SOL")
    assert held() == (50 * SOL, 50 * SOL)


def test_each_account_and_token_has_its_own(bench):
    alice = account("alice", pk=77).pk
    buying = Pair(TOKENS["USDC"], TOKENS["SOL"])
    asked = [
        bench.order(50 * SOL),
        of(bench.order(50 * SOL), owner=alice),
        of(bench.order(), pair=buying, amount_in=50 * USDC),
        of(bench.order(), pair=buying, amount_in=50 * USDC + 1, owner=alice),
    ]
    assert codes(intake.place(asked)) == [*["Accepted"] * 3, "insufficient_balance"]
    assert held("USDC") == (50 * USDC, 50 * USDC) and held(owner=alice) == (50 * SOL, 50 * SOL)


def test_a_repeat_reserves_nothing_and_is_answered_when_the_balance_is_spent(bench):
    named = [bench.order(50 * SOL, client_order_id="once") for _ in range(3)]
    assert codes(intake.place(named[:2])) == ["Accepted", "Accepted"]
    assert held() == (50 * SOL, 50 * SOL)
    again, other = intake.place([named[2], bench.order(SOL)])
    assert again.repeat and again.order_id == named[0].order.id
    assert other.code == "insufficient_balance"


def test_orders_that_end_in_every_way_leave_the_balances_equal_to_the_ledger(bench, settings, monkeypatch):
    settings.MOCK_REJECT_RATE = 0.4
    buying = Pair(TOKENS["USDC"], TOKENS["SOL"])
    alice = account("alice", pk=77).pk
    bench.quote_all_of(buying)
    market = bench.accept(*(bench.order(SOL + n) for n in range(12)))
    market += bench.accept(*(of(bench.order(), pair=buying, amount_in=3 * USDC + n, owner=alice) for n in range(8)))
    resting = bench.accept(*(bench.limit("900", SOL // 2 + n) for n in range(8)))
    (expiring,) = bench.accept(bench.limit("900", SOL, expires_at=now_ms() + 50, time_in_force=TimeInForce.GTD))
    waiting.amend(resting[0], 1, {"amount_in": 3 * SOL})
    waiting.amend(resting[1], 1, {"amount_in": 7})
    waiting.amend(resting[2], 1, {"amount_in": 2 * SOL})
    for order_id in resting[2:5]:
        waiting.cancel(order_id)
    for _ in range(4):
        # Those that were rejected are tried again.
        for order_id in market:
            bench.pass_time(order_id, 60_000)
        bench.run(market)
    while not waiting.expire():
        pass
    ends = Counter(bench.statuses(order_id)[-1] for order_id in (*market, *resting, expiring))
    assert ends["confirmed"] and ends["cancelled"] == 3 and ends["expired"] == 1
    assert Attempt.objects.filter(state="rejected").exists()
    agree(bench)
    failed = fail_one(bench, monkeypatch)
    agree(bench)
    assert held()[1] == sum(int(o.amount_in) for o in Order.objects.exclude(status__in=FINALS)) > 0
    replayed = dead_letters.replay(failed, "ops")
    agree(bench)
    bench.pass_time(replayed.order_id, 60_000)
    settings.MOCK_REJECT_RATE = 0
    bench.run([replayed.order_id])
    agree(bench)


def fail_one(bench, monkeypatch):
    """Have an order fail, and keep its dead letter; return its id."""

    def beyond_impact(*_):
        raise PriceImpact("too large")

    (order_id,) = bench.accept(bench.order(SOL))
    with monkeypatch.context() as patched:
        patched.setattr("orders.flow.routes.affordable", beyond_impact)
        bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "failed"
    bench.archive()
    dead_letters.keep([order_id])
    DeadLetter.objects.update(replay_may_help=True)
    return order_id


def test_a_replay_reserves_anew_and_is_refused_with_the_numbers_when_it_cannot(bench, monkeypatch):
    order_id = fail_one(bench, monkeypatch)
    assert held() == (50 * SOL, 0)
    bench.accept(bench.limit("900", 50 * SOL))
    with pytest.raises(dead_letters.NotSafe, match=r"needs 1 SOL; 0 SOL of 50 SOL are available"):
        dead_letters.replay(order_id, "ops")


def test_a_token_bought_before_it_was_listed_counts_under_its_symbol(bench):
    mint = new_mint()
    list_token(mint, "NOVA")
    pair = Pair(TOKENS["SOL"], replace(TOKENS["SOL"], symbol=mint, mint=mint, decimals=6))
    (order_id,) = bench.accept(of(bench.order(SOL), pair=pair))
    assert bench.row(order_id).pair == f"SOL-{mint}"
    bench.quote_all_of(replace(pair, token_out=replace(pair.token_out, symbol="NOVA")))
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert held("NOVA")[0] == int(Attempt.objects.get().amount_out) > 0
    agree(bench)


def test_workers_that_record_the_same_landing_at_once_move_balances_once(bench):
    (order_id,) = bench.accept(bench.order(SOL))
    bench.carry([order_id])
    signature = Attempt.objects.get().signature
    seen = eventually(lambda: landed(signature), 10, "it lands")

    def another_settles():
        assert len(chain_results.settle(AttemptState.LANDED, seen, now_ms())) == 1

    with at("settle.landed", another_settles):
        another_settles()
    assert held() == (49 * SOL, 0)
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    agree(bench)


def landed(signature):
    """Return what the chain says of a transaction once it has landed."""
    return [one for one in settlement.chain().look([signature]).findings.values() if one.landing is Landing.LANDED]


def test_a_worker_frozen_in_an_end_gives_back_nothing_that_another_has_given_back(bench):
    (order_id,) = bench.accept(bench.limit("900", SOL))
    with at("decide", lambda: decisions.complete([order_id])):
        waiting.cancel(order_id)
    assert bench.statuses(order_id) == ["pending", "cancelled"]
    assert held() == (50 * SOL, 0)


def test_a_worker_frozen_past_its_lease_changes_nothing_for_an_order_that_another_has_filled(bench):
    (order_id,) = bench.accept(bench.order(SOL))

    def meanwhile():
        bench.pass_time(order_id, 10_000)
        bench.run([order_id])
        assert bench.statuses(order_id)[-1] == "confirmed"

    with at("prepare", meanwhile):
        bench.run([order_id])
    assert LedgerEntry.objects.count() == 1
    agree(bench)


def test_an_amendment_reserves_the_difference_and_is_refused_if_it_is_not_there(bench):
    (order_id,) = bench.accept(bench.limit("900", 20 * SOL))
    waiting.amend(order_id, 1, {"amount_in": 50 * SOL})
    assert held() == (50 * SOL, 50 * SOL)
    with pytest.raises(Rejected, match=r"needs 50\.000000001 SOL; 50 SOL of 50 SOL are available, 0 SOL are reserved"):
        waiting.amend(order_id, 2, {"amount_in": 50 * SOL + 1})
    waiting.amend(order_id, 2, {"amount_in": 10 * SOL})
    assert held() == (50 * SOL, 10 * SOL)


def test_an_amendment_that_loses_the_balance_at_its_commit_is_refused_with_the_numbers(bench):
    (order_id,) = bench.accept(bench.limit("900", 20 * SOL))
    with (
        pytest.raises(Rejected, match="needs 30 SOL; 25 SOL of 50 SOL are available"),
        at("decide", lambda: bench.accept(bench.limit("900", 25 * SOL))),
    ):
        waiting.amend(order_id, 1, {"amount_in": 30 * SOL})
    assert bench.statuses(order_id) == ["pending"] and int(bench.row(order_id).amount_in) == 20 * SOL
    assert held() == (50 * SOL, 45 * SOL)
    waiting.cancel(order_id)
    agree(bench)


def test_an_amendment_and_a_cancellation_at_once_leave_nothing_reserved(bench):
    for _ in range(10):
        (order_id,) = bench.accept(bench.limit("900", SOL))

        def amend(order_id=order_id):
            try:
                waiting.amend(order_id, 1, {"amount_in": 2 * SOL})
            except (waiting.NotResting, waiting.Changed):
                pass
            finally:
                connections.close_all()

        with ThreadPoolExecutor(1) as thread:
            amended = thread.submit(amend)
            waiting.cancel(order_id)
            amended.result()
        assert held() == (50 * SOL, 0)


async def test_every_door_answers_422_with_the_numbers(bench, settings, monkeypatch):
    settings.MOCK_FUNDS = 1
    with rows_of_keys(monkeypatch):
        header = await aside(lambda: bearer(account("alice")))
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=header) as client:
            one = await client.post("/api/orders/execute", json=ORDER)
            view = await client.post("/api/orders/execute", json=ORDER, headers={"accept": "application/*"})
            batch = await client.post("/api/orders/batch", json={"orders": [ORDER, ORDER | {"amount": "1"}]})
            estimate = await client.post("/api/orders/estimate", json=ORDER)
    assert one.status_code == view.status_code == 422 and one.json() == view.json()
    error = one.json()["error"]
    assert error["code"] == "insufficient_balance" and "1 SOL of 1 SOL are available" in error["message"]
    assert error["fields"][0]["field"] == "amount" and error["fields"][0]["accepted"] == "at most 1 SOL"
    assert [result["status"] for result in batch.json()["results"]] == [422, 202]
    assert estimate.json()["problem"]["code"] == "insufficient_balance"


async def test_a_socket_that_places_an_order_hears_it_and_is_closed(bench, settings):
    settings.MOCK_FUNDS = 1
    async with opened("/api/orders/execute") as socket:
        await socket.send(json.dumps(ORDER))
        (said,), code = await socket.rest()
    assert (said["error"]["code"], code) == ("insufficient_balance", 4422)


async def test_balances_are_read_by_their_account_and_by_operators(bench, monkeypatch):
    def keys():
        alice = account("alice")
        redis().flushdb()
        dollars.prices.known.clear()
        bench.price("150")
        bench.accept(of(bench.limit("900", 20 * SOL), owner=alice.pk))
        return bearer(alice), bearer(account("ops"), [*TRADER, Scope.ADMIN])

    async def ask(header, query=""):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=application), base_url="http://localhost", headers=header
        ) as client:
            return await client.get(f"/api/balances{query}")

    with rows_of_keys(monkeypatch):
        alice, ops = await aside(keys)
        own = (await ask(alice)).json()["results"]
        asked = (await ask(ops, "?owner=alice")).json()["results"]
        unknown, foreign = await ask(ops, "?owner=nobody"), await ask(alice, "?owner=ops")
    assert own == asked
    by_token = {one.pop("token"): one for one in own}
    assert by_token["SOL"] == {"total": "50", "reserved": "20", "available": "30", "value": "7500"}
    assert by_token["USDC"] == {"total": "50", "reserved": "0", "available": "50", "value": "50"}
    assert (unknown.status_code, foreign.status_code) == (404, 403)


def test_without_balances_nothing_is_reserved_or_refused(bench, settings):
    settings.ENGINE_BALANCES = False
    (order_id,) = bench.accept(bench.order(60 * SOL))
    bench.run([order_id])
    assert not Balance.objects.exists()
    settings.ENGINE_BALANCES = True
    (order_id,) = bench.accept(bench.order(SOL))
    settings.ENGINE_BALANCES = False
    bench.run([order_id])
    assert held() == (49 * SOL, 0), "what was reserved is settled"


def test_a_difference_is_counted_listed_and_repaired(bench, capsys):
    user = account("alice")
    bench.accept(of(bench.limit("900", 20 * SOL), owner=user.pk))
    assert run("balances") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["alice", "SOL", "50", "20", "30", "agrees"]
    Balance.objects.update(total=60 * SOL, reserved=19 * SOL)
    before = metrics.BALANCES_WRONG._value.get()
    reconciliation.take()
    assert metrics.BALANCES_WRONG._value.get() == before + 1
    code, told = refused("balances")
    assert code == 1 and "--repair" in told
    assert run("balances", "--user", "alice", "--repair", "after the upgrade", "--operator", "ops") == 0
    assert "total is 10 too high; reserved is 1 too low" in Act.objects.get().outcome
    assert held(owner=user.pk) == (50 * SOL, 20 * SOL)


@pytest.mark.parametrize("wrong", [{"reserved": 0}, {"total": 0, "reserved": 0}], ids=["reservation", "all of it"])
def test_a_balance_that_was_wrong_keeps_no_order_from_its_end(bench, wrong):
    (filled, resting) = bench.accept(bench.order(SOL), bench.limit("900", SOL))
    Balance.objects.update(**wrong)
    bench.run([filled])
    waiting.cancel(resting)
    assert [bench.statuses(order_id)[-1] for order_id in (filled, resting)] == ["confirmed", "cancelled"]
    assert [one.token for one in balances.compared() if one.differs] == ["SOL"] * bool(wrong.get("total") == 0)
    balances.repair(OWNER, "SOL")
    assert held() == ((FUNDS - 1) * SOL, 0) and not [one for one in balances.compared() if one.differs]


def test_what_leaves_for_the_archive_stays_counted(bench, settings):
    settings.RETENTION_DAYS = 30
    (order_id,) = bench.accept(bench.order(SOL))
    bench.run([order_id])
    bench.archive()
    before = held(), held("USDC")
    aged(order_id)
    redis().flushdb()
    assert retire_all() == 1
    assert (held(), held("USDC")) == before
    assert not Attempt.objects.exists() and not [one for one in balances.compared() if one.differs]


def test_orders_that_are_open_at_the_upgrade_get_their_reservation(bench):
    (filled,) = bench.accept(bench.order(SOL))
    bench.run([filled])
    bench.archive()
    open_ones = bench.accept(bench.limit("900", 20 * SOL), bench.limit("900", 25 * SOL), bench.order(SOL))
    Order.objects.update(on_balance=False)
    Balance.objects.all().delete()
    migration = import_module("orders.migrations.0023_open_orders_reserved")
    migration.reserve(None, SimpleNamespace(connection=connection))
    assert held() == (50 * SOL, 46 * SOL)
    assert {str(pk) for pk in Order.objects.filter(on_balance=True).values_list("pk", flat=True)} == set(open_ones)
    bench.run(open_ones[2:])
    waiting.cancel(open_ones[0])
    assert held() == (49 * SOL, 25 * SOL)


def test_a_balance_too_small_at_the_upgrade_begins_with_what_its_orders_need(bench, settings):
    bench.accept(bench.limit("900", 20 * SOL))
    Order.objects.update(on_balance=False)
    Balance.objects.all().delete()
    settings.MOCK_FUNDS = 5
    import_module("orders.migrations.0023_open_orders_reserved").reserve(None, SimpleNamespace(connection=connection))
    assert held() == (20 * SOL, 20 * SOL)


def test_orders_without_an_account_count_nowhere(bench):
    bench.accept(NewOrder(replace(bench.order(60 * SOL).order, owner=None)))
    assert not Balance.objects.exists()
