"""The seed decides what a run does."""

import json
from collections import Counter
from itertools import islice, pairwise

import pytest

from routing.sandbox.faults import read
from routing.sandbox.replay import Replay
from tests.chaos.plan import prices
from tests.chaos.plan.faults import CHAIN_FAULTS, PER_MINUTE, VENUE_FAULTS, faults, outages, over
from tests.chaos.plan.orders import NEVER, Orders

SEEDS = (1, 2, 3, 4, 5)


def test_the_same_seed_plans_the_same_run_and_another_seed_another():
    first, again, other = [list(islice(Orders(seed, 600, 40), 500)) for seed in (1, 1, 2)]
    assert first == again != other
    assert faults(1, 600) == faults(1, 600) != faults(2, 600)
    assert prices.path(1, 10, 60) == prices.path(1, 10, 60) != prices.path(2, 10, 60)


def test_five_seeds_of_ten_minutes_plan_what_they_must():
    planned = Counter(one.kind for seed in SEEDS for one in faults(seed, 600))
    assert planned["kill"] >= 300
    assert planned["freeze"] >= 150
    assert all(one.lasts_s >= 6 for one in faults(1, 600) if one.kind == "freeze")
    assert (
        sum(planned[f"{store} {what}"] for store in ("redis", "postgres") for what in ("killed", "rolled back")) >= 40
    )
    assert planned["redis emptied"] >= 20 and planned["redis rolled back"] >= 10
    assert sum(len(list(Orders(seed, 600, 30))) for seed in SEEDS) >= 30_000


def test_outages_take_everything_away_once_and_one_after_the_other():
    planned = outages(60)
    assert {one.kind.split()[0] for one in planned} == {"postgres", "redis", "venues", "chain"}
    assert all(one.at_s + 60 < later.at_s for one, later in pairwise(planned))
    assert over(planned) > planned[-1].at_s + 60


@pytest.mark.parametrize("seconds", [60, 600])
def test_every_kind_of_fault_comes_at_least_once_and_within_the_run(seconds):
    planned = faults(3, seconds)
    assert {one.kind for one in planned} == PER_MINUTE.keys()
    assert all(0 <= one.at_s < seconds for one in planned)


def test_orders_are_of_every_sort():
    orders = list(Orders(1, 300, 40))
    assert {one.body["type"] for one in orders} == {"market", "limit", "sniper"}
    assert {one.body.get("timeInForce") for one in orders} == {"gtc", "gtd", "ioc", None}
    exact = [one for one in orders if one.exact_bps is not None]
    assert exact and {one.body["type"] for one in exact} == {"market"}
    assert {deed.kind for one in orders for deed in one.deeds} == {"cancel", "amend"}
    assert {deed.change for one in orders for deed in one.deeds} == {"", "limitPrice", "amount", "expiresAt"}
    assert any(one.repeats for one in orders) and any(one.drops for one in orders)
    assert all(one.feed is not None for one in orders if (one.off_bps or 0) >= NEVER[0])
    assert len({one.body["clientOrderId"] for one in orders}) == len(orders)


@pytest.mark.parametrize(
    "fault", [{"venues": {"RAYDIUM": one}} for one in VENUE_FAULTS] + [{"chain": one} for one in CHAIN_FAULTS]
)
def test_the_sandbox_understands_every_fault_that_is_planned(fault, tmp_path):
    (tmp_path / "faults.json").write_text(json.dumps(fault))
    assert read(tmp_path / "faults.json")


def test_the_price_that_is_planned_can_be_replayed(tmp_path):
    planned = prices.path(1, 10, 60)
    replay = Replay.load(prices.write(tmp_path, planned), speed=60)
    for second in (0, 10, 40, 70):
        assert replay.pico_usd(second * 1000) == pytest.approx(planned[second] * 10**12, rel=1e-5)
    assert planned[-1] == pytest.approx(planned[70] * prices.RISE)
