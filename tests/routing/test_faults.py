"""The sandbox's misbehaviour, as a file steers it."""

import json
from random import Random

import pytest

from routing import wiring
from routing.chain import ChainUnreachable, Landing
from routing.models import LedgerEntry
from routing.sandbox import faults
from routing.sandbox.faults import NO_FAULTS, ChainFaults, Faults, VenueFaults
from routing.sandbox.ledger import SandboxLedger
from routing.sandbox.market import Market
from routing.sandbox.runtime import SLOT_MS
from routing.sandbox.venue import SandboxVenue
from routing.venues import VenueDown
from tests.engine.tokens import SOL_USDC
from tests.orders.bench import forget_wiring
from tests.routing.swaps import signed
from tests.routing.test_ledger import look_one, runtime_of, sent_through
from tests.system import eventually

NOW = 1_763_800_000_000
MARKET = Market(1, 0, 0)


def venue_with(asleep=None, **misbehaviour):
    told = Faults({"RAYDIUM": VenueFaults(**misbehaviour)})
    return SandboxVenue(
        "RAYDIUM", MARKET, (0, 0), lambda: NOW, Random(1), lambda _: False, asleep or never, lambda: told
    )


async def never(_):
    raise AssertionError("nobody waits here")


def chain_with(asleep=None, **misbehaviour):
    told = Faults(chain=ChainFaults(**misbehaviour))
    return SandboxLedger(runtime_of(), Random(1), faults=lambda: told, asleep=asleep or pytest.fail)


# What steers it.


def test_without_the_setting_nothing_is_read():
    assert faults.following(None) is faults.none
    assert faults.none() is NO_FAULTS


def test_a_process_follows_the_file_within_moments_and_keeps_to_it_while_it_cannot_be_read(tmp_path):
    path = tmp_path / "faults.json"
    misbehaviour = faults.following(path)
    assert misbehaviour() == NO_FAULTS
    path.write_text(json.dumps({"chain": {"drop_rate": 0.5}}))
    told = eventually(lambda: misbehaviour() != NO_FAULTS and misbehaviour(), 5, "the file is read")
    assert told == Faults(chain=ChainFaults(drop_rate=0.5))
    path.write_text('{"chain": {"drop_rate": 7, "dorp": 1}}')
    misbehaviour.forget()
    assert misbehaviour() == told
    path.write_text("{}")
    eventually(lambda: misbehaviour() == NO_FAULTS, 5, "the file is read again")


def test_the_file_is_read_at_most_ten_times_a_second(tmp_path, monkeypatch):
    readings = []
    monkeypatch.setattr(faults, "read", lambda path: readings.append(path) or NO_FAULTS)
    misbehaviour = faults.following(tmp_path / "faults.json")
    for _ in range(1_000):
        misbehaviour()
    assert len(readings) <= 1 + misbehaviour.for_s / faults.READ_EVERY_S


def test_the_setting_reaches_venues_and_chain(settings, tmp_path):
    settings.MOCK_FAULTS = tmp_path / "faults.json"
    settings.MOCK_FAULTS.write_text('{"venues": {"METEORA": {"down": true}}}')
    forget_wiring()
    try:
        told = [venue.faults().venues for venue in wiring.venues()]
        assert told == [{"METEORA": VenueFaults(down=True)}] * 2
        assert wiring.chain().faults().venues["METEORA"].down
    finally:
        forget_wiring()


# Venues.


async def test_a_venue_that_is_down_refuses_at_once():
    with pytest.raises(VenueDown, match="RAYDIUM is down"):
        await venue_with(down=True).quote(SOL_USDC)


async def test_a_venue_that_hangs_answers_later():
    waited = []

    async def asleep(seconds):
        waited.append(seconds)

    await venue_with(asleep, hang_ms=8_000).quote(SOL_USDC)
    assert waited == [8.0]


@pytest.mark.parametrize("bps", [-400, 400])
async def test_a_venue_that_lies_quotes_another_pool_than_the_one_it_executes_at(bps):
    told, true = [await venue_with(lie_bps=off).quote(SOL_USDC) for off in (bps, 0)]
    lie = 1 + bps / 10_000
    assert float(told.price / true.price) == pytest.approx(lie)
    assert told.pool.out(10**9, 25) / true.pool.out(10**9, 25) == pytest.approx(lie)


