"""Limit orders: what fires them and what does not, in which order, and what becomes of one that fired in vain."""

import random
from decimal import Decimal

import pytest

from engine.orders import TimeInForce
from orders.flow import dispatch, endings, execution, limits, progress, waiting
from orders.flow.sweep import sweep
from orders.stores import book, claims
from routing import quotes
from routing.router import Basis, Source
from routing.store import now_ms, redis

PAIR = "SOL-USDC"


def fired(bench):
    """Return the ids the order worker was woken for, in order."""
    return [order_id for ids in woken(bench, dispatch.EXECUTE) for order_id in ids]


def woken(bench, task):
    """Return the order ids of each of a task's messages, the oldest first."""
    return [message.get("order_ids", []) for message in bench.sent(task)]


def test_an_order_rests_until_the_price_reaches_it_and_fires_then(bench):
    bench.price("149.99")
    (order_id,) = bench.accept(bench.limit("150"))
    limits.check()
    assert bench.statuses(order_id) == ["pending"]
    bench.price("150.00")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "triggered"]
    evidence = bench.events(order_id)[-1]["trigger"]
    assert evidence["kind"] == "price"
    assert (evidence["venue"], evidence["price"], evidence["limitPrice"]) == ("METEORA", "150", "150")
    assert 0 <= evidence["ageMs"] < 2_000 and evidence["polls"] == 1
    assert fired(bench) == [order_id]


def test_an_order_that_fired_is_carried_to_its_end(bench):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("100"))
    limits.check()
    bench.run([order_id])
    assert bench.statuses(order_id) == ["pending", "triggered", "routing", "building", "submitted", "confirmed"]
    bench.archive()
    assert bench.row(order_id).status == "confirmed"


def test_the_order_worker_leaves_an_order_alone_that_has_not_fired(bench):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("1000"))
    bench.run([order_id])
    assert bench.statuses(order_id) == ["pending"]


def test_an_order_already_reached_when_it_arrives_wakes_the_limit_worker_at_once(bench):
    bench.price("150")
    bench.accept(bench.limit("160"))
    assert bench.sent(dispatch.FIRE) == []
    bench.accept(bench.limit("140"))
    assert bench.sent(dispatch.FIRE) == [{"pairs": [PAIR]}]


def test_a_ring_wakes_the_limit_worker_only_for_pairs_whose_price_reached_something(bench):
    bench.accept(bench.limit("150"))
    bench.price("149")
    limits.price_changed([PAIR, "JUP-USDC"])
    assert bench.sent(dispatch.FIRE) == []
    bench.price("151")
    limits.price_changed([PAIR, "JUP-USDC"])
    assert bench.sent(dispatch.FIRE) == [{"pairs": [PAIR]}]


