"""The kill switch: nothing that is accepted and not sent is sent, and what was sent is followed to its end."""

from contextlib import ExitStack

import pytest
from redis.exceptions import ConnectionError as StoreGone

from engine.orders import OrderType, TimeInForce
from engine.triggers import Condition, Kind
from orders.flow import intake, limits, pauses, recovery, settlement, sweep, waiting
from orders.flow.intake import Accepted
from orders.flow.pauses import Paused
from orders.models import Act, Attempt, Pause, PauseState
from orders.stores import attempts
from routing import outages
from routing.crashpoints import Moment
from routing.models import LedgerEntry
from tests.orders.bench import STAGES, empty_redis
from tests.orders.commands.standin import refused, run
from tests.orders.sniping import Market, list_token, new_mint
from tests.orders.steps import at

pytestmark = pytest.mark.usefixtures("no_pauses")

WHY = "the oracle is wrong"
LONG_AGO = "2000-01-01T00:00:00Z"
HALTED = PauseState.HALTED
UNSENT = ("swap.routing", "swap.building", "prepare", "swap.submitted", "sent")
"""The steps of a try before which nothing of it can have left."""


def halt(scope="pair", name="SOL-USDC", **more):
    return pauses.pause(scope, name, WHY, "ops", HALTED, **more)


def halt_unheard(scope="pair", name="SOL-USDC"):
    """Halt as another process does, of which this one has not read yet."""
    pauses.pauses()
    Pause.objects.create(scope=scope, name=name, reason=WHY, by="ops", state=HALTED)


def die():
    raise KeyboardInterrupt


def fired(bench, kind):
    """Accept an order of a type, and have it ready for the order worker."""
    bench.quote_all()
    if kind is OrderType.MARKET:
        return bench.place()[0]
    if kind is OrderType.LIMIT:
        (order_id,) = bench.accept(bench.limit("100"))
        limits.check()
    else:
        mint = new_mint()
        list_token(mint, "NOVA9")
        (order_id,) = bench.accept(bench.snipe(mint, Condition(Kind.LAUNCH)))
        Market(mint).pool()
        bench.quote_all_of(bench_pair(order_id))
    assert bench.statuses(order_id)[-1] == ("pending" if kind is OrderType.MARKET else "triggered")
    return order_id


def bench_pair(order_id):
    return waiting.found(order_id).order.pair


def assert_stopped(bench, order_id, kind):
    """See that an order was not sent, and what became of it."""
    last = bench.events(order_id)[-1]
    if kind is OrderType.MARKET:
        assert (last["status"], last["code"]) == ("cancelled", "halted")
        assert last["reason"].endswith(f"is halted: {WHY}")
        assert bench.row(order_id).status == "cancelled"
    else:
        assert (last["status"], last["returned"]["code"]) == ("pending", "halted")
    assert not LedgerEntry.objects.exists()
    assert set(Attempt.objects.values_list("state", flat=True)) <= {"withdrawn"}


@pytest.mark.parametrize("kind", OrderType)
def test_an_accepted_order_that_no_worker_has_taken_up_is_not_sent(bench, kind):
    order_id = fired(bench, kind)
    halt("everything", "")
    bench.run([order_id])
    assert_stopped(bench, order_id, kind)
    assert not Attempt.objects.exists()


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("step", UNSENT[1:])
@pytest.mark.parametrize("kind", OrderType)
def test_an_order_at_any_step_before_it_is_sent_is_not_sent(bench, kind, step, heard):
    order_id = fired(bench, kind)
    with at(step, lambda: (halt if heard else halt_unheard)("everything", "")):
        bench.run([order_id])
    assert_stopped(bench, order_id, kind)


def test_an_order_that_waits_for_its_next_try_is_cancelled_when_that_comes(bench, settings):
    settings.MOCK_REJECT_RATE = 1.0
    order_id = fired(bench, OrderType.MARKET)
    bench.run([order_id])
    halt()
    bench.pass_time(order_id, 60_000)
    bench.run([order_id])
    assert [event["kind"] for event in bench.events(order_id)][-2:] == ["retry", "cancelled"]
    assert Attempt.objects.count() == 1


