"""Positions: average cost, results, fees and shortfall, exactly what the fills on record make them."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass

import httpx
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.asgi import application
from engine.lifecycle import AttemptState
from engine.quotes import Pair
from orders.access.callers import TRADER, Scope
from orders.models import Act, Attempt, Order, Position
from orders.stores import chain_results, positions
from orders.stores.ids import new_id
from orders.stores.threads import aside
from routing.chain import Finding, Landing
from routing.store import now_ms, redis
from tests.orders.accounts import account, bearer, rows_of_keys
from tests.orders.bench import OWNER, TOKENS
from tests.orders.commands.standin import refused, run
from tests.orders.test_balances import of as another
from tests.orders.test_retention import aged, retire_all

SOL = 1_000_000_000
USDC = 1_000_000


@dataclass(frozen=True)
class Fill:
    """A fill as the chain decides it; amounts in base units."""

    pair: str
    amount_in: int
    amount_out: int
    expected_out: int = 0
    fee_bps: int = 0
    owner: int = OWNER
    expected_in: int | None = None
    """Of a fill of an exact amount."""

    @property
    def most(self):
        return self.amount_in if self.expected_in is None else 2 * self.amount_in

    @property
    def quoted(self):
        return self.expected_out or self.amount_out


def sent(fills):
    """Put orders on record, each with an attempt that was sent; return the attempts' signatures."""
    made = []
    for one in fills:
        order = Order.objects.create(
            id=new_id(), type="market", pair=one.pair, amount_in=one.most, slippage_bps=50, owner_id=one.owner,
            fingerprint="", on_balance=True, status="submitted",
        )  # fmt: skip
        made.append(
            Attempt.objects.create(
                order=order,
                number=1,
                state="sent",
                venue="RAYDIUM",
                signature=str(order.id),
                raw=b"",
                seq=4,
                last_valid_height=1,
                expected_out=one.quoted,
                minimum_out=0,
                fee_bps=one.fee_bps,
                amount_in=one.most,
                expected_in=one.expected_in,
            ).signature
        )
    return made


def land(*fills):
    """Record that these have landed, together."""
    settle(zip(sent(fills), fills, strict=True))


def settle(landed):
    findings = [
        Finding(signature, Landing.LANDED, 7, one.amount_out, 5_000, amount_in=one.amount_in)
        for signature, one in landed
    ]
    assert len(chain_results.settle(AttemptState.LANDED, findings, now_ms())) == len(findings)


def buy(sol, usdc, **more):
    return Fill("USDC-SOL", usdc, sol, **more)


def sell(sol, usdc, **more):
    return Fill("SOL-USDC", sol, usdc, **more)


def position(owner=OWNER):
    (found,) = positions.of(owner)
    return found


def agree():
    assert not [one for one in positions.compared() if one.differs or one.due is None]


def test_purchases_average_and_sales_realise_at_the_average(bench):
    land(buy(2 * SOL, 200 * USDC, fee_bps=25))
    land(buy(SOL, 160 * USDC))
    found = position()
    assert (found.held, found.cost, found.realised) == (3 * SOL, 360 * USDC, 0), "120 each"
    assert found.fees == 500_000, "25 bps of 200 USDC"
    land(sell(SOL, 150 * USDC))
    found = position()
    assert (found.held, found.cost, found.realised) == (2 * SOL, 240 * USDC, 30 * USDC)
    land(buy(2 * SOL, 360 * USDC))
    land(sell(4 * SOL, 500 * USDC, fee_bps=30))
    found = position()
    assert (found.held, found.cost, found.realised) == (0, 0, (30 - 100) * USDC)
    assert found.fees == 500_000 + 1_504_513, "and 30 bps of 4 SOL, at the price of what was left of them"
    assert (found.bought, found.spent, found.sold, found.received) == (5 * SOL, 720 * USDC, 5 * SOL, 650 * USDC)
    agree()