def test_a_ring_and_beats_check_together_fire_an_order_once(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    bench.price("151")
    limits.fire(PAIR)
    limits.check()
    limits.fire(PAIR)
    assert bench.statuses(order_id) == ["pending", "triggered"]
    assert fired(bench) == [order_id]


def test_a_price_that_jumps_over_500_levels_fires_every_order_lowest_price_first_and_oldest_first(bench):
    bench.price("100")
    placed = []
    for round_ in range(2):
        prices = [f"{140 + cent / 100:.2f}" for cent in range(500)]
        random.Random(round_).shuffle(prices)
        placed += [(Decimal(price), order_id) for price, order_id in zip(prices, place(bench, prices), strict=True)]
    above = bench.accept(bench.limit("145.01"))
    bench.price("145.00")
    limits.check()
    # Ids sort by time.
    assert fired(bench) == [order_id for _, order_id in sorted(placed)]
    assert bench.statuses(above[0]) == ["pending"]
    assert redis().zcard("limit_levels:{SOL-USDC}") == 1


def place(bench, prices):
    """Accept orders at these prices in groups, as a burst does."""
    ids = []
    for start in range(0, len(prices), 100):
        ids += bench.accept(*(bench.limit(price) for price in prices[start : start + 100]))
    return ids


def test_all_that_a_price_has_reached_fires_though_the_price_is_gone_before_the_last_has(bench, monkeypatch):
    monkeypatch.setattr(book, "CLAIM_MAX", 5)
    ids = place(bench, ["150"] * 20)
    bench.price("150")
    trigger = limits.trigger

    def slowly(claim):
        bench.price("140")
        trigger(claim)

    monkeypatch.setattr(limits, "trigger", slowly)
    limits.fire(PAIR)
    assert fired(bench) == ids


def test_more_orders_than_one_claim_takes_fire_in_one_go(bench, monkeypatch):
    monkeypatch.setattr(book, "CLAIM_MAX", 7)
    ids = place(bench, ["150"] * 20 + ["149"] * 5)
    bench.price("150")
    limits.fire(PAIR)
    assert fired(bench) == ids[20:] + ids[:20]
    assert redis().hlen("limit_claims:{SOL-USDC}") == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bench: redis().delete("quotes:{SOL-USDC}:METEORA", "quotes:{SOL-USDC}:BEST"),
        lambda bench: bench.price("200", age_ms=2_100),
        lambda bench: bench.price("0"),
        lambda bench: bench.price("-200"),
        lambda bench: bench.price("20000", venue="RAYDIUM"),
        lambda bench: bench.price("2", venue="RAYDIUM"),
        lambda bench: bench.price("20000", venue="RAYDIUM", age_ms=8_000),
    ],
    ids=["missing", "stale", "zero", "negative", "a hundredfold", "a hundredth", "a hundredfold a while ago"],
)
def test_a_price_that_cannot_be_trusted_fires_nothing(bench, spoil):
    (order_id,) = bench.accept(bench.limit("150"))
    bench.price("200")
    spoil(bench)
    limits.price_changed([PAIR])
    limits.check()
    assert bench.statuses(order_id) == ["pending"]
    assert bench.sent(dispatch.FIRE) == []
    redis().delete("quotes:{SOL-USDC}:RAYDIUM")
    bench.price("200")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_venues_that_differ_a_little_fire_on_the_better_one(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    bench.price("140", venue="RAYDIUM")
    bench.price("150", venue="METEORA")
    limits.check()
    assert bench.events(order_id)[-1]["trigger"]["venue"] == "METEORA"


def test_one_bad_print_fires_nothing_where_a_price_must_hold(bench, settings):
    settings.LIMIT_HOLD_POLLS = 3
    (order_id,) = bench.accept(bench.limit("150"))
    for price in ("149", "151", "149", "151", "151"):
        bench.price(price)
        limits.price_changed([PAIR])
        # However often one quote is looked at, it is one poll.
        limits.check()
        limits.check()
        step_clock(bench)
    assert bench.statuses(order_id) == ["pending"]
    bench.price("150")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "triggered"]
    assert bench.events(order_id)[-1]["trigger"]["polls"] == 3


def step_clock(bench):
    """Let the store's clock go on by a millisecond, so that the next quote is another."""
    before = now_ms()
    while now_ms() == before:
        pass


def test_a_price_that_could_not_be_trusted_breaks_the_run_of_those_that_held(bench, settings):
    settings.LIMIT_HOLD_POLLS = 2
    (order_id,) = bench.accept(bench.limit("150"))
    bench.price("151")
    limits.check()
    bench.price("20000", venue="RAYDIUM")
    limits.check()
    redis().delete("quotes:{SOL-USDC}:RAYDIUM")
    bench.price("151")
    limits.check()
    assert bench.statuses(order_id) == ["pending"]


def test_the_execution_is_never_worse_than_the_limit_however_wide_the_slippage(bench):
    bench.quote_all()
    net = quotes.cached([PAIR])[PAIR].best.net_price
    limit = (net - Decimal("0.05")).quantize(Decimal("0.01"))
    (order_id,) = bench.accept(bench.limit(str(limit)))
    limits.check()
    bench.carry([order_id])
    building = next(event for event in bench.events(order_id) if event["status"] == "building")
    assert Decimal(building["minimumOut"]) == limit * Decimal("1.5")


