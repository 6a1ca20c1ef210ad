"""Trading limits: nothing beyond them is accepted or sent, whatever races, and what ends unfilled is given back."""

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest
from django.db import connection, connections
from django.urls import reverse
from django.utils import timezone

from config.asgi import application
from engine.orders import TimeInForce
from engine.quotes import Pair
from engine.triggers import Condition, Kind
from orders.api.estimate import estimate
from orders.flow import dead_letters, intake, limits, pauses, waiting
from orders.flow.intake import Accepted
from orders.flow.routes import PriceImpact
from orders.flow.trading_limits import Rejected, trading_limits
from orders.models import (
    Act,
    Attempt,
    DeadLetter,
    LimitKind,
    LimitScope,
    Order,
    PauseState,
    TradingLimit,
    TradingLimitHold,
    TradingLimitUse,
)
from orders.operations import trading_limits as operations
from orders.operations.trading_limits import CannotSet, Wanted
from orders.stores import trading_holds
from orders.stores.ids import new_id
from orders.stores.threads import aside
from routing import dollars
from routing.crashpoints import Moment
from routing.models import LedgerEntry
from routing.store import StoreError, now_ms, redis
from tests.orders.accounts import account, bearer, row_of, rows_of_keys
from tests.orders.bench import TOKENS
from tests.orders.commands.standin import refused, run
from tests.orders.doors import ORDER, opened
from tests.orders.sniping import list_token, new_mint
from tests.orders.steps import at

WHY = "a new strategy"
SOL = 1_000_000_000


@pytest.fixture(autouse=True)
def sol_at_150(bench):
    """One SOL is 150 dollars, and nothing is remembered of other tests."""
    dollars.prices.known.clear()
    trading_limits.forget()
    bench.price("150")
    assert dollars.prices({"SOL"})["SOL"] == 150
    yield
    dollars.prices.known.clear()
    trading_limits.forget()


def put(kind, value=0, scope=LimitScope.EVERYTHING, name="", allowed=()):
    return operations.put(Wanted(scope, name, LimitKind(kind), value, allowed), WHY, "ops")


def used(limit):
    row = TradingLimitUse.objects.filter(limit=limit).first()
    return row.used if row else Decimal(0)


def of(asked, **terms):
    """Return another order, with other terms."""
    return replace(asked, order=replace(asked.order, id=new_id(), **terms))


def codes(answers):
    return [answer.code if isinstance(answer, Rejected) else type(answer).__name__ for answer in answers]


def test_an_order_worth_more_than_one_may_be_is_rejected_with_the_numbers(bench):
    put("order-value", 300)
    at, beyond = intake.place([bench.order(2 * SOL), bench.order(2 * SOL + 1)])
    assert isinstance(at, Accepted)
    assert (beyond.code, beyond.field, beyond.value) == ("rejected_order_value", "amount", "2.000000001 SOL")
    assert str(beyond) == "the order is worth 300.01 USD; one order of all trading may be worth 300.00 USD"
    assert Order.objects.count() == 1


def test_the_value_is_that_of_the_token_sold(bench):
    put("order-value", 300)
    buying = Pair(TOKENS["USDC"], TOKENS["SOL"])
    fits, beyond = (of(bench.order(), pair=buying, amount_in=units) for units in (300_000_000, 300_000_001))
    assert codes(intake.place([fits, beyond])) == ["Accepted", "rejected_order_value"]


def test_a_value_that_nobody_knows_is_rejected_where_values_are_limited(bench):
    redis().flushdb()
    dollars.prices.known.clear()
    put("slippage", 50)
    assert codes(intake.place([bench.order()])) == ["Accepted"]
    put("order-value", 10**9)
    assert codes(intake.place([bench.order()])) == ["rejected_value_unknown"]


def test_a_price_counts_a_minute_longer_than_it_is_quoted(bench, monkeypatch):
    put("order-value", 300)

    def away(_):
        raise StoreError("redis is away")

    monkeypatch.setattr(dollars, "cached", away)
    price, at = dollars.prices.known["SOL"]
    dollars.prices.known["SOL"] = price, at - 50
    assert codes(intake.place([bench.order(3 * SOL)])) == ["rejected_order_value"]
    dollars.prices.known["SOL"] = price, at - 61
    assert codes(intake.place([bench.order(SOL)])) == ["rejected_value_unknown"]