def others_go_on(bench, order_id):
    """Do what the other workers do once the lease of a dead one is over; by then they have read of the halt."""
    pauses.pauses.forget()
    for _ in range(2):
        bench.archive()
        bench.pass_time(order_id, 60_000)
        Attempt.objects.update(sent_at=LONG_AGO)
        settlement.audit()
        bench.run([order_id])


@pytest.mark.parametrize(
    ("halted", "dead", "moment"),
    [
        ("swap.building", "swap.building", Moment.AFTER),
        ("swap.building", "prepare", Moment.AFTER),
        ("prepare", "swap.submitted", Moment.BEFORE),
        ("prepare", "swap.submitted", Moment.AFTER),
        ("prepare", "sent", Moment.AFTER),
        ("sent", "withdraw", Moment.BEFORE),
        ("sent", "withdraw", Moment.AFTER),
    ],
)
@pytest.mark.parametrize("kind", OrderType)
def test_a_worker_that_dies_before_it_obeys_or_while_it_does_is_followed_by_one_that_does(
    bench, kind, halted, dead, moment
):
    order_id = fired(bench, kind)

    def halt_then_die():
        if halted == dead:
            halt_unheard("everything", "")
        die()

    with ExitStack() as stack:
        if halted != dead:
            stack.enter_context(at(halted, lambda: halt_unheard("everything", "")))
        stack.enter_context(at(dead, halt_then_die, moment))
        stack.enter_context(pytest.raises(KeyboardInterrupt))
        bench.run([order_id])
    others_go_on(bench, order_id)
    assert_stopped(bench, order_id, kind)


@pytest.mark.parametrize("kind", OrderType)
def test_a_worker_that_dies_over_the_end_itself_is_followed_by_one_that_completes_it(bench, kind):
    order_id = fired(bench, kind)
    halt("everything", "")
    step = "reserve" if kind is OrderType.MARKET else "swap.pending"
    with at(step, die, Moment.AFTER), pytest.raises(KeyboardInterrupt):
        bench.run([order_id])
    others_go_on(bench, order_id)
    assert_stopped(bench, order_id, kind)


@pytest.mark.parametrize("kind", OrderType)
def test_what_was_sent_is_followed_to_its_fill(bench, kind):
    order_id = fired(bench, kind)
    bench.carry([order_id])
    halt("everything", "")
    bench.run([])
    assert bench.statuses(order_id)[-1] == "confirmed"


def test_a_sent_transaction_that_the_chain_rejects_is_not_followed_by_another(bench, settings):
    settings.MOCK_REJECT_RATE = 1.0
    order_id = fired(bench, OrderType.MARKET)
    bench.carry([order_id])
    halt()
    bench.run([])
    bench.pass_time(order_id, 60_000)
    bench.run([order_id])
    assert bench.events(order_id)[-1]["code"] == "halted"
    assert list(Attempt.objects.values_list("state", flat=True)) == ["rejected"]


def committed_as_sent(bench):
    """Have a worker die between the commit of an attempt as sent and its bytes' way to the chain."""
    order_id = fired(bench, OrderType.MARKET)
    with at("send", die), pytest.raises(KeyboardInterrupt):
        bench.carry([order_id])
    Attempt.objects.update(sent_at=LONG_AGO)
    return order_id


def test_bytes_that_may_never_have_left_are_not_resent_under_a_halt_and_expire(bench):
    order_id = committed_as_sent(bench)
    halt()
    settlement.audit()
    assert not LedgerEntry.objects.exists()
    assert Attempt.objects.get().sends == 1
    Attempt.objects.update(sent_at=LONG_AGO, last_valid_height=1)
    settlement.audit()
    assert Attempt.objects.get().state == "expired"
    bench.pass_time(order_id, 60_000)
    bench.run([order_id])
    assert bench.events(order_id)[-1]["code"] == "halted"