def test_an_order_whose_price_is_gone_when_it_executes_rests_again_with_the_reason(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    bench.price("150.10")
    limits.check()
    bench.price("149")
    bench.carry([order_id])
    assert bench.statuses(order_id) == ["pending", "triggered", "pending"]
    returned = bench.events(order_id)[-1]["returned"]
    assert returned["code"] == "price_gone" and "149" not in returned["code"]
    assert "less than the 225 that the order's own price requires" in returned["message"]
    assert returned["inMs"] == endings.RETURN_MS
    wait_out(bench, order_id)
    bench.price("149.99")
    limits.check()
    assert bench.statuses(order_id)[-1] == "pending"
    bench.price("150.10")
    limits.check()
    assert bench.statuses(order_id)[-1] == "triggered"


def wait_out(bench, order_id):
    """Let an order's pause be over, and the sweep find it."""
    bench.pass_time(order_id, 120_000)
    sweep()


def test_an_order_back_at_rest_does_not_fire_during_its_pause(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    bench.price("150.10")
    limits.check()
    bench.price("149")
    bench.carry([order_id])
    bench.price("160")
    limits.check()
    assert bench.statuses(order_id)[-1] == "pending"


def test_an_order_too_large_for_its_price_waits_for_one_that_can_fill_it(bench):
    thin = 10**13
    (order_id,) = bench.accept(bench.limit("150", amount=100_000_000_000))
    quote_thin(bench, "150.10", thin)
    limits.check()
    bench.carry([order_id])
    assert bench.statuses(order_id) == ["pending", "triggered", "pending"]
    wait_out(bench, order_id)
    # At 150.10 it would come back for ever: it now rests where the pool, as deep as it is, can fill it.
    (rests_at,) = redis().zrange("limit_levels:{SOL-USDC}", 0, -1)
    assert Decimal("151.4") < Decimal(rests_at) < Decimal("151.6")
    quote_thin(bench, "151.3", thin)
    limits.check()
    assert bench.statuses(order_id)[-1] == "pending"
    quote_thin(bench, rests_at, thin)
    limits.check()
    bench.carry([order_id])
    assert bench.statuses(order_id)[-1] == "submitted"


def quote_thin(bench, price, reserve_in):
    """Have a venue quote this price with so many lamports of depth."""
    bench.price(price)
    cached = quotes.cached([PAIR])[PAIR].best
    pool = type(cached.pool)(reserve_in, int(Decimal(price) * reserve_in / 1000))
    redis().delete("quotes:{SOL-USDC}:METEORA")
    quotes.store(quotes.Quote(cached.venue, PAIR, cached.price, 0, pool, cached.requested_at, cached.observed_at))


def test_a_transaction_refused_for_its_price_sends_the_order_back_and_its_next_try_is_a_new_attempt(bench):
    # The market stands at 155; a quote of 170 is believed, and the chain refuses what was built on it.
    (order_id,) = bench.accept(bench.limit("165"))
    for attempt in (1, 2, 3, 4, 5):
        bench.price("170")
        limits.check()
        bench.run([order_id])
        assert bench.statuses(order_id)[-2:] == ["submitted", "pending"]
        last = bench.events(order_id)[-1]
        assert (last["attempt"], last["returned"]["code"]) == (attempt, "slippage_exceeded")
        wait_out(bench, order_id)
    bench.archive()
    assert bench.row(order_id).attempts.count() == 5
    assert {attempt.tries for attempt in bench.row(order_id).attempts.all()} == {1}


def test_the_pause_grows_with_each_return_and_stays_under_half_a_minute(bench):
    (order_id,) = bench.accept(bench.limit("165"))
    pauses = []
    for _ in range(9):
        bench.price("170")
        limits.check()
        bench.run([order_id])
        pauses.append(bench.events(order_id)[-1]["returned"]["inMs"])
        wait_out(bench, order_id)
    assert pauses == [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]


def test_an_order_with_no_quote_to_execute_on_rests_instead_of_failing(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    bench.price("151")
    limits.check()
    execution.execute(claims.claim([order_id]).claims, {PAIR: Basis(Source.ASKED, ())})
    assert bench.statuses(order_id) == ["pending", "triggered", "pending"]
    assert bench.events(order_id)[-1]["returned"]["code"] == "no_quote"


def test_an_ioc_order_fires_at_once_when_its_price_is_there(bench):
    bench.price("150")
    (order_id,) = bench.accept(bench.limit("150", time_in_force=TimeInForce.IOC))
    assert woken(bench, dispatch.FIRE) == [[order_id]]
    limits.fire_or_cancel([order_id])
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_an_ioc_order_is_cancelled_when_its_price_is_not_there(bench):
    bench.price("149.99")
    (order_id,) = bench.accept(bench.limit("150", time_in_force=TimeInForce.IOC))
    limits.fire_or_cancel([order_id])
    assert bench.statuses(order_id) == ["pending", "cancelled"]
    assert bench.events(order_id)[-1]["reason"] == "ioc: BEST is 149.99 at METEORA, the limit 150"


def test_an_ioc_order_is_cancelled_when_no_price_can_be_trusted(bench):
    (order_id,) = bench.accept(bench.limit("150", time_in_force=TimeInForce.IOC))
    limits.fire_or_cancel([order_id])
    assert bench.events(order_id)[-1]["reason"] == "ioc: no price to fire on: no venue has a fresh enough quote"


def test_an_ioc_order_whose_price_is_gone_when_it_executes_is_cancelled(bench):
    bench.price("150")
    (order_id,) = bench.accept(bench.limit("150", time_in_force=TimeInForce.IOC))
    limits.fire_or_cancel([order_id])
    bench.price("149")
    bench.carry([order_id])
    assert bench.statuses(order_id) == ["pending", "triggered", "cancelled"]


def test_the_sweep_finds_an_ioc_order_whose_wake_up_was_lost(bench):
    (order_id,) = bench.accept(bench.limit("150", time_in_force=TimeInForce.IOC))
    redis().delete("limit")
    wait_out(bench, order_id)
    assert woken(bench, dispatch.FIRE) == [[order_id]]


def test_a_claim_whose_worker_died_is_fired_by_the_next_on_the_evidence_it_had(bench):
    ids = bench.accept(*(bench.limit("150") for _ in range(3)))
    bench.price("151")
    seen = limits.sight([PAIR])[PAIR]
    assert book.claim(PAIR, seen, now_ms()).ids == tuple(ids)
    # The worker is gone, and so is the price.
    bench.price("140")
    limits.check()
    assert [bench.statuses(order_id) for order_id in ids] == [["pending"]] * 3
    lapse_claims()
    limits.check()
    assert [bench.statuses(order_id) for order_id in ids] == [["pending", "triggered"]] * 3
    assert bench.events(ids[0])[-1]["trigger"]["price"] == "151"
    assert fired(bench) == ids
    lapse_claims()
    limits.check()
    assert fired(bench) == ids


def lapse_claims():
    """Let the claims be as old as if their worker had long been gone."""
    for name, text in redis().hgetall("limit_claims:{SOL-USDC}").items():
        redis().hset("limit_claims:{SOL-USDC}", name, f"0 {text.partition(' ')[2]}")


def test_a_worker_that_died_after_half_its_claim_fires_the_other_half_and_no_order_twice(bench, monkeypatch):
    monkeypatch.setattr(limits, "MOVES", 2)
    ids = bench.accept(*(bench.limit("150") for _ in range(5)))
    bench.price("151")
    advance, moved = progress.advance, []

    def dying(moves):
        if moved:
            raise ConnectionError("killed")
        moved.extend(moves)
        return advance(moves)

    monkeypatch.setattr(progress, "advance", dying)
    with pytest.raises(ConnectionError):
        limits.fire(PAIR)
    monkeypatch.setattr(progress, "advance", advance)
    lapse_claims()
    limits.check()
    assert [bench.statuses(order_id) for order_id in ids] == [["pending", "triggered"]] * 5


def test_an_order_leaves_nothing_in_the_book_once_it_has_fired(bench):
    bench.accept(*(bench.limit("150", expires_at=now_ms() + 60_000, time_in_force=TimeInForce.GTD) for _ in range(3)))
    assert book.pairs() == [PAIR]
    bench.price("151")
    limits.check()
    limits.check()
    assert redis().keys("limit*") == [] and redis().keys("waiting:*") == []


def test_a_claim_taken_over_fires_no_order_a_second_time_that_has_come_back_since(bench, monkeypatch):
    monkeypatch.setattr(limits, "MOVES", 1)
    ids = bench.accept(*(bench.limit("150") for _ in range(2)))
    bench.price("151")
    advance, moved = progress.advance, []

    def dying(moves):
        if moved:
            raise ConnectionError("killed")
        moved.extend(moves)
        return advance(moves)

    monkeypatch.setattr(progress, "advance", dying)
    with pytest.raises(ConnectionError):
        limits.fire(PAIR)
    monkeypatch.setattr(progress, "advance", advance)
    bench.price("140")
    bench.carry([ids[0]])
    lapse_claims()
    limits.check()
    assert bench.statuses(ids[0]) == ["pending", "triggered", "pending"]
    assert bench.statuses(ids[1]) == ["pending", "triggered"]


def test_an_order_amended_while_it_was_claimed_waits_for_a_price_of_its_own_time(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    bench.price("151")
    book.claim(PAIR, limits.sight([PAIR])[PAIR], now_ms())
    bench.price("140")
    waiting.amend(order_id, 1, {"limit_price": Decimal("150.5")})
    lapse_claims()
    limits.check()
    assert bench.statuses(order_id) == ["pending", "pending"]
    bench.price("150.5")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "pending", "triggered"]


def test_an_order_does_not_fire_once_its_time_has_passed(bench):
    expires = now_ms() + 50
    (order_id,) = bench.accept(bench.limit("150", expires_at=expires, time_in_force=TimeInForce.GTD))
    while now_ms() < expires:
        pass
    bench.price("151")
    limits.fire(PAIR)
    assert bench.statuses(order_id) == ["pending"]
    waiting.expire()
    assert bench.statuses(order_id) == ["pending", "expired"]