def test_what_is_sold_beyond_what_was_bought_has_no_cost_and_no_result(bench):
    land(sell(10 * SOL, 1_000 * USDC))
    assert (position().realised, position().uncosted, position().held) == (0, 10 * SOL, 0)
    land(buy(SOL, 90 * USDC))
    land(sell(4 * SOL, 400 * USDC))
    found = position()
    assert (found.realised, found.uncosted, found.held, found.cost) == (10 * USDC, 13 * SOL, 0, 0)
    agree()


def test_the_shortfall_is_what_the_quote_promised_and_the_fill_lacked_on_either_side(bench):
    land(sell(SOL, 99 * USDC, expected_out=100 * USDC))
    assert (position().shortfall, position().quoted) == (USDC, 100 * USDC)
    land(buy(2 * SOL, 200 * USDC, expected_out=4 * SOL))
    assert (position().shortfall, position().quoted) == (101 * USDC, 300 * USDC), "half of what was paid got nothing"
    land(sell(SOL, 101 * USDC, expected_out=100 * USDC))
    assert (position().shortfall, position().quoted) == (100 * USDC, 400 * USDC), "an improvement is negative"
    agree()


def test_a_fill_of_an_exact_amount_counts_what_it_took_and_its_shortfall_is_in_that(bench):
    land(buy(SOL, 102 * USDC, expected_in=100 * USDC, fee_bps=25))
    found = position()
    assert (found.held, found.cost, found.fees) == (SOL, 102 * USDC, 255_000), "not the most that it might have taken"
    assert (found.shortfall, found.quoted) == (2 * USDC, 102 * USDC)
    land(sell(SOL // 2, 60 * USDC, expected_in=SOL // 4))
    found = position()
    assert (found.held, found.realised) == (SOL // 2, 9 * USDC)
    assert (found.shortfall, found.quoted) == (62 * USDC, 222 * USDC), "what was sold should have paid 120"
    agree()


def test_fills_recorded_together_count_purchases_first(bench):
    land(sell(SOL, 110 * USDC), buy(SOL, 100 * USDC))
    assert (position().realised, position().uncosted) == (10 * USDC, 0)
    agree()


def test_each_market_has_its_own_position_in_its_own_quote_token(bench):
    jup = 1_000_000
    land(Fill("USDC-JUP", 50 * USDC, 100 * jup), Fill("SOL-JUP", SOL, 300 * jup), buy(SOL, 100 * USDC))
    found = {(one.base, one.quote): (one.held, one.cost) for one in positions.of(OWNER)}
    assert found == {
        ("JUP", "USDC"): (100 * jup, 50 * USDC),
        ("JUP", "SOL"): (300 * jup, SOL),
        ("SOL", "USDC"): (SOL, 100 * USDC),
    }
    land(Fill("WIF-BONK", 5, 10), Fill("BONK-WIF", 10, 4))
    (odd,) = [one for one in positions.of(OWNER) if {one.base, one.quote} == {"BONK", "WIF"}]
    assert (odd.base, odd.quote, odd.held, odd.uncosted, odd.realised) == ("WIF", "BONK", 0, 1, -2)
    agree()


def test_a_landing_that_is_recorded_twice_counts_once(bench):
    fills = [buy(SOL, 100 * USDC), sell(SOL, 110 * USDC)]
    (first, second) = zip(sent(fills), fills, strict=True)
    settle([first])
    settle([first, second])
    settle([first, second])
    assert (position().bought, position().realised) == (SOL, 10 * USDC)
    assert list(Attempt.objects.order_by("id").values_list("position_step", flat=True)) == [1, 2]
    agree()


def test_workers_that_record_landings_at_once_agree_with_the_ledger_to_the_last_unit(bench):
    fills = [(buy if n % 3 else sell)(7 * n + 3, 11 * n + 1) for n in range(120)]
    landed = list(zip(sent(fills), fills, strict=True))

    def worker(n):
        try:
            for at in range(n, len(landed), 12):
                settle(landed[at : at + 4])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(worker, (0, 4, 8)))
    assert position().bought == sum(one.amount_out for one in fills if one.pair == "USDC-SOL")
    agree()


AMOUNTS = st.integers(1, 10**12)
FILLS = st.builds(
    Fill,
    pair=st.sampled_from(["SOL-USDC", "USDC-SOL", "JUP-SOL", "SOL-JUP"]),
    amount_in=AMOUNTS,
    amount_out=AMOUNTS,
    expected_out=AMOUNTS,
    fee_bps=st.integers(0, 9_999),
    owner=st.sampled_from([OWNER, 77]),
)


class Reckoned:
    """One position, worked out one purchase or sale at a time, as a book-keeper would."""

    def __init__(self):
        self.lots, self.paid, self.made, self.unknown, self.sums = 0, 0, 0, 0, Counter()

    def buys(self, fills):
        for one in fills:
            self.lots, self.paid = self.lots + one.amount_out, self.paid + one.amount_in
            fee = -(-one.amount_in * one.fee_bps // 10_000)
            lacking = one.expected_out - one.amount_out
            short = abs(lacking) * one.amount_in // one.expected_out * (1 if lacking > 0 else -1)
            self.sums.update(
                bought=one.amount_out, spent=one.amount_in, fees=fee, shortfall=short, quoted=one.amount_in
            )

    def sells(self, fills):
        sold, received = sum(one.amount_in for one in fills), sum(one.amount_out for one in fills)
        covered = min(sold, self.lots)
        cost = self.paid * covered // self.lots if covered else 0
        self.made += (received * covered // sold if sold else 0) - cost
        self.lots, self.paid, self.unknown = self.lots - covered, self.paid - cost, self.unknown + sold - covered
        for one in fills:
            fee = one.amount_out * one.fee_bps // (10_000 - one.fee_bps)
            short = one.expected_out - one.amount_out
            self.sums.update(sold=one.amount_in, received=one.amount_out, fees=fee, shortfall=short)
            self.sums.update(quoted=one.expected_out)

    @property
    def figures(self):
        return (self.lots, self.paid, self.made, self.unknown, *(self.sums[name] for name in positions.AMOUNTS[4:]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=st.lists(st.lists(FILLS, min_size=1, max_size=5), min_size=1, max_size=6))
def test_positions_are_those_of_a_plain_reckoning(bench, groups):
    for model in (Attempt, Order, Position):
        model.objects.all().delete()
    due = {}
    for group in groups:
        land(*group)
        for owner in (OWNER, 77):
            for base, quote in (("SOL", "USDC"), ("JUP", "SOL")):
                here = [one for one in group if one.owner == owner and set(one.pair.split("-")) == {base, quote}]
                if here:
                    book = due.setdefault((owner, base, quote), Reckoned())
                    book.buys([one for one in here if one.pair == f"{quote}-{base}"])
                    book.sells([one for one in here if one.pair == f"{base}-{quote}"])
    found = {tuple(row[:3]): tuple(row[3:]) for owner in (OWNER, 77) for row in map(astuple, positions.of(owner))}
    assert found == {market: book.figures for market, book in due.items()}
    for one in found.values():
        amounts = dict(zip(positions.AMOUNTS, one, strict=True))
        assert amounts["cost"] >= 0 and amounts["held"] >= 0
        assert amounts["held"] == amounts["bought"] - amounts["sold"] + amounts["uncosted"]
    agree()


def test_a_difference_is_listed_and_repaired_with_the_fills_from_before(bench, capsys):
    alice = account("alice")
    land(buy(SOL, 100 * USDC, owner=alice.pk))
    land(sell(SOL, 130 * USDC, owner=alice.pk))
    # As an older version's worker leaves it.
    Attempt.objects.update(position_step=None)
    Position.objects.all().delete()
    code, told = refused("balances")
    assert code == 1 and "1 differ" in told
    assert run("balances", "--user", "alice", "--repair", "after the upgrade", "--operator", "ops") == 0
    assert "realised is 0, should be 30" in Act.objects.get().outcome
    assert (position(alice.pk).realised, position(alice.pk).bought) == (30 * USDC, SOL)
    land(buy(SOL, 100 * USDC, owner=alice.pk))
    agree()
    capsys.readouterr()
    assert run("balances") == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["alice", "SOL-USDC", "1", "100", "30", "agrees"]


def test_fills_from_before_that_were_counted_and_left_for_the_archive_are_missed(bench):
    signatures = sent([buy(SOL, 100 * USDC), buy(SOL, 200 * USDC)])
    settle([(signatures[0], buy(SOL, 100 * USDC))])
    Attempt.objects.update(position_step=None)
    Position.objects.all().delete()
    positions.repair(OWNER, "SOL", "USDC")
    agree()
    settle([(signatures[1], buy(SOL, 200 * USDC))])
    agree()
    assert sorted(Attempt.objects.values_list("position_step", flat=True)) == [-1, 2]
    for gone in (signatures[0], signatures[1]):
        Attempt.objects.filter(signature=gone).delete()
        (only,) = positions.compared()
        assert only.due is None and not only.differs
        positions.repair(OWNER, "SOL", "USDC")
        assert (position().held, position().cost) == (2 * SOL, 300 * USDC), "what cannot be compared is left"


def test_a_position_without_any_fill_on_record_is_compared_with_nothing(bench):
    Position.objects.create(owner_id=OWNER, base="SOL", quote="USDC", **dict.fromkeys(positions.AMOUNTS, 0))
    agree()


def test_what_leaves_for_the_archive_stays_counted_and_is_not_compared(bench, settings):
    settings.RETENTION_DAYS = 30
    bench.quote_all()
    (order_id,) = bench.accept(another(bench.order(), pair=Pair(TOKENS["USDC"], TOKENS["SOL"]), amount_in=150 * USDC))
    bench.quote_all_of(Pair(TOKENS["USDC"], TOKENS["SOL"]))
    bench.run([order_id])
    bench.archive()
    before = position()
    assert before.cost == 150 * USDC and before.held > 0
    agree()
    aged(order_id)
    redis().flushdb()
    assert retire_all() == 1
    assert position() == before
    (one,) = positions.compared()
    assert one.due is None and not one.differs
    assert run("balances") == 0


def test_what_no_balance_counts_has_no_position(bench, settings):
    settings.ENGINE_BALANCES = False
    (order_id,) = bench.accept(bench.order(SOL))
    bench.quote_all()
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert not Position.objects.exists() and not positions.compared()


async def test_positions_are_read_by_their_account_and_by_operators(bench, monkeypatch):
    def begin():
        alice = account("alice")
        land(buy(2 * SOL, 200 * USDC, owner=alice.pk, fee_bps=25, expected_out=4 * SOL))
        land(sell(SOL, 110 * USDC, owner=alice.pk))
        return bearer(alice), bearer(account("bob")), bearer(account("ops"), [*TRADER, Scope.ADMIN])

    async def ask(header, query=""):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=application), base_url="http://localhost", headers=header
        ) as client:
            return await client.get(f"/api/positions{query}")

    with rows_of_keys(monkeypatch):
        alice, bob, ops = await aside(begin)
        await aside(lambda: redis().flushdb())
        (unpriced,) = (await ask(alice)).json()["results"]
        await aside(lambda: bench.price("150"))
        (own,) = (await ask(alice)).json()["results"]
        asked, others = (await ask(ops, "?owner=alice")).json(), (await ask(bob)).json()
        unknown, foreign = await ask(ops, "?owner=nobody"), await ask(bob, "?owner=alice")
    assert asked == {"results": [own]} and others == {"results": []}
    assert (unknown.status_code, foreign.status_code) == (404, 403)
    assert own == {
        "token": "SOL", "quoteToken": "USDC", "amount": "1", "averageCost": "100", "cost": "100",
        "price": "150", "value": "150", "unrealised": "50", "realised": "10",
        "bought": "2", "spent": "200", "sold": "1", "received": "110", "uncosted": "0", "fees": "0.5",
        "shortfall": "100", "shortfallBps": "3225.81",
    }  # fmt: skip
    assert unpriced == own | dict.fromkeys(("price", "value", "unrealised"))