def test_slippage_and_tokens_are_limited(bench):
    put("slippage", 100)
    put("tokens", allowed=["SOL", "USDC"])
    jup = Pair(TOKENS["JUP"], TOKENS["USDC"])
    answers = intake.place([bench.order(slippage_bps=100), bench.order(slippage_bps=101), of(bench.order(), pair=jup)])
    assert codes(answers) == ["Accepted", "rejected_slippage", "rejected_token"]
    assert (answers[2].field, answers[2].value, answers[2].accepted) == ("tokenIn", "JUP", "SOL or USDC")


def test_a_limit_covers_only_its_user_key_pair_or_token(bench):
    alice, bob = account("alice"), account("bob")
    key = row_of(bearer(alice))
    covered = {
        ("user", "alice"): of(bench.order(), owner=alice.pk),
        ("key", key.prefix): replace(of(bench.order(), owner=bob.pk), key=key.pk),
        ("pair", "SOL-USDC"): bench.order(),
        ("token", "SOL"): bench.order(),
    }
    for (scope, name), inside in covered.items():
        TradingLimit.objects.all().delete()
        put("slippage", 1, LimitScope(scope), name)
        outside = of(bench.order(), owner=bob.pk, pair=Pair(TOKENS["JUP"], TOKENS["USDC"]))
        assert codes(intake.place([inside, outside])) == ["rejected_slippage", "Accepted"], scope


