"""Pauses: no door lets an order in, what is under way goes on, what rests waits, and every process knows."""

import asyncio

import pytest
from django.db import OperationalError
from redis.exceptions import ConnectionError as StoreGone

from engine.triggers import Condition, Kind
from orders.flow import dead_letters, duties, intake, limits, listening, recovery
from orders.flow import pauses as pausing
from orders.flow.intake import Accepted
from orders.flow.pauses import CannotPause, Paused, Pauses, pause, pauses, resume
from orders.models import Act, Order, Pause
from orders.operations import figures
from orders.stores.threads import aside
from routing import outages, quotes
from routing.asking import asker
from routing.memory import Memory
from routing.store import redis
from routing.venues import Silence
from tests.factories import DeadLetterFactory
from tests.orders.doors import ORDER, opened, post, until
from tests.orders.sniping import LAUNCH, Market, liquidity, list_token, new_mint

pytestmark = pytest.mark.usefixtures("no_pauses")

WHY = "the pool is being drained"
REFUSED = {"code": "paused", "message": f"SOL-USDC is paused: {WHY}", "fields": []}


def stop(scope="pair", name="SOL-USDC"):
    return pause(scope, name, WHY, "ops")


async def test_the_short_way_in_refuses_a_paused_pair_with_the_operators_reason(bench):
    await aside(stop)
    answer = await post(ORDER)
    assert (answer.status_code, answer.json()["error"]) == (503, REFUSED)
    assert not await Order.objects.aexists()


async def test_the_documented_way_in_refuses_it_alike(bench):
    await aside(stop)
    answer = await post(ORDER, accept="application/*")
    assert (answer.status_code, answer.json()["error"]) == (503, REFUSED)


async def test_a_batch_gives_each_order_of_a_paused_pair_that_verdict_and_places_the_others(bench):
    await aside(stop)
    other = {"type": "market", "tokenIn": "USDC", "tokenOut": "SOL", "amount": "5"}
    results = (await post({"orders": [ORDER, other]}, "/api/orders/batch")).json()["results"]
    assert results[0] == {"status": 503, "error": REFUSED}
    assert results[1]["status"] == 202


async def test_a_socket_that_places_an_order_of_a_paused_pair_hears_why_and_is_closed(bench):
    await aside(stop)
    async with opened("/api/orders/execute") as socket:
        await socket.send(ORDER)
        assert await socket.rest() == ([{"error": REFUSED}], 1013)


def test_when_everything_is_paused_no_pair_is_traded(bench):
    stop("everything", "")
    (answer,) = intake.place([bench.order()])
    assert isinstance(answer, Paused)
    assert str(answer) == f"trading is paused: {WHY}"


def test_who_lost_the_answer_to_an_accepted_order_gets_it_during_a_pause(bench):
    (order_id,) = bench.place(client_order_id="mine")
    stop()
    (again,) = intake.place([bench.order(client_order_id="mine")])
    assert isinstance(again, Accepted)
    assert (again.order_id, again.repeat) == (order_id, True)
    (new,) = intake.place([bench.order(client_order_id="other")])
    assert isinstance(new, Paused)


