"""From a wake-up to the end of an order."""

import threading
from collections import Counter

import pytest
from django.db import connection, transaction
from msgspec import structs

from engine.failures import AttemptsExhausted
from engine.lifecycle import AttemptState
from orders import models
from orders.flow import building, endings, execution, routes, settlement
from orders.stores import attempts, chain_results, claims, lookups
from routing.chain import ChainUnreachable
from routing.models import LedgerEntry
from routing.store import redis
from tests.orders.bench import STAGES
from tests.orders.locks import in_thread, waits_for_a_lock
from tests.system import eventually

AGES_AGO = "2000-01-01T00:00:00Z"


def routed(held):
    """Route orders in hand on whatever quotes there are."""
    basis = execution.router.from_cache({claim.order.pair.name for claim in held}, 0, 10**15, 10**15)
    found, moves = routes.route(held, basis)
    assert moves == []
    return found


def settle():
    while settlement.look():
        pass


def executed():
    """Count what the chain executed, by order."""
    return Counter(memo.partition(":")[0] for memo in LedgerEntry.objects.values_list("memo", flat=True))


def test_a_market_order_goes_through_five_stages_to_confirmed(bench):
    bench.quote_all()
    ids = bench.place(3)
    bench.run(ids)
    for order_id in ids:
        assert bench.statuses(order_id) == STAGES
        assert [event["seq"] for event in bench.events(order_id)] == [1, 2, 3, 4, 5]
        assert [event["orderId"] for event in bench.events(order_id)] == [order_id] * 5


def test_each_event_states_its_facts(bench):
    raydium, meteora = bench.quote("RAYDIUM"), bench.quote("METEORA")
    (order_id,) = bench.place()
    bench.run([order_id])
    _, routing, building, submitted, confirmed = bench.events(order_id)
    assert {quote["venue"] for quote in routing["quotes"]} == {"RAYDIUM", "METEORA"}
    assert {quote["feeBps"] for quote in routing["quotes"]} == {raydium.fee_bps, meteora.fee_bps}
    assert all(0 <= quote["ageMs"] < 2000 for quote in routing["quotes"])
    # Equal prices, and Meteora's fee is the lower one.
    assert routing["venue"] == "METEORA"
    assert "METEORA pays" in routing["reason"]
    assert float(building["minimumOut"]) == pytest.approx(float(building["expectedOut"]) * 0.995, rel=1e-6)
    attempt = models.Attempt.objects.get(order_id=order_id)
    assert submitted["txHash"] == confirmed["txHash"] == attempt.signature
    assert float(confirmed["amountOut"]) == pytest.approx(float(building["expectedOut"]), rel=1e-4)
    got, expected = float(confirmed["amountOut"]), float(building["expectedOut"])
    assert float(confirmed["slippageBps"]) == pytest.approx((expected - got) / expected * 10_000, abs=0.01)
    assert float(confirmed["executedPrice"]) == pytest.approx(got / 1.5, rel=1e-9)
    assert confirmed["fees"] == {
        "venueFeeBps": 20,
        "venueFee": "0.003",
        "venueFeeToken": "SOL",
        "networkFeeLamports": 5000,
    }