def test_price_impact_is_limited_where_it_is_known_when_a_market_order_is_placed(bench):
    bench.quote_all()
    put("impact", 10)
    small, large = intake.place([bench.order(SOL // 100), bench.order(1_000 * SOL)])
    assert codes([small, large]) == ["Accepted", "rejected_impact"]
    assert re.fullmatch(r"a price impact of [\d.]+ bps is beyond the 10 bps of all trading", str(large))
    assert (large.field, large.value) == ("amount", "1000 SOL")
    assert estimate(bench.order(1_000 * SOL).order, now_ms())["problem"]["code"] == "rejected_impact"
    redis().flushdb()
    assert codes(intake.place([bench.order(1_000 * SOL)])) == ["Accepted"], "nobody knows it now"


@pytest.mark.parametrize("kind", ["market", "limit", "ioc"])
def test_price_impact_is_judged_again_when_an_order_is_routed(bench, kind):
    bench.quote_all()
    more = {"time_in_force": TimeInForce.IOC} if kind == "ioc" else {}
    asked = bench.order(1_000 * SOL) if kind == "market" else bench.limit("1", 1_000 * SOL, **more)
    (order_id,) = bench.accept(asked)
    limits.check()
    put("impact", 10, LimitScope.PAIR, "SOL-USDC")
    bench.run([order_id])
    last = bench.events(order_id)[-1]
    if kind == "limit":
        assert (last["status"], last["returned"]["code"]) == ("pending", "rejected_impact")
    else:
        assert (last["status"], last["code"]) == ("cancelled", "rejected_impact")
    assert not Attempt.objects.exists() and not LedgerEntry.objects.exists()


def test_a_keys_price_impact_cannot_be_limited_because_routing_knows_no_key(bench):
    key = row_of(bearer(account("alice")))
    with pytest.raises(CannotSet, match="limit the key's user"):
        put("impact", 10, LimitScope.KEY, key.prefix)


def test_what_a_day_may_be_worth_is_shared_out_in_sequence(bench):
    limit = put("day-value", 500)
    answers = intake.place([bench.order(2 * SOL), bench.order(2 * SOL), bench.order(SOL)])
    assert codes(answers) == ["Accepted", "rejected_day_value", "Accepted"]
    assert "of the 500.00 USD that all trading may trade" in str(answers[1])
    assert answers[1].accepted == "at most 200.00 USD today"
    assert used(limit) == 450 and TradingLimitHold.objects.count() == 2


def test_200_orders_that_race_for_a_day_of_50_get_exactly_50_also_with_redis_emptied(bench):
    limit = put("day-value", 50 * 150)

    def place(thread):
        try:
            found = []
            for number in range(10):
                if (thread, number) == (0, 2):
                    redis().flushdb()
                found += intake.place([bench.order(SOL) for _ in range(5)])
            return found
        finally:
            connections.close_all()

    # They are read twice a second; until then a process goes by what it knew.
    assert trading_limits()
    with ThreadPoolExecutor(4) as threads:
        answers = [one for those in threads.map(place, range(4)) for one in those]
    assert Counter(codes(answers)) == {"Accepted": 50, "rejected_day_value": 150}
    assert Order.objects.count() == 50
    assert used(limit) == 50 * 150


def test_an_order_that_ends_unfilled_gives_its_part_back_and_one_that_fills_does_not(bench):
    limit = put("day-value", 600)
    (resting,) = bench.accept(bench.limit("900", SOL))
    (filled,) = bench.accept(bench.order(SOL))
    bench.run([filled])
    assert bench.statuses(filled)[-1] == "confirmed"
    assert used(limit) == 300
    waiting.cancel(resting)
    assert used(limit) == 150
    assert [str(hold.order_id) for hold in TradingLimitHold.objects.all()] == [filled]


def test_an_order_that_fails_gives_its_part_back(bench, monkeypatch):
    limit = put("day-value", 600)
    (order_id,) = bench.accept(bench.order(SOL))
    monkeypatch.setattr("orders.flow.routes.affordable", beyond_impact)
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "failed"
    assert used(limit) == 0


def beyond_impact(*_):
    raise PriceImpact("too large")


def test_a_limit_set_after_acceptance_stops_what_is_not_sent(bench):
    (market,) = bench.accept(bench.order(3 * SOL))
    put("order-value", 300)
    bench.run([market])
    end = bench.events(market)[-1]
    assert (end["status"], end["code"]) == ("cancelled", "rejected_order_value")
    assert "450.00 USD" in end["reason"]
    assert not LedgerEntry.objects.exists()


def test_an_order_of_an_earlier_day_counts_when_it_is_sent(bench):
    limit = put("day-value", 300)
    first, second = bench.accept(bench.order(SOL)), bench.accept(bench.order(SOL))
    yesterday = timezone.now().date() - timedelta(days=1)
    TradingLimitHold.objects.update(day=yesterday)
    TradingLimitUse.objects.update(day=yesterday)
    (third,) = bench.accept(bench.order(SOL))
    bench.run([*first, *second])
    ends = sorted(bench.statuses(order_id)[-1] for order_id in (*first, *second))
    assert ends == ["cancelled", "confirmed"]
    assert TradingLimitUse.objects.get(limit=limit, day=timezone.now().date()).used == 300
    bench.run([third])
    assert bench.statuses(third)[-1] == "confirmed", "it has counted today since it was placed"


def test_a_worker_frozen_past_its_lease_counts_nothing_for_an_order_that_has_ended(bench):
    limit = put("day-value", 600)
    (order_id,) = bench.accept(bench.order(SOL))

    def meanwhile():
        bench.pass_time(order_id, 10_000)
        halt = pauses.pause("everything", "", WHY, "ops", PauseState.HALTED)
        bench.carry([order_id])
        assert bench.statuses(order_id)[-1] == "cancelled" and used(limit) == 0
        pauses.resume(halt, "ops")

    with at("swap.building", meanwhile, Moment.AFTER):
        bench.carry([order_id])
    assert bench.statuses(order_id)[-1] == "cancelled" and not LedgerEntry.objects.exists()
    assert used(limit) == 0 and not TradingLimitHold.objects.exists()


def test_a_worker_frozen_past_its_lease_counts_an_order_once_that_another_has_filled(bench):
    limit = put("day-value", 150)
    (order_id,) = bench.accept(bench.order(SOL))
    TradingLimitHold.objects.all().delete()
    TradingLimitUse.objects.update(used=0)

    def meanwhile():
        bench.pass_time(order_id, 10_000)
        bench.run([order_id])
        assert bench.statuses(order_id)[-1] == "confirmed" and used(limit) == 150

    with at("swap.building", meanwhile, Moment.AFTER):
        bench.carry([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed" and LedgerEntry.objects.count() == 1
    assert used(limit) == 150


def test_an_amendment_and_a_cancellation_at_once_leave_nothing_counted(bench):
    limit = put("day-value", 10_000)
    for _ in range(20):
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
        assert used(limit) == 0 and not TradingLimitHold.objects.exists()


def test_sniper_orders_with_other_conditions_are_not_the_same(bench):
    put("repeat", 60)
    list_token(mint := new_mint(), "NOVA")
    launch, liquidity = Condition(Kind.LAUNCH), Condition(Kind.LIQUIDITY, at_least=100_000)
    asked = [bench.snipe(mint, launch), bench.snipe(mint, liquidity), bench.snipe(mint, launch)]
    assert codes(intake.place(asked)) == ["Accepted", "Accepted", "rejected_repeat"]
    assert codes(intake.place([bench.snipe(mint, liquidity)])) == ["rejected_repeat"]
    assert codes(intake.place([bench.snipe(mint, liquidity, max_price=Decimal(1))])) == ["Accepted"]


def test_the_same_order_may_not_be_repeated_too_soon(bench):
    put("repeat", 60)
    assert codes(intake.place([bench.order(SOL), bench.order(SOL), bench.order(2 * SOL)])) == [
        "Accepted",
        "rejected_repeat",
        "Accepted",
    ]
    assert codes(intake.place([bench.order(SOL)])) == ["rejected_repeat"]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_order SET created_at = created_at - interval '61 seconds'")
    assert codes(intake.place([bench.order(SOL)])) == ["Accepted"]


def test_a_repeat_under_its_name_is_answered_beyond_every_limit(bench):
    named = [bench.order(SOL, client_order_id="once") for _ in range(2)]
    assert codes(intake.place(named[:1])) == ["Accepted"]
    put("repeat", 60)
    put("day-value", 0)
    (again,) = intake.place(named[1:])
    assert again.repeat and again.order_id == named[0].order.id


def test_an_amendment_is_limited_too(bench):
    limit = put("day-value", 400)
    put("order-value", 300)
    (order_id,) = bench.accept(bench.limit("900", SOL))
    bench.accept(bench.limit("900", SOL))
    waiting.amend(order_id, 1, {"amount_in": SOL * 5 // 3 - 1})
    assert used(limit) == 400
    with pytest.raises(Rejected) as day:
        waiting.amend(order_id, 2, {"amount_in": 2 * SOL})
    assert day.value.code == "rejected_day_value"
    with pytest.raises(Rejected) as value:
        waiting.amend(order_id, 2, {"amount_in": 3 * SOL})
    assert value.value.code == "rejected_order_value"
    waiting.cancel(order_id)
    assert used(limit) == 150


def test_only_allowed_venues_are_routed_to(bench):
    bench.quote_all()
    for venue in ("RAYDIUM", "METEORA"):
        put("venues", allowed=[venue])
        (order_id,) = bench.place()
        bench.run([order_id])
        assert bench.statuses(order_id)[-1] == "confirmed"
        assert {event["venue"] for event in bench.events(order_id) if "venue" in event} == {venue}


def test_a_replay_beyond_a_limit_is_refused_with_the_numbers(bench, monkeypatch):
    (order_id,) = bench.accept(bench.order(3 * SOL))
    monkeypatch.setattr("orders.flow.routes.affordable", beyond_impact)
    bench.run([order_id])
    bench.archive()
    dead_letters.keep([order_id])
    DeadLetter.objects.update(replay_may_help=True)
    put("order-value", 300)
    with pytest.raises(dead_letters.NotSafe, match=r"worth 450\.00 USD"):
        dead_letters.replay(order_id, "ops")


async def test_every_door_answers_422_with_a_stable_code(bench, monkeypatch):
    await aside(put, "slippage", 10)
    with rows_of_keys(monkeypatch):
        header = await aside(lambda: bearer(account("alice")))
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=header) as client:
            one = await client.post("/api/orders/execute", json=ORDER)
            view = await client.post("/api/orders/execute", json=ORDER, headers={"accept": "application/*"})
            batch = await client.post("/api/orders/batch", json={"orders": [ORDER, ORDER | {"slippageBps": 10}]})
            estimate = await client.post("/api/orders/estimate", json=ORDER)
    assert one.status_code == view.status_code == 422
    assert one.json() == view.json()
    assert one.json()["error"]["code"] == "rejected_slippage"
    assert one.json()["error"]["fields"][0]["accepted"] == "at most 10 bps"
    assert [result["status"] for result in batch.json()["results"]] == [422, 202]
    assert estimate.json()["problem"]["code"] == "rejected_slippage"


async def test_a_socket_that_places_an_order_hears_it_and_is_closed(bench):
    await aside(put, "slippage", 10)
    async with opened("/api/orders/execute") as socket:
        await socket.send(json.dumps(ORDER))
        (said,), code = await socket.rest()
    assert (said["error"]["code"], code) == ("rejected_slippage", 4422)


def test_limits_are_set_listed_and_removed_by_command(bench, capsys):
    alice = account("alice")

    def said(*words):
        assert run("limits", *words) == 0
        return capsys.readouterr().out

    of_alice = ("--kind", "day-value", "--user", "alice")
    assert "day-value of alice: 5,000" in said("set", *of_alice, "--reason", WHY, "--operator", "ops", "5,000")
    intake.place([of(bench.order(SOL), owner=alice.pk)])
    (_, row) = said("list").splitlines()
    assert [cell for cell in row.split("  ") if cell] == ["day-value", "alice", "5,000", "150.00", "ops", WHY]
    assert "is removed" in said("remove", *of_alice, "--operator", "ops")
    assert list(Act.objects.order_by("pk").values_list("who", "what", "subject", "reason", "outcome")) == [
        ("ops", "set trading limit", "day-value of alice", WHY, "5,000"),
        ("ops", "remove trading limit", "day-value of alice", "", "it was 5,000"),
    ]
    assert said("list").strip() == "There are no trading limits."


def test_limits_are_set_seen_and_removed_in_the_admin_and_logged(bench, operator):
    page = reverse("admin:orders_tradinglimit_changelist")
    form = {"kind": "day-value", "scope": "everything", "which": "", "terms": "5,000", "reason": WHY}
    answer = operator.post(reverse("admin:orders_tradinglimit_add"), form, follow=True)
    assert answer.redirect_chain[-1][0] == page
    intake.place([bench.order(SOL)])
    answer = operator.post(reverse("admin:orders_tradinglimit_add"), form | {"terms": "6,000"}, follow=True)
    assert "150.00" in answer.content.decode() and "6,000" in answer.content.decode()
    row = TradingLimit.objects.get()
    operator.post(page, {"action": "remove_selected", "_selected_action": [row.pk]})
    assert not TradingLimit.objects.exists()
    told = list(Act.objects.order_by("pk").values_list("what", "subject", "reason", "outcome"))
    name = "day-value of everything"
    assert told == [
        ("add trading limit", name, WHY, "Set to 5,000"),
        ("add trading limit", name, WHY, "Set to 6,000"),
        ("change trading limit", name, "", f"Removed; ops had set it to 6,000: {WHY}"),
    ]
    answer = operator.post(reverse("admin:orders_tradinglimit_add"), form | {"scope": "user", "which": "nobody"})
    assert "there is no user &#x27;nobody&#x27;" in answer.content.decode()


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (("set", "--kind", "day-value", "--user", "nobody", "5"), "there is no user 'nobody'"),
        (("set", "--kind", "day-value", "--pair", "SOL-DOGE", "5"), "there is no pair 'SOL-DOGE'"),
        (("set", "--kind", "day-value", "lots"), "one whole number, not 'lots'"),
        (("set", "--kind", "slippage", "-1"), "0 to 10,000, not -1"),
        (("set", "--kind", "tokens", "DOGE"), "not DOGE"),
        (("remove", "--kind", "tokens"), "has no limit tokens"),
    ],
)
def test_what_cannot_be_limited_is_said(bench, terms, said):
    reason = ("--reason", WHY) if terms[0] == "set" else ()
    code, told = refused("limits", terms[0], *reason, *terms[1:])
    assert code == 2 and said in told


def test_what_past_days_used_is_deleted(bench):
    put("day-value", 10_000)
    bench.accept(bench.order(SOL))
    assert trading_holds.prune() == 0
    TradingLimitHold.objects.update(day=timezone.now().date() - timedelta(days=3))
    TradingLimitUse.objects.update(day=timezone.now().date() - timedelta(days=3))
    while trading_holds.prune():
        pass
    assert not TradingLimitHold.objects.exists() and not TradingLimitUse.objects.exists()


def test_without_limits_nothing_is_asked_of_the_market(bench, monkeypatch):
    def fail(*_):
        raise AssertionError("asked")

    monkeypatch.setattr(dollars, "cached", fail)
    monkeypatch.setattr(trading_holds, "lock", fail)
    assert codes(intake.place([bench.order()])) == ["Accepted"]