def test_they_are_resent_once_the_halt_is_over(bench):
    order_id = committed_as_sent(bench)
    row = halt()
    settlement.audit()
    Attempt.objects.update(sent_at=LONG_AGO)
    pauses.resume(row, "ops")
    settlement.audit()
    bench.run([])
    assert bench.statuses(order_id) == STAGES
    assert Attempt.objects.get().sends == 2


def test_a_worker_that_was_frozen_before_it_sent_the_bytes_keeps_them_when_it_wakes(bench):
    order_id = fired(bench, OrderType.MARKET)
    with at("sent", halt, Moment.AFTER):
        bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "submitted"
    assert not LedgerEntry.objects.exists()


def test_the_statement_that_commits_attempts_as_sent_reads_the_halts_itself(bench):
    bench.quote_all()
    sol, other = bench.place(), bench.accept(bench.limit("100"))
    limits.check()
    with at("sent", lambda: halt_unheard("pair", "JUP-USDC")):
        bench.run([*sol, *other])
    assert {bench.statuses(order_id)[-1] for order_id in (*sol, *other)} == {"confirmed"}, "the halt is of another pair"
    assert not pauses.pauses().any_halt


def test_a_halt_of_one_pair_leaves_the_others_of_a_batch_alone(bench):
    mint = new_mint()
    list_token(mint, "NOVA9")
    (sniped,) = bench.accept(bench.snipe(mint, Condition(Kind.LAUNCH)))
    Market(mint).pool()
    bench.quote_all_of(bench_pair(sniped))
    bench.quote_all()
    (sold,) = bench.place()
    with at("sent", lambda: halt_unheard(name="SOL-NOVA9")):
        bench.run([sniped, sold])
    assert bench.statuses(sold)[-1] == "confirmed"
    assert bench.events(sniped)[-1]["returned"]["code"] == "halted"


@pytest.mark.parametrize("step", UNSENT[2:])
@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
def test_what_is_prepared_for_a_halted_venue_is_not_sent_and_goes_to_another(bench, step, heard):
    bench.price("150", venue="METEORA")
    bench.price("160", venue="RAYDIUM")
    (order_id,) = bench.place()
    with at(step, lambda: (halt if heard else halt_unheard)("venue", "RAYDIUM")):
        bench.run([order_id])
    last = bench.events(order_id)[-1]
    assert last["retry"]["code"] == "halted"
    assert last["retry"]["message"] == f"RAYDIUM is halted: {WHY}"
    pauses.mirror()
    bench.pass_time(order_id, 60_000)
    bench.run([order_id])
    assert bench.events(order_id)[-1]["venue"] == "METEORA"
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert set(LedgerEntry.objects.values_list("venue", flat=True)) == {"METEORA"}


def test_an_order_that_rests_again_fires_after_the_halt(bench):
    order_id = fired(bench, OrderType.LIMIT)
    row = halt()
    bench.run([order_id])
    bench.pass_time(order_id, 60_000)
    sweep.sweep()
    limits.check()
    assert bench.statuses(order_id) == ["pending", "triggered", "pending"]
    pauses.resume(row, "ops")
    bench.quote_all()
    limits.check()
    bench.run([order_id])
    assert bench.statuses(order_id) == ["pending", "triggered", "pending", "triggered", *STAGES[1:]]


def test_an_ioc_order_is_cancelled_because_it_does_not_rest(bench):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("100", time_in_force=TimeInForce.IOC))
    limits.fire_or_cancel([order_id])
    halt()
    bench.run([order_id])
    last = bench.events(order_id)[-1]
    assert (last["status"], last["code"], last["reason"]) == ("cancelled", "halted", f"ioc: SOL-USDC is halted: {WHY}")


def test_an_ioc_order_accepted_just_before_is_cancelled_with_the_halts_code(bench):
    (order_id,) = bench.accept(bench.limit("100", time_in_force=TimeInForce.IOC))
    halt()
    limits.fire_or_cancel([order_id])
    assert bench.events(order_id)[-1]["code"] == "halted"


def test_new_orders_are_refused_with_the_word(bench):
    halt()
    (answer,) = intake.place([bench.order()])
    assert isinstance(answer, Paused)
    assert str(answer) == f"SOL-USDC is halted: {WHY}"