def test_an_order_under_way_goes_on_through_a_pause_and_new_ones_come_in_after_it(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    row = stop()
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    resume(row, "ops")
    assert isinstance(intake.place([bench.order()])[0], Accepted)
    assert not Pause.objects.exists()


def test_a_limit_order_of_a_paused_pair_rests_while_its_price_is_there_and_fires_when_it_is_resumed(bench):
    (order_id,) = bench.accept(bench.limit("100.00"))
    row = stop()
    bench.price("150")
    limits.check()
    assert bench.statuses(order_id) == ["pending"]
    resume(row, "ops")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_a_sniper_order_of_a_paused_pair_stays_armed_and_fires_with_the_next_event_after_it(bench):
    mint = new_mint()
    list_token(mint, "NOVA9")
    nova = Market(mint)
    (order_id,) = bench.accept(bench.snipe(mint, Condition(Kind.LAUNCH)))
    row = stop(name="SOL-NOVA9")
    nova.pool()
    assert bench.statuses(order_id) == ["pending"]
    resume(row, "ops")
    nova.worth(60_000)
    assert bench.statuses(order_id)[:2] == ["pending", "triggered"]


def test_a_paused_venue_is_neither_asked_nor_routed_to_and_best_is_the_others(bench):
    bench.price("150", venue="METEORA")
    bench.price("160", venue="RAYDIUM")
    assert quotes.cached(["SOL-USDC"])["SOL-USDC"].best.venue == "RAYDIUM"
    row = stop("venue", "RAYDIUM")
    cached = quotes.cached(["SOL-USDC"])["SOL-USDC"]
    assert ([quote.venue for quote in cached.quotes], cached.best.venue) == (["METEORA"], "METEORA")
    answers = asker().ask(bench.pair).result(5)
    assert Silence("RAYDIUM", f"RAYDIUM is paused: {WHY}") in answers
    (order_id,) = bench.place()
    bench.run([order_id])
    routed = bench.events(order_id)[1]
    assert (routed["venue"], routed["missing"]) == ("METEORA", ["RAYDIUM"])
    resume(row, "ops")
    assert len(quotes.cached(["SOL-USDC"])["SOL-USDC"].quotes) == 2


def test_the_last_venue_cannot_be_paused(bench):
    stop("venue", "RAYDIUM")
    with pytest.raises(CannotPause, match="pause or halt everything instead"):
        stop("venue", "METEORA")
    assert [row.name for row in Pause.objects.all()] == ["RAYDIUM"]


@pytest.mark.parametrize(("scope", "name"), [("pair", "SOL-NOPE"), ("venue", "ORCA"), ("everything", "x"), ("all", "")])
def test_what_there_is_not_cannot_be_paused(bench, scope, name):
    with pytest.raises(CannotPause):
        stop(scope, name)


def test_a_second_pause_gives_the_new_reason(bench):
    stop()
    pause("pair", "SOL-USDC", "still looking", "night shift")
    assert [(row.reason, row.by) for row in Pause.objects.all()] == [("still looking", "night shift")]
    assert str(pauses().of("SOL-USDC")) == "SOL-USDC is paused: still looking"


def test_a_process_that_heard_nothing_knows_within_a_second(bench):
    other = Memory("pauses", pausing.read, Pauses(), (OperationalError,), 3_600)
    assert other().of("SOL-USDC") is None
    Pause.objects.create(scope="pair", name="SOL-USDC", reason=WHY, by="ops")
    assert other().of("SOL-USDC") is None, "it remembers, and asks no store for each order"
    other.for_s = 0
    assert pauses.for_s <= 1
    assert str(other().of("SOL-USDC")) == f"SOL-USDC is paused: {WHY}"


async def test_a_server_that_is_told_forgets_at_once_what_it_remembered(bench):
    listening.listener().ensure_listening()
    pauses.read_at = float("inf")

    announcements = []

    def told():
        # Again and again: what is announced before the server has joined the group is not for it.
        announcements.append(asyncio.ensure_future(aside(pausing.announce, "pauses.changed")))
        return pauses.read_at == float("-inf")

    await until(told, "the server forgets")
    await asyncio.gather(*announcements)
    listening.listener().task.cancel()


def test_pauses_hold_while_postgres_is_away(bench, monkeypatch):
    stop()
    pauses()

    def away():
        raise OperationalError("gone")

    monkeypatch.setattr(pauses, "read", away)
    pauses.forget()
    assert pauses().of("SOL-USDC")


def test_the_sweep_tells_an_emptied_redis_which_venues_are_paused(bench):
    stop("venue", "RAYDIUM")
    redis().flushdb()
    outages.withheld.forget()
    assert not outages.paused()
    recovery.recover()
    assert outages.paused() == {"RAYDIUM": f"RAYDIUM is paused: {WHY}"}


def test_a_pause_while_redis_is_away_stands_and_the_next_pulse_mirrors_it(bench, monkeypatch):
    def away(*_):
        raise StoreGone("gone")

    monkeypatch.setattr(outages, "withhold", away)
    stop("venue", "RAYDIUM")
    monkeypatch.undo()
    assert not redis().exists(outages.PAUSED)
    duties.tell()
    assert redis().hgetall(outages.PAUSED) == {"RAYDIUM": f"RAYDIUM is paused: {WHY}"}


def test_a_dead_letter_of_a_paused_pair_is_not_replayed(bench):
    letter = DeadLetterFactory()
    stop()
    with pytest.raises(dead_letters.NotSafe, match=f"SOL-USDC is paused: {WHY}"):
        dead_letters.replay(str(letter.order_id), "ops")
    letter.refresh_from_db()
    assert letter.replayed_at is None


def asked(what="pair:SOL-USDC", reason=WHY, state="paused"):
    return {"what": what, "reason": reason, "state": state}


PAUSES, ADD = "/admin/orders/pause/", "/admin/orders/pause/add/"


def test_an_operator_pauses_and_resumes_in_the_admin_and_both_are_on_record(bench, operator):
    assert "Pause" in operator.get(PAUSES).content.decode()
    operator.post(ADD, asked())
    assert isinstance(intake.place([bench.order()])[0], Paused)
    row = Pause.objects.get()
    page = operator.get(PAUSES).content.decode()
    assert WHY in page
    assert "pair SOL-USDC" in page
    operator.post(PAUSES, {"action": "resume_selected", "_selected_action": [row.pk]})
    assert isinstance(intake.place([bench.order()])[0], Accepted)
    said = [(act.who, act.subject, act.outcome) for act in Act.objects.order_by("pk")]
    assert said == [
        ("ops", "SOL-USDC", f"Paused: {WHY}"),
        ("ops", "SOL-USDC", f"Resumed; ops had paused it: {WHY}"),
    ]
    assert WHY in operator.get("/admin/orders/act/").content.decode()


def test_the_dashboard_says_what_is_paused(bench, operator):
    stop("everything", "")
    figures.figures.forget()
    shown = operator.get("/admin/figures/").json()["pauses"]
    row = {"scope": "everything", "name": "", "what": "everything", "state": "paused", "reason": WHY, "by": "ops"}
    assert shown == [row]


@pytest.mark.parametrize(
    "wrong",
    [asked(reason=""), asked("pair:NO-PAIR"), asked("venue:"), asked(""), asked("everything:x"), asked(state="")],
)
def test_a_pause_without_a_reason_or_of_what_there_is_not_is_refused(bench, operator, wrong):
    assert operator.post(ADD, wrong).status_code == 200
    assert not Pause.objects.exists()


def test_the_admin_says_why_the_last_venue_stays(bench, operator):
    stop("venue", "RAYDIUM")
    page = operator.post(ADD, asked("venue:METEORA")).content.decode()
    assert "METEORA is the last venue that is not paused: pause or halt everything instead" in page
    assert Pause.objects.count() == 1


def test_who_may_only_look_neither_pauses_nor_resumes(bench, looker):
    row = stop()
    page = looker.get(PAUSES)
    assert page.status_code == 200
    assert ADD not in page.content.decode()
    assert looker.post(ADD, asked("everything:")).status_code == 403
    assert looker.post(f"/admin/orders/pause/{row.pk}/resume/").status_code == 403
    looker.post(PAUSES, {"action": "resume_selected", "_selected_action": [row.pk]})
    assert [one.pk for one in Pause.objects.all()] == [row.pk]


def test_following_a_link_resumes_nothing(bench, operator):
    row = stop()
    assert operator.get(f"/admin/orders/pause/{row.pk}/resume/").status_code == 405
    assert operator.post(f"/admin/orders/pause/{row.pk}/resume/").status_code == 302
    assert not Pause.objects.exists()


def cancel(client, *ids):
    return client.post("/admin/orders/order/", {"action": "cancel_selected", "_selected_action": ids}, follow=True)


def test_an_operator_cancels_resting_orders_from_the_list_on_record_and_is_told_which_went_on(bench, operator):
    (resting,) = bench.accept(bench.limit("999.00"))
    bench.quote_all()
    (done,) = bench.place()
    bench.run([done])
    answer = cancel(operator, resting, done)
    assert bench.events(resting)[-1]["reason"] == "cancelled by the operator ops"
    assert [str(message) for message in answer.context["messages"]] == [
        f"{done} is not cancelled: it is confirmed.",
        f'<a href="/admin/orders/order/{resting}/change/">{resting}</a> is cancelled.',
    ]
    assert [(act.subject, act.outcome) for act in Act.objects.all()] == [(resting, "Cancelled.")]


def test_who_may_only_look_cancels_nothing(bench, looker):
    (resting,) = bench.accept(bench.limit("999.00"))
    cancel(looker, resting)
    assert bench.statuses(resting) == ["pending"]


def story_of(client, order_id):
    return client.get(f"/admin/orders/order/{order_id}/change/").context["timeline"].story


def test_a_sniper_orders_page_says_how_far_each_condition_is(bench, operator, nova):
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH, liquidity(50_000)))
    nova.pool(40_000)
    assert story_of(operator, order_id).evidence == (
        "Waits for launch: 1 pools now, met.",
        "Waits for liquidity of 50000 USD: 40000 USD now, not met.",
    )
    assert cancel(operator, order_id)
    assert story_of(operator, order_id).evidence == ()