async def test_a_venue_answers_garbage():
    with pytest.raises(ValueError, match="RAYDIUM answered"):
        await venue_with(garbage="nonsense").quote(SOL_USDC)
    prices = {kind: (await venue_with(garbage=kind).quote(SOL_USDC)).price for kind in ("nan", "zero", "negative")}
    assert prices["nan"].is_nan() and prices["zero"] == 0 and prices["negative"] < 0
    assert (await venue_with(garbage="huge").quote(SOL_USDC)).price > 10**12


# The chain.


@pytest.mark.parametrize(
    "call", [lambda chain: chain.blockhash(), lambda chain: chain.look(["s"]), lambda chain: chain.send([b""])]
)
def test_a_chain_that_is_down_or_hangs_answers_nothing(call):
    with pytest.raises(ChainUnreachable):
        call(chain_with(down=True))
    waited = []
    with pytest.raises(ChainUnreachable, match="no answer within 700 ms"):
        call(chain_with(waited.append, hang_ms=700))
    assert waited == [0.7]


@pytest.mark.django_db
def test_a_chain_that_is_slow_answers_later():
    waited = []
    sent_through(chain_with(waited.append, slow_ms=7_000))
    assert waited == [7.0, 7.0]
    assert LedgerEntry.objects.count() == 1


@pytest.mark.django_db
def test_a_broadcast_that_is_not_answered_lands_all_the_same():
    chain = chain_with(unanswered_rate=1.0)
    sent = signed(chain.blockhash().hash)
    with pytest.raises(ChainUnreachable, match="not answered"):
        chain.send([sent.raw])
    assert look_one(chain, sent.signature).landing is Landing.LANDED


@pytest.mark.django_db
def test_a_broadcast_that_is_dropped_is_answered_and_does_not_land():
    chain = chain_with(drop_rate=1.0)
    sent_through(chain)
    assert not LedgerEntry.objects.exists()


@pytest.mark.django_db
def test_what_lands_late_is_unknown_until_then():
    chain = chain_with(late_ms=20_000)
    assert look_one(chain, sent_through(chain).signature).landing is Landing.UNKNOWN
    assert LedgerEntry.objects.count() == 1


def test_nothing_lands_so_late_that_it_was_proven_dead_before():
    runtime = runtime_of(valid_ms=2_000)
    raw = signed(runtime.blockhash(NOW).hash).raw
    assert runtime.entry(raw, NOW, late_ms=1_999) is not None
    assert runtime.entry(raw, NOW, late_ms=2_000 + 2 * SLOT_MS) is None


@pytest.mark.django_db
def test_a_chain_that_forgets_tells_the_height_of_the_node_that_is_behind():
    sent = sent_through(chain_with())
    forgetful = chain_with(forget_rate=1.0, forget_ms=60_000)
    assert look_one(chain_with(), sent.signature).landing is Landing.LANDED
    look = forgetful.look([sent.signature])
    assert look.findings[sent.signature].landing is Landing.UNKNOWN
    # Otherwise a signature that landed could be called dead, and signed again.
    assert chain_with().look([]).finalized_height - look.finalized_height >= 60_000 // SLOT_MS - 1


@pytest.mark.django_db
def test_a_chain_that_forgets_some_knows_the_others():
    sent = [sent_through(chain_with()).signature for _ in range(200)]
    findings = chain_with(forget_rate=0.5, forget_ms=60_000).look(sent).findings
    assert list(findings) == sent
    assert 60 < [finding.landing for finding in findings.values()].count(Landing.LANDED) < 140


@pytest.mark.django_db
def test_whatever_misbehaves_a_signature_is_executed_once():
    calm = chain_with()
    sent = signed(calm.blockhash().hash)
    for chain in (chain_with(late_ms=500), calm, chain_with(late_ms=900), chain_with(forget_rate=1.0)):
        chain.send([sent.raw, sent.raw])
    assert LedgerEntry.objects.count() == 1