def test_a_halt_shows_through_a_pause_of_everything(bench):
    pauses.pause("everything", "", "maintenance", "ops")
    halt()
    assert pauses.pauses().of("SOL-USDC").is_halt
    assert not pauses.pauses().of("USDC-SOL").is_halt


def test_a_pause_still_lets_accepted_orders_through(bench):
    order_id = fired(bench, OrderType.MARKET)
    pauses.pause("everything", "", WHY, "ops")
    bench.run([order_id])
    assert bench.statuses(order_id) == STAGES


@pytest.mark.parametrize("kind", OrderType)
def test_a_halt_holds_through_an_emptied_redis(bench, kind):
    order_id = fired(bench, kind)
    halt("everything", "")
    empty_redis()
    outages.withheld.forget()
    recovery.recover()
    bench.quote_all()
    bench.pass_time(order_id, 60_000)
    bench.run([order_id])
    assert not LedgerEntry.objects.exists()
    assert bench.statuses(order_id)[-1] == ("cancelled" if kind is OrderType.MARKET else "pending")


def cancelling(bench):
    """Halt and cancel what rests, while one order is about to come back to rest."""
    (rests,) = bench.accept(bench.limit("999"))
    coming_back = fired(bench, OrderType.LIMIT)
    return rests, coming_back


def test_a_halt_can_cancel_what_rests_and_what_comes_back_to_rest(bench):
    rests, coming_back = cancelling(bench)
    row = halt(cancels_resting=True)
    assert waiting.cancel_halted(pauses.stop_of(row)).cancelled == 1
    last = bench.events(rests)[-1]
    assert (last["status"], last["code"]) == ("cancelled", "halted")
    assert last["reason"] == f"cancelled by the operator: SOL-USDC is halted: {WHY}"
    bench.run([coming_back])
    bench.pass_time(coming_back, 60_000)
    sweep.sweep()
    assert bench.statuses(coming_back) == ["pending", "triggered", "pending", "cancelled"]


def test_it_cancels_only_what_it_covers(bench):
    (rests,) = bench.accept(bench.limit("999"))
    row = halt(name="USDC-SOL", cancels_resting=True)
    assert waiting.cancel_halted(pauses.stop_of(row)) == waiting.Cancelled(0, 0, complete=True)
    assert bench.statuses(rests) == ["pending"]


def test_a_halt_of_everything_cancels_orders_for_tokens_that_are_not_listed(bench):
    (unlisted,) = bench.accept(bench.snipe(new_mint(), Condition(Kind.LAUNCH)))
    (rests,) = bench.accept(bench.limit("999"))
    row = halt("everything", "", cancels_resting=True)
    assert waiting.cancel_halted(pauses.stop_of(row)).cancelled == 2
    assert [bench.statuses(order_id)[-1] for order_id in (unlisted, rests)] == ["cancelled"] * 2


@pytest.mark.parametrize("wrong", [("venue", "RAYDIUM", HALTED), ("pair", "SOL-USDC", PauseState.PAUSED)])
def test_only_a_halt_and_none_of_a_venue_cancels(bench, wrong):
    scope, name, state = wrong
    with pytest.raises(pauses.CannotPause, match="only a halt"):
        pauses.pause(scope, name, WHY, "ops", state, cancels_resting=True)
    assert not Pause.objects.exists()


@pytest.fixture
def at_once(monkeypatch):
    """Every process knows at once."""
    monkeypatch.setattr(pauses, "KNOWN_WITHIN_S", 0)