def test_an_orders_page_says_in_a_sentence_what_happened_and_why(bench, operator, settings):
    bench.price("150", venue="RAYDIUM")
    bench.price("151", venue="METEORA")
    market, poor = bench.place(), bench.place(amount=900_000_000_000_000_000)
    bench.run([*market, *poor])
    resting, fired = bench.accept(bench.limit("999.00"), bench.limit("100.00"))
    limits.check()
    bench.run([fired])
    told = story_of(operator, market[0])
    assert told.sentence.startswith("A market order to sell 1.5 SOL for USDC got ")
    assert " USDC on METEORA at 15" in told.sentence
    assert "METEORA pays " in told.sentence
    assert told.tone == "good"
    told = story_of(operator, poor[0])
    assert " failed 0." in told.sentence
    assert "a replay would fail again" in told.sentence
    told = story_of(operator, resting)
    assert told.sentence.endswith("at 999 or better rests: its trigger is not met yet.")
    told = story_of(operator, fired)
    assert told.evidence[0].startswith("Fired on: METEORA pays 151, limit 100 (")
    stop()
    assert story_of(operator, resting).sentence.endswith(f"SOL-USDC is paused ({WHY}), so it does not fire.")
    bench.archive()
    assert cancel(operator, resting)
    assert "unfilled: cancelled by the operator ops." in story_of(operator, resting).sentence
    page = operator.get(f"/admin/orders/order/{resting}/change/").content.decode()
    assert f"grep {resting} {settings.DATA_DIR}/logs/" in page


def test_orders_are_found_by_a_token_or_a_pair_they_trade(bench, operator):
    (sol_usdc,) = bench.place()
    found = {
        typed: [str(row.pk) for row in operator.get("/admin/orders/order/", {"q": typed}).context["cl"].result_list]
        for typed in ("SOL", "usdc", "SOL-USDC", "JUP", "USDC-SOL", bench.pair.token_in.mint)
    }
    assert found == {
        "SOL": [sol_usdc],
        "usdc": [sol_usdc],
        "SOL-USDC": [sol_usdc],
        "JUP": [],
        "USDC-SOL": [],
        bench.pair.token_in.mint: [sol_usdc],
    }
