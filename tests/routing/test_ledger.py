"""The sandbox chain."""

from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from itertools import count
from random import Random

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import F
from django.utils import timezone
from solders.pubkey import Pubkey

from engine.money import less_bps, more_bps
from routing.chain import LOOKUP_LIMIT, ChainUnreachable, Landing, TransactionRefused
from routing.models import LedgerEntry, Pair, Token
from routing.sandbox import ledger
from routing.sandbox.ledger import FINALITY_SLOTS, SandboxLedger
from routing.sandbox.market import Market
from routing.sandbox.runtime import FEE_LAMPORTS, SLOT_MS, Behaviour, Entry, Runtime
from routing.transactions import BadTransaction
from routing.venues import FEE_BPS, VENUES
from tests.engine.tokens import SOL, SOL_USDC, USDC
from tests.routing.swaps import signed

NOW = 1_763_800_000_000
MARKET = Market(1, 200, 500)
TOKENS = {token.mint: token for token in (SOL, USDC)}


def runtime_of(seed=1, **behaviour) -> Runtime:
    return Runtime(MARKET, TOKENS.__getitem__, seed, Behaviour(**behaviour))


def chain_of(drop_rate=0.0, rng=None, **behaviour) -> SandboxLedger:
    return SandboxLedger(runtime_of(**behaviour), rng or Random(1), drop_rate)


def look_one(chain, signature):
    return chain.look([signature]).findings[signature]


def sent_through(chain, **facts):
    """Sign with the chain's newest blockhash and broadcast."""
    transaction = signed(chain.blockhash().hash, **facts)
    chain.send([transaction.raw])
    return transaction


# What the chain makes of a transaction.


@pytest.mark.parametrize("venue", VENUES)
def test_a_swap_is_paid_what_the_venues_pool_pays_when_it_lands(venue):
    runtime = runtime_of(confirm_delay_ms=(400, 1_200))
    entry = runtime.entry(signed(runtime.blockhash(NOW).hash, venue=venue).raw, NOW)
    pool = MARKET.pool(venue, SOL_USDC, entry.lands_ms)
    assert NOW + 400 <= entry.lands_ms <= NOW + 1_200
    assert entry.outcome.landing is Landing.LANDED
    assert entry.outcome.amount_out == pool.out(1_500_000_000, FEE_BPS[venue])


def test_a_swap_that_would_pay_less_than_the_minimum_is_rejected_for_slippage():
    runtime = runtime_of()
    expected = MARKET.pool("RAYDIUM", SOL_USDC, NOW).out(1_500_000_000, FEE_BPS["RAYDIUM"])
    blockhash = runtime.blockhash(NOW).hash
    enough = runtime.entry(signed(blockhash, min_out=expected).raw, NOW).outcome
    too_little = runtime.entry(signed(blockhash, min_out=expected + 1).raw, NOW).outcome
    assert (enough.landing, enough.amount_out) == (Landing.LANDED, expected)
    assert (too_little.landing, too_little.error_code) == (Landing.REJECTED, "slippage_exceeded")
    assert str(expected) in too_little.error
    assert too_little.amount_out == 0


@pytest.mark.parametrize("venue", VENUES)
def test_an_exact_output_takes_what_the_pool_needs_and_no_more_than_its_maximum(venue):
    runtime = runtime_of()
    blockhash, wanted = runtime.blockhash(NOW).hash, 150_000_001
    needed = MARKET.pool(venue, SOL_USDC, NOW).needed(wanted, FEE_BPS[venue])
    facts = {"venue": venue, "min_out": wanted, "exact_out": True}
    enough = runtime.entry(signed(blockhash, amount_in=needed, **facts).raw, NOW).outcome
    too_little = runtime.entry(signed(blockhash, amount_in=needed - 1, **facts).raw, NOW).outcome
    assert (enough.landing, enough.amount_in, enough.amount_out) == (Landing.LANDED, needed, wanted)
    assert (too_little.landing, too_little.error_code) == (Landing.REJECTED, "slippage_exceeded")
    assert f"takes {needed}" in too_little.error and not too_little.amount_in


def test_noise_makes_an_exact_output_up_to_its_bps_dearer():
    runtime = runtime_of(noise_bps=8)
    needed = MARKET.pool("RAYDIUM", SOL_USDC, NOW).needed(150_000_000, FEE_BPS["RAYDIUM"])
    blockhash, facts = runtime.blockhash(NOW).hash, {"min_out": 150_000_000, "exact_out": True}
    taken = {runtime.entry(signed(blockhash, **facts).raw, NOW).outcome.amount_in for _ in range(200)}
    assert taken == {more_bps(needed, bps) for bps in range(9)}