def test_the_command_halts_cancels_and_resumes(bench, at_once, capsys):
    (rests,) = bench.accept(bench.limit("999"))
    assert run("halt", "everything", "--reason", WHY, "--operator", "night shift", "--cancel-resting") == 0
    assert capsys.readouterr().out.splitlines() == [f"trading is halted: {WHY}", "1 resting orders cancelled"]
    assert Pause.objects.values_list("scope", "state", "by").get() == ("everything", "halted", "night shift")
    assert bench.statuses(rests)[-1] == "cancelled"
    assert isinstance(intake.place([bench.order()])[0], Paused)
    assert run("pause", "everything", "--reason", "checking") == 0
    assert Pause.objects.values_list("state", "cancels_resting").get() == ("paused", False)
    assert run("pause", "RAYDIUM", "--reason", "slow") == 0
    capsys.readouterr()
    assert run("resume", "everything") == 0
    assert capsys.readouterr().out.splitlines() == [
        "everything is resumed",
        "still in force: RAYDIUM is paused: slow",
    ]
    assert isinstance(intake.place([bench.order()])[0], Accepted)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("halt", "SOL-NOPE", "--reason", WHY), "there is no pair 'SOL-NOPE'"),
        (("halt", "RAYDIUM", "--reason", WHY, "--cancel-resting"), "only a halt can cancel resting orders"),
        (("resume", "SOL-USDC"), "SOL-USDC is not paused or halted"),
    ],
)
def test_a_command_says_why_it_does_nothing(bench, command, why):
    code, message = refused(*command)
    assert code == 2
    assert why in message


def test_a_command_that_runs_out_of_time_says_that_some_are_left(bench, at_once, monkeypatch, capsys):
    bench.accept(bench.limit("999"))
    monkeypatch.setattr(waiting, "ALL_WITHIN_S", -1)
    assert run("halt", "everything", "--reason", WHY, "--cancel-resting") == 1
    assert "run it again for the rest" in capsys.readouterr().out


def gone(*_):
    raise StoreGone("gone")


def test_the_command_halts_without_redis_and_says_what_is_left(bench, at_once, monkeypatch):
    bench.accept(bench.limit("999"))
    monkeypatch.setattr(waiting.progress, "advance", gone)
    code, message = refused("halt", "everything", "--reason", WHY, "--cancel-resting")
    assert (code, message) == (1, "The halt stands, but resting orders are left: gone")
    assert Pause.objects.get().state == "halted"


def test_an_operator_halts_in_the_admin_without_redis_and_reads_what_is_left(bench, operator, at_once, monkeypatch):
    bench.accept(bench.limit("999"))
    monkeypatch.setattr(waiting.progress, "advance", gone)
    asked = {"what": "everything:", "reason": WHY, "state": "halted", "cancels_resting": "on"}
    answer = operator.post("/admin/orders/pause/add/", asked, follow=True)
    assert "Resting orders are left: gone. Halt again with the same box ticked." in answer.content.decode()
    assert Pause.objects.get().state == "halted"


def test_an_operator_halts_in_the_admin_with_what_rests(bench, operator, at_once):
    (rests,) = bench.accept(bench.limit("999"))
    asked = {"what": "pair:SOL-USDC", "reason": WHY, "state": "halted", "cancels_resting": "on"}
    answer = operator.post("/admin/orders/pause/add/", asked, follow=True)
    assert [str(message) for message in answer.context["messages"]] == [
        f"SOL-USDC is halted: {WHY}",
        "1 resting orders are cancelled.",
    ]
    assert bench.statuses(rests)[-1] == "cancelled"
    row = Pause.objects.get()
    assert (row.state, row.by) == ("halted", "ops")
    operator.post(f"/admin/orders/pause/{row.pk}/resume/")
    said = Act.objects.order_by("pk").values_list("outcome", flat=True)
    assert list(said) == [f"Halted: {WHY} Resting orders are cancelled.", f"Resumed; ops had halted it: {WHY}"]


def test_the_admin_refuses_to_cancel_what_no_halt_covers(bench, operator):
    asked = {"what": "pair:SOL-USDC", "reason": WHY, "state": "paused", "cancels_resting": "on"}
    page = operator.post("/admin/orders/pause/add/", asked).content.decode()
    assert "only a halt can cancel resting orders, and none of a venue" in page
    assert not Pause.objects.exists()


def test_no_attempt_is_looked_up_while_nothing_is_halted(bench, monkeypatch):
    monkeypatch.setattr(attempts, "halted", None)
    order_id = fired(bench, OrderType.MARKET)
    pauses.pause("venue", "RAYDIUM", WHY, "ops")
    bench.run([order_id])
    assert bench.statuses(order_id) == STAGES
