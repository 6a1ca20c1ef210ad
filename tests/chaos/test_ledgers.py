"""What the chaos tests rest on fails when it ought to."""

from dataclasses import dataclass, field

import psycopg
import pytest

from routing.models import LedgerEntry
from tests.chaos.amid import amid
from tests.chaos.ledgers import in_flight, nothing_lost_or_doubled
from tests.chaos.test_checker_reads import address
from tests.orders.bench import Bench, forget_wiring


@dataclass
class Engine:
    """An engine of which only Postgres is asked."""

    bench: Bench
    url: str = "http://127.0.0.1:1"
    headers: dict[str, str] = field(default_factory=dict)

    def postgres(self):
        return psycopg.connect(address(), autocommit=True)

    def carry(self, count):
        self.bench.quote_all()
        self.bench.run(self.bench.place(count))
        self.bench.archive()


@pytest.fixture
def engine(bench):
    return Engine(bench)


def test_orders_that_are_all_confirmed_and_executed_once_pass(engine):
    engine.carry(3)
    nothing_lost_or_doubled(engine, 3)


def test_an_engine_that_fails_every_order_does_not_pass(engine, settings):
    settings.MOCK_REJECT_RATE, settings.MAX_ATTEMPTS = 1.0, 1
    forget_wiring()
    engine.carry(3)
    with pytest.raises(AssertionError, match="program_error"):
        nothing_lost_or_doubled(engine, 3)
    nothing_lost_or_doubled(engine, 3, failing=3)


def test_an_order_the_chain_executed_twice_does_not_pass(engine):
    engine.carry(1)
    entry = LedgerEntry.objects.get()
    entry.signature = "another"
    entry.save(force_insert=True)
    with pytest.raises(AssertionError, match="executed_twice"):
        nothing_lost_or_doubled(engine, 1)


def test_a_confirmed_order_the_chain_never_executed_does_not_pass(engine):
    engine.carry(1)
    LedgerEntry.objects.all().delete()
    with pytest.raises(AssertionError, match="confirmed_unexecuted"):
        nothing_lost_or_doubled(engine, 1)


def test_orders_are_in_flight_until_the_chain_has_executed_them(engine):
    ids = engine.bench.place(20)
    assert in_flight(engine) == 20
    engine.bench.quote_all()
    engine.bench.run(ids)
    assert in_flight(engine) == 0


def test_what_is_done_amid_orders_is_done_while_they_are_on_their_way(engine, monkeypatch):
    engine.bench.place(20)
    done = []
    with amid(engine, lambda: done.append(in_flight(engine))) as found:
        pass
    assert done == found == [20]


def test_what_cannot_be_done_amid_orders_fails(engine, monkeypatch):
    monkeypatch.setattr("tests.chaos.amid.WITHIN_S", 0.2)
    with pytest.raises(AssertionError, match="of 1 acts 0 were done"), amid(engine, pytest.fail):
        pass