@pytest.mark.django_db
def test_the_ledger_states_what_an_exact_output_took_and_might_have_taken():
    chain = chain_of()
    sent = sent_through(chain, min_out=150_000_000, exact_out=True)
    entry = LedgerEntry.objects.get()
    assert entry.amount_in < entry.maximum_in == 1_500_000_000
    assert (entry.amount_out, entry.minimum_out) == (150_000_000, 150_000_000)
    found = look_one(chain, sent.signature)
    assert (found.amount_in, found.amount_out) == (entry.amount_in, 150_000_000)


def test_noise_makes_executions_up_to_its_bps_worse_and_never_better():
    runtime = runtime_of(noise_bps=8)
    exact = MARKET.pool("RAYDIUM", SOL_USDC, NOW).out(1_500_000_000, FEE_BPS["RAYDIUM"])
    blockhash = runtime.blockhash(NOW).hash
    paid = {runtime.entry(signed(blockhash).raw, NOW).outcome.amount_out for _ in range(200)}
    assert paid == {less_bps(exact, bps) for bps in range(9)}


@pytest.mark.parametrize(("rate", "least", "most"), [(0.0, 0, 0), (0.3, 60, 120), (1.0, 300, 300)])
def test_the_reject_rate_is_the_share_of_transactions_that_fail(rate, least, most):
    runtime = runtime_of(reject_rate=rate)
    blockhash = runtime.blockhash(NOW).hash
    outcomes = [runtime.entry(signed(blockhash, order_id=f"order {n}").raw, NOW).outcome for n in range(300)]
    rejected = [outcome for outcome in outcomes if outcome.landing is Landing.REJECTED]
    assert least <= len(rejected) <= most
    assert {outcome.error_code for outcome in rejected} <= {"program_error"}


def test_what_happens_to_a_transaction_depends_on_its_signature_and_the_seed_alone():
    chances = {"confirm_delay_ms": (0, 10_000), "reject_rate": 0.5, "noise_bps": 8}
    runtime, twin, other = runtime_of(**chances), runtime_of(**chances), runtime_of(seed=2, **chances)
    sent = [signed(runtime.blockhash(NOW).hash) for _ in range(20)]
    assert [runtime.entry(each.raw, NOW) for each in sent] == [twin.entry(each.raw, NOW) for each in sent]
    # Another seed is another chain: it never had these blockhashes.
    assert [other.entry(each.raw, NOW) for each in sent] == [None] * 20


def test_an_amount_no_pool_can_pay_fails_in_the_program():
    runtime = runtime_of()
    dust = signed(runtime.blockhash(NOW).hash, mint_in=USDC.mint, mint_out=SOL.mint, amount_in=0)
    assert runtime.entry(dust.raw, NOW).outcome.error_code == "program_error"


def test_a_transaction_lands_until_its_last_valid_height_and_never_after():
    runtime = runtime_of(valid_ms=2_000)
    blockhash = runtime.blockhash(NOW)
    sent = signed(blockhash.hash)
    assert blockhash.last_valid_height == NOW // SLOT_MS + 5
    last_ms = (blockhash.last_valid_height + 1) * SLOT_MS - 1
    assert runtime.entry(sent.raw, last_ms).lands_ms == last_ms
    assert runtime.entry(sent.raw, last_ms + 1) is None


def test_a_transaction_that_would_land_past_its_last_valid_height_does_not_land():
    runtime = runtime_of(valid_ms=2_000, confirm_delay_ms=(3_000, 3_000))
    assert runtime.entry(signed(runtime.blockhash(NOW).hash).raw, NOW) is None


def test_a_blockhash_the_chain_has_not_had_never_lands():
    runtime = runtime_of()
    assert runtime.entry(signed(runtime.blockhash(NOW + SLOT_MS).hash).raw, NOW) is None
    assert runtime.entry(signed().raw, NOW) is None


def test_every_slot_has_a_blockhash_of_its_own():
    runtime = runtime_of()
    assert len({runtime.blockhash(at_ms) for at_ms in range(NOW, NOW + 4_000, 100)}) == 10


def test_a_mint_the_chain_does_not_know_is_refused():
    with pytest.raises(BadTransaction, match="JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN"):
        runtime_of().entry(signed(mint_out="JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN").raw, NOW)


# The chain that all processes see.