def test_a_second_wake_up_changes_nothing(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    before = bench.events(order_id)
    bench.run([order_id, order_id])
    assert bench.events(order_id) == before
    assert models.Attempt.objects.filter(order_id=order_id).count() == 1


def test_an_order_held_by_one_worker_is_not_claimed_by_another(bench):
    (order_id,) = bench.place()
    assert [claim.order.id for claim in claims.claim([order_id]).claims] == [order_id]
    assert claims.claim([order_id]).claims == []


def test_a_worker_whose_lease_ran_out_can_write_nothing(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    (stale,) = claims.claim([order_id]).claims
    bench.pass_time(order_id, 10_000)
    bench.run([order_id])
    assert bench.statuses(order_id) == STAGES
    execution.execute([stale], execution.router.from_cache({"SOL-USDC"}, 0, 10**15, 10**15))
    assert bench.statuses(order_id) == STAGES
    assert models.Attempt.objects.count() == 1


def test_a_claim_counts_as_an_attempt_so_that_a_crash_does_too(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    for _ in range(3):
        assert claims.claim([order_id], alone=True).claims
        bench.pass_time(order_id, 10_000)
    bench.carry([order_id])
    last = bench.events(order_id)[-1]
    assert (last["status"], last["code"]) == ("failed", "attempts_exhausted")


def test_a_worker_that_dies_after_committing_leaves_an_attempt_that_is_withdrawn_and_made_anew(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place()

    def die(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "announce", die)
    with pytest.raises(KeyboardInterrupt):
        bench.carry([order_id])
    monkeypatch.undo()
    (left,) = models.Attempt.objects.filter(order_id=order_id)
    assert left.state == AttemptState.PREPARED
    bench.pass_time(order_id, 10_000)
    bench.run([order_id])
    assert bench.statuses(order_id) == ["pending", "routing", "building", *STAGES[1:]]
    states = models.Attempt.objects.filter(order_id=order_id).order_by("pk").values_list("number", "state")
    assert list(states) == [(1, "withdrawn"), (2, "landed")]


def test_a_worker_that_dies_between_the_swap_and_the_send_leaves_an_attempt_that_the_audit_sends(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place()

    def die(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(attempts, "mark_sent", die)
    with pytest.raises(KeyboardInterrupt):
        bench.carry([order_id])
    monkeypatch.undo()
    assert bench.statuses(order_id)[-1] == "submitted"
    assert models.Attempt.objects.get(order_id=order_id).state == AttemptState.PREPARED
    models.Attempt.objects.update(sent_at=AGES_AGO)
    settlement.audit()
    settle()
    assert bench.statuses(order_id) == STAGES


def test_a_worker_that_wakes_after_its_attempt_was_sent_by_another_does_not_send_it_again(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place()
    (claim,) = claims.claim([order_id]).claims
    (built,) = building.build(routed([claim]))
    real = execution.announce

    def freeze(prepared):
        won = real(prepared)
        models.Attempt.objects.update(sent_at=AGES_AGO)
        settlement.audit()
        return won

    monkeypatch.setattr(execution, "announce", freeze)
    sent = []
    monkeypatch.setattr(settlement, "broadcast", sent.extend)
    execution.submit([built])
    assert sent == [] and models.Attempt.objects.get(order_id=order_id).state == AttemptState.SENT
    settle()
    assert bench.statuses(order_id) == STAGES


def test_an_attempt_that_was_withdrawn_before_its_worker_won_the_swap_uses_up_no_try(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place()
    (claim,) = claims.claim([order_id]).claims
    (built,) = building.build(routed([claim]))
    real = execution.announce

    def withdrawn_meanwhile(prepared):
        models.Attempt.objects.update(sent_at=AGES_AGO)
        settlement.audit()
        return real(prepared)

    monkeypatch.setattr(execution, "announce", withdrawn_meanwhile)
    execution.submit([built])
    monkeypatch.undo()
    assert models.Attempt.objects.get(order_id=order_id).state == AttemptState.WITHDRAWN
    bench.carry([order_id])
    told = bench.events(order_id)[-1]
    assert (told["status"], told["retry"]["code"]) == ("routing", "withdrawn")
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert [event["attempt"] for event in bench.events(order_id) if event["status"] == "submitted"] == [1, 2]
    assert models.Attempt.objects.get(state="landed").tries == 1


def test_a_worker_frozen_before_its_commit_changes_nothing_when_it_wakes(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    (stale,) = claims.claim([order_id]).claims
    (theirs,) = building.build(routed([stale]))
    bench.pass_time(order_id, 10_000)
    bench.carry([order_id])
    before = bench.events(order_id)
    assert before[-1]["status"] == "submitted"
    execution.submit([theirs])
    assert bench.events(order_id) == before
    settle()
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert executed() == {order_id: 1}


def test_what_a_frozen_worker_commits_before_the_other_does_is_withdrawn_and_never_sent(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    (stale,) = claims.claim([order_id]).claims
    (theirs,) = building.build(routed([stale]))
    bench.pass_time(order_id, 10_000)
    (fresh,) = claims.claim([order_id]).claims
    (ours,) = building.build(routed([fresh]))
    assert attempts.prepare([theirs[1]]).stands == {order_id}
    execution.submit([ours])
    assert models.Attempt.objects.get(order_id=order_id).state == AttemptState.WITHDRAWN
    assert bench.statuses(order_id)[-1] == "building"
    bench.pass_time(order_id, 10_000)
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert executed() == {order_id: 1}


def test_the_database_refuses_a_second_open_attempt(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    (claim,) = claims.claim([order_id]).claims
    (one,) = routed([claim])
    first = building.sign(one, building.chain().blockhash())
    assert attempts.prepare([first]).stands == {order_id}
    second = structs.replace(first, signature="x" * 88)
    assert attempts.prepare([second]).stands == set()
    chain_results.settle(AttemptState.LANDED, [settlement.Finding(first.signature, settlement.Landing.LANDED)], 0)
    assert attempts.prepare([second]).stands == set()


def test_a_chain_that_does_not_answer_leaves_the_attempt_open_and_the_bytes_are_sent_again(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place()
    real = settlement.chain()

    class Silent:
        def send(self, _):
            raise ChainUnreachable("timed out")

        def __getattr__(self, name):
            return getattr(real, name)

    monkeypatch.setattr(settlement, "chain", Silent)
    bench.carry([order_id])
    assert bench.statuses(order_id)[-1] == "submitted"
    monkeypatch.undo()
    models.Attempt.objects.update(sent_at="2000-01-01T00:00:00Z")
    settlement.audit()
    while settlement.look():
        pass
    assert bench.statuses(order_id) == STAGES
    assert models.Attempt.objects.get(order_id=order_id).state == AttemptState.LANDED


def test_a_rejected_transaction_is_retried_with_a_new_one_and_fails_after_three(bench, settings):
    settings.MOCK_REJECT_RATE = 1.0
    bench.quote_all()
    (order_id,) = bench.place()
    for _ in range(3):
        bench.run([order_id])
        bench.pass_time(order_id, 60_000)
    told = bench.events(order_id)
    assert [event["status"] for event in told] == [
        "pending",
        *["routing", "building", "submitted", "routing"] * 2,
        *["routing", "building", "submitted", "failed"],
    ]
    assert [event["attempt"] for event in told if event["status"] == "submitted"] == [1, 2, 3]
    assert told[4]["retry"]["code"] == "program_error"
    assert told[-1]["code"] == "program_error" and told[-1]["replayMayHelp"] is True
    assert [a.state for a in models.Attempt.objects.filter(order_id=order_id)] == ["rejected"] * 3


def test_a_retry_is_not_taken_up_before_its_time(bench, settings, monkeypatch):
    settings.MOCK_REJECT_RATE = 1.0
    monkeypatch.setattr("orders.flow.endings.random.random", lambda: 0.99)
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    waiting = bench.statuses(order_id)
    bench.run([order_id])
    assert bench.statuses(order_id) == waiting


def test_a_lost_transaction_is_proven_dead_only_past_its_last_valid_height(bench, settings):
    settings.MOCK_DROP_RATE = 1.0
    settings.MOCK_BLOCKHASH_VALID_MS = 60_000
    bench.quote_all()
    (order_id,) = bench.place()
    bench.carry([order_id])
    models.Attempt.objects.update(sent_at="2000-01-01T00:00:00Z")
    settlement.audit()
    assert bench.statuses(order_id)[-1] == "submitted"
    assert models.Attempt.objects.get(order_id=order_id).state == AttemptState.SENT
    models.Attempt.objects.update(sent_at="2000-01-01T00:00:00Z", last_valid_height=1)
    settlement.audit()
    assert models.Attempt.objects.get(order_id=order_id).state == AttemptState.EXPIRED
    last = bench.events(order_id)[-1]
    assert (last["status"], last["retry"]["code"]) == ("routing", "expired")


def test_one_bad_order_in_a_batch_fails_alone(bench):
    bench.quote_all()
    good = bench.place(2)
    (vast,) = bench.place(amount=10**18)
    bench.run([good[0], vast, good[1]])
    assert bench.statuses(good[0]) == bench.statuses(good[1]) == STAGES
    last = bench.events(vast)[-1]
    assert last["status"] == "failed" and last["replayMayHelp"] is False


def test_a_fresh_best_is_routed_on_without_asking(bench, monkeypatch):
    monkeypatch.setattr(execution, "asker", lambda: pytest.fail("the venues were asked"))
    bench.quote_all()
    (order_id,) = bench.place()
    bench.carry([order_id])
    assert bench.events(order_id)[1]["source"] == "best"


def test_older_quotes_serve_within_the_stated_age(bench, monkeypatch):
    monkeypatch.setattr(execution, "asker", lambda: pytest.fail("the venues were asked"))
    bench.quote_all(age_ms=5_000)
    (order_id,) = bench.place()
    bench.carry([order_id])
    assert bench.events(order_id)[1]["source"] == "last"


def test_stale_quotes_are_not_used_and_the_venues_are_asked(bench):
    bench.quote_all(age_ms=60_000)
    (order_id,) = bench.place()
    bench.carry([order_id])
    execution.asker().ask(bench.pair).result(5)
    execution.resumption().shutdown(wait=True)
    execution.resumption.cache_clear()
    assert bench.events(order_id)[1]["source"] == "asked"


def test_with_one_venue_down_the_other_takes_the_order(bench):
    bench.quote("RAYDIUM")
    (order_id,) = bench.place()
    bench.run([order_id])
    routing = bench.events(order_id)[1]
    assert routing["venue"] == "RAYDIUM" and routing["missing"] == ["METEORA"]
    assert bench.statuses(order_id) == STAGES


def test_a_submitted_order_that_nobody_watches_is_found_by_the_sweep(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.carry([order_id])
    redis().delete(lookups.OPEN)
    assert settlement.look() == 0
    bench.carry([order_id])
    while settlement.look():
        pass
    assert bench.statuses(order_id) == STAGES


def test_a_worker_that_wakes_after_its_order_failed_can_commit_no_attempt(bench, settings):
    settings.MAX_ATTEMPTS = 1
    bench.quote_all()
    (order_id,) = bench.place()
    (stale,) = claims.claim([order_id]).claims
    (built,) = building.build(routed([stale]))
    bench.pass_time(order_id, 60_000)
    bench.carry([order_id])
    assert bench.events(order_id)[-1]["code"] == "attempts_exhausted"
    execution.submit([built])
    assert models.Attempt.objects.count() == 0
    assert bench.statuses(order_id)[-1] == "failed"


def test_an_order_with_an_attempt_that_may_land_cannot_end_unfilled(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    (claim,) = claims.claim([order_id]).claims
    (built,) = building.build(routed([claim]))
    assert attempts.prepare([built[1]]).stands == {order_id}
    assert attempts.mark_sent([built[1].signature])
    endings.fail([(built[0], AttemptsExhausted("whatever"))])
    # It is brought to where Postgres knows it to be.
    assert bench.statuses(order_id) == STAGES[:4]


def test_an_order_whose_attempt_was_never_sent_can_end_and_the_attempt_is_withdrawn(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    (claim,) = claims.claim([order_id]).claims
    (built,) = building.build(routed([claim]))
    assert attempts.prepare([built[1]]).stands == {order_id}
    endings.fail([(built[0], AttemptsExhausted("whatever"))])
    assert bench.statuses(order_id)[-1] == "failed" and bench.row(order_id).status == "failed"
    assert attempts.mark_sent([built[1].signature]) == set()
    assert models.Attempt.objects.get(order_id=order_id).state == AttemptState.WITHDRAWN


def test_ending_an_order_and_committing_its_attempt_at_once_lets_exactly_one_through(bench):
    bench.quote_all()
    ids = bench.place(40)
    held = claims.claim(ids).claims
    built = building.build(routed(held))
    start = threading.Barrier(2)
    outcome = {}

    def racing(name, act, items):
        start.wait(5)
        try:
            outcome[name] = set().union(*(act(item) for item in items))
        finally:
            connection.close()

    def send(one):
        stands = attempts.prepare([one[1]]).stands
        return stands if attempts.mark_sent([one[1].signature]) else set()

    def end(one):
        endings.fail([(one[0], AttemptsExhausted("whatever"))])
        return {one[0].order.id} if bench.statuses(one[0].order.id)[-1] == "failed" else set()

    racers = [
        threading.Thread(target=racing, args=("sent", send, built)),
        threading.Thread(target=racing, args=("ended", end, built[::-1])),
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(30)
    assert outcome["sent"] | outcome["ended"] == set(ids)
    assert outcome["sent"] & outcome["ended"] == set()


def test_two_workers_that_settle_the_same_attempts_lock_them_in_one_order(bench):
    bench.quote_all()
    bench.carry(bench.place(2))
    first, second = models.Attempt.objects.order_by("id")
    found = [settlement.Finding(one.signature, settlement.Landing.LANDED) for one in (second, first)]
    with transaction.atomic():
        models.Attempt.objects.select_for_update().get(pk=first.pk)
        thread, answers = in_thread(lambda: chain_results.settle(AttemptState.LANDED, found, 0))
        eventually(waits_for_a_lock, 20, "the other waits for the first of them")
        # It holds none beyond the one it waits for.
        models.Attempt.objects.select_for_update(nowait=True).get(pk=second.pk)
    thread.join(30)
    assert {one.signature for one in answers[0]} == {first.signature, second.signature}


def test_a_claim_repeated_after_a_lost_reply_counts_once(bench, monkeypatch):
    (order_id,) = bench.place()
    fence = claims.uuid4()
    monkeypatch.setattr(claims, "uuid4", lambda: fence)
    assert [claim.attempt for _ in range(2) for claim in claims.claim([order_id]).claims] == [1, 1]


def test_an_amount_no_pool_can_pay_for_fails_at_once_and_is_not_called_replayable(bench):
    bench.quote_all()
    (dust,) = bench.place(amount=1)
    bench.carry([dust])
    last = bench.events(dust)[-1]
    assert (last["status"], last["code"], last["replayMayHelp"]) == ("failed", "cannot_fill", False)
    assert "too small" in last["message"]