@pytest.mark.django_db
def test_without_a_delay_a_sent_transaction_has_landed_at_once():
    chain = chain_of()
    found = look_one(chain, sent_through(chain).signature)
    assert found.landing is Landing.LANDED
    assert found.amount_out > 200_000_000
    assert found.fee_lamports == FEE_LAMPORTS
    assert found.slot >= chain.look([]).finalized_height + FINALITY_SLOTS - 2


@pytest.mark.django_db
def test_a_rejected_transaction_says_why_and_pays_its_fee():
    chain = chain_of(reject_rate=1.0)
    found = look_one(chain, sent_through(chain).signature)
    assert (found.landing, found.error_code, found.amount_out) == (Landing.REJECTED, "program_error", 0)
    assert (found.error, found.fee_lamports) == ("the RAYDIUM program failed", FEE_LAMPORTS)


@pytest.mark.django_db
@pytest.mark.parametrize("reject_rate", [0.0, 1.0])
def test_the_ledger_keeps_what_everybody_can_read_of_a_transaction(reject_rate):
    sent_through(chain_of(reject_rate=reject_rate), order_id="order-x", attempt=2, venue="METEORA", min_out=7)
    kept = LedgerEntry.objects.values("memo", "venue", "amount_in", "minimum_out").get()
    assert kept == {"memo": "order-x:2", "venue": "METEORA", "amount_in": 1_500_000_000, "minimum_out": 7}


@pytest.mark.django_db
def test_an_amount_of_a_whole_u64_is_kept():
    entry = LedgerEntry(signature="s", slot=1, lands_at=timezone.now(), landing="landed", fee_lamports=1)
    entry.amount_out = 2**64 - 1
    entry.save()
    assert look_one(chain_of(), "s").amount_out == 2**64 - 1


@pytest.mark.django_db
def test_a_transaction_is_unknown_until_it_lands():
    chain = chain_of(confirm_delay_ms=(20_000, 20_000))
    sent = sent_through(chain)
    assert look_one(chain, sent.signature).landing is Landing.UNKNOWN
    LedgerEntry.objects.update(lands_at=F("lands_at") - timedelta(seconds=21))
    assert look_one(chain, sent.signature).landing is Landing.LANDED


@pytest.mark.django_db
def test_another_process_sees_the_same_chain():
    sent = sent_through(chain_of())
    assert look_one(chain_of(), sent.signature).landing is Landing.LANDED


@pytest.mark.django_db
def test_a_transaction_sent_again_changes_nothing():
    chain = chain_of(noise_bps=8)
    sent = sent_through(chain)
    before = list(LedgerEntry.objects.values())
    chain.send([sent.raw, sent.raw])
    chain_of(noise_bps=8).send([sent.raw])
    assert list(LedgerEntry.objects.values()) == before
    assert len(before) == 1


class Scripted(Random):
    """Chance that says these numbers in turn."""

    def __init__(self, *numbers):
        super().__init__()
        self.numbers = iter(numbers)

    def random(self):
        return next(self.numbers)


@pytest.mark.django_db
def test_a_broadcast_that_was_lost_leaves_no_trace_and_the_same_bytes_may_land_later():
    chain = chain_of(drop_rate=0.5, rng=Scripted(0.49, 0.51, 0.5))
    lost, landed = (signed(chain.blockhash().hash) for _ in range(2))
    chain.send([lost.raw, landed.raw])
    assert list(LedgerEntry.objects.values_list("signature", flat=True)) == [landed.signature]
    chain.send([lost.raw])
    assert look_one(chain, lost.signature).landing is Landing.LANDED


@pytest.mark.django_db
def test_a_refused_transaction_is_named_by_position_and_the_others_are_sent():
    chain = chain_of()
    first, last = (signed(chain.blockhash().hash) for _ in range(2))
    damaged = first.raw[:-1] + b"?"
    with pytest.raises(TransactionRefused, match="transaction 1: the signature does not match") as refusal:
        chain.send([first.raw, damaged, last.raw, b"noise"])
    assert refusal.value.reasons.keys() == {1, 3}
    assert {finding.landing for finding in chain.look([first.signature, last.signature]).findings.values()} == {
        Landing.LANDED
    }


class Late:
    """A runtime whose process slept between deciding and writing."""

    def entry(self, raw, now_ms, late_ms):
        entry: Entry = runtime_of().entry(raw, now_ms, late_ms)
        return replace(entry, expires_ms=now_ms - 1)


@pytest.mark.django_db
def test_a_writer_that_slept_past_the_last_valid_height_writes_nothing():
    sent = signed(chain_of().blockhash().hash)
    SandboxLedger(Late(), Random(1)).send([sent.raw])
    assert not LedgerEntry.objects.exists()


@pytest.fixture
def statements(monkeypatch):
    """Record the statements that the ledger runs."""
    run, found = ledger.postgres.fetch, []
    monkeypatch.setattr(ledger.postgres, "fetch", lambda sql, *values: found.append(sql) or run(sql, *values))
    return found


@pytest.mark.django_db
def test_one_look_finds_many_signatures_with_one_statement(statements):
    chain = chain_of()
    sent = [signed(chain.blockhash().hash) for _ in range(LOOKUP_LIMIT - 1)]
    statements.clear()
    chain.send([each.raw for each in sent])
    # A test is a transaction, in which a repeat must not fail.
    assert statements == [ledger.NOW, ledger.WRITE + ledger.SENT_BEFORE]
    wanted = [*(each.signature for each in sent), "unknown"]
    look = chain.look(wanted)
    assert statements[2:] == [ledger.READ]
    assert list(look.findings) == wanted
    assert [finding.landing for finding in look.findings.values()].count(Landing.LANDED) == len(sent)
    assert look.findings["unknown"].landing is Landing.UNKNOWN


@pytest.mark.django_db
def test_more_signatures_than_the_chain_takes_are_an_error():
    with pytest.raises(ValueError, match="257"):
        chain_of().look(["s"] * (LOOKUP_LIMIT + 1))


@pytest.mark.django_db
def test_an_empty_look_still_tells_the_finalized_height():
    chain = chain_of()
    assert chain.look([]).findings == {}
    height = chain.blockhash().last_valid_height - 60_000 // SLOT_MS
    assert height - FINALITY_SLOTS - 1 <= chain.look([]).finalized_height <= height - FINALITY_SLOTS + 5


@pytest.mark.django_db
def test_sending_nothing_writes_nothing():
    chain_of().send([])
    assert not LedgerEntry.objects.exists()


@pytest.mark.django_db
def test_a_blockhash_is_asked_for_once_a_slot(statements):
    seconds = count(step=0.1)
    chain = SandboxLedger(runtime_of(), Random(1), monotonic=lambda: next(seconds))
    hashes = {chain.blockhash() for _ in range(5)}
    assert statements == [ledger.NOW] * 2
    assert len(hashes) <= 2


@pytest.fixture
def stuck_table():
    """The ledger's table, locked by another connection for longer than we wait."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("LOCK TABLE routing_ledgerentry IN ACCESS EXCLUSIVE MODE")
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '20ms'")
        yield
    finally:
        with other.cursor() as cursor:
            cursor.execute("ROLLBACK")
        other.close()


@pytest.mark.parametrize(
    "call", [lambda chain, sent: chain.look([sent.signature]), lambda chain, sent: chain.send([sent.raw])]
)
def test_a_database_that_does_not_answer_is_a_chain_that_cannot_be_reached(db, stuck_table, call):
    chain = chain_of()
    sent = signed(chain.blockhash().hash)
    with pytest.raises(ChainUnreachable):
        call(chain, sent)


# What is traded from the first start.


PAIRS = "SOL-USDC SOL-USDT JUP-USDC RAY-USDC BONK-USDC WIF-USDC JUP-SOL BONK-SOL WIF-SOL RAY-SOL USDC-USDT"


@pytest.fixture
def migrated(db):
    """What the migrations put in, which other tests may have emptied."""
    Pair.objects.all().delete()
    Token.objects.all().delete()
    for name in ("0002_tokens_and_pairs", "0004_known_ticks_and_facts"):
        for operation in import_module(f"routing.migrations.{name}").Migration.operations:
            operation.code(apps, None)


@pytest.mark.usefixtures("migrated")
def test_seven_tokens_and_eleven_pairs_both_ways_are_there_from_the_start():
    assert {token.symbol: token.decimals for token in Token.objects.all()} == {
        "SOL": 9, "USDC": 6, "USDT": 6, "JUP": 6, "RAY": 6, "BONK": 5, "WIF": 6,
    }  # fmt: skip
    names = {str(pair) for pair in Pair.objects.select_related("token_in", "token_out").filter(active=True)}
    one_way = PAIRS.split()
    assert names == {*one_way, *("-".join(reversed(name.split("-"))) for name in one_way)}


@pytest.mark.usefixtures("migrated")
def test_every_mint_is_a_public_key_and_the_dollars_are_the_real_ones():
    mints = dict(Token.objects.values_list("symbol", "mint"))
    assert {str(Pubkey.from_string(mint)) for mint in mints.values()} == set(mints.values())
    assert (mints["SOL"], mints["USDC"]) == (SOL.mint, USDC.mint)
