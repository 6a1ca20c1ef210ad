"""Swaps as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction

from engine.money import U64_MAX
from routing import transactions
from routing.transactions import PACKET_MAX, BadTransaction
from routing.venues import VENUES
from tests.routing.swaps import BLOCKHASH, WALLET, signed, swap

U64 = st.integers(min_value=0, max_value=U64_MAX)
RAW = signed(order_id="fuzzed").raw


@given(
    st.sampled_from(VENUES),
    U64,
    U64,
    st.integers(min_value=1, max_value=99),
    st.text("abc-0:9", max_size=36),
    st.booleans(),
)
def test_a_swap_is_read_as_it_was_signed(venue, amount_in, min_out, attempt, order_id, exact_out):
    facts = {"venue": venue, "amount_in": amount_in, "min_out": min_out, "attempt": attempt, "exact_out": exact_out}
    written = swap(order_id or "x", **facts)
    assert transactions.read(transactions.sign(written, BLOCKHASH, WALLET).raw) == written


def test_a_chain_receives_the_signature_and_blockhash_that_were_signed():
    sent = signed()
    received = transactions.receive(sent.raw)
    assert (received.signature, received.blockhash) == (sent.signature, BLOCKHASH)


def test_a_solana_node_would_accept_the_signature():
    transaction = Transaction.from_bytes(signed().raw)
    transaction.verify()
    assert transaction.message.account_keys[0] == WALLET.payer


@pytest.mark.parametrize(
    ("venue", "program", "data"),
    [
        ("RAYDIUM", "675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8", "0907000000000000000500000000000000"),
        (
            "METEORA",
            "LBUZKhRxPF3XUpBCjp4YzTKgLccjZhTSDM9YuVaPwxo",
            "f8c69e91e17587c807000000000000000500000000000000",
        ),
    ],
)
def test_each_venues_instruction_is_the_one_its_program_reads(venue, program, data):
    message = Transaction.from_bytes(signed(venue=venue, amount_in=7, min_out=5).raw).message
    instruction = message.instructions[0]
    assert str(message.account_keys[instruction.program_id_index]) == program
    assert instruction.data.hex() == data


@pytest.mark.parametrize("other", [{"order_id": "second"}, {"attempt": 2}])
def test_like_swaps_of_two_orders_or_attempts_have_two_signatures(other):
    assert signed(order_id="first").signature != signed(**({"order_id": "first"} | other)).signature


def test_the_same_swap_signed_again_is_the_same_transaction():
    assert signed(order_id="first") == signed(order_id="first")


def test_a_changed_amount_breaks_the_signature():
    sent = signed(amount_in=7_777_777_777).raw
    forged = sent.replace((7_777_777_777).to_bytes(8, "little"), (1).to_bytes(8, "little"))
    with pytest.raises(BadTransaction, match="signature does not match"):
        transactions.receive(forged)


def test_another_wallets_signature_is_refused():
    sent = signed().raw
    other = bytes(Keypair.from_seed(b"\1" * 32).sign_message(sent[65:]))
    with pytest.raises(BadTransaction, match="signature does not match"):
        transactions.receive(sent[:1] + other + sent[65:])


def test_an_unsigned_message_is_refused():
    with pytest.raises(BadTransaction):
        transactions.receive(b"\0" + RAW[65:])


def test_a_swap_that_needs_two_wallets_is_refused():
    other = Keypair.from_seed(b"\1" * 32)
    instruction, memo = transactions._instructions(swap(), WALLET.payer)
    co_signed = Instruction(memo.program_id, memo.data, [AccountMeta(other.pubkey(), True, False)])
    message = Message([instruction, co_signed], WALLET.payer)
    with pytest.raises(BadTransaction, match="exactly one signature"):
        transactions.receive(bytes(Transaction([WALLET.key, other], message, Hash.default())))


def transaction_of(*instructions):
    return bytes(Transaction([WALLET.key], Message(instructions, WALLET.payer), Hash.default()))


NEW_WALLET = Pubkey.from_string("4k3Dyjzvzp8eMZWUXbBCjEvwSkkk59S5iCNLY3QrkX6R")
TRANSFER = transfer(TransferParams(from_pubkey=WALLET.payer, to_pubkey=NEW_WALLET, lamports=1))
MEMO = Instruction(transactions.MEMO_PROGRAM, b"order:1", [])


@pytest.mark.parametrize(
    "instructions",
    [[], [TRANSFER], [TRANSFER, MEMO], [MEMO, MEMO], [TRANSFER, TRANSFER, MEMO]],
    ids=["nothing", "a transfer", "a transfer with memo", "memos", "three instructions"],
)
def test_a_sound_transaction_that_is_no_swap_is_refused(instructions):
    with pytest.raises(BadTransaction):
        transactions.receive(transaction_of(*instructions))


def test_a_swap_without_its_memo_is_refused():
    program = transactions.ROUTES["RAYDIUM"]
    accounts = transactions._instructions(swap(), WALLET.payer)[0].accounts
    bare = Instruction(program.program, program.tag + bytes(16), accounts)
    with pytest.raises(BadTransaction, match="not a memo"):
        transactions.receive(transaction_of(bare, TRANSFER))


def test_more_bytes_than_a_packet_holds_are_refused():
    with pytest.raises(BadTransaction, match=str(PACKET_MAX)):
        transactions.receive(RAW.ljust(PACKET_MAX + 1, b"\0"))


@given(st.binary(max_size=PACKET_MAX))
def test_noise_is_refused_by_name(noise):
    with pytest.raises(BadTransaction):
        transactions.receive(noise)


@given(st.integers(min_value=0, max_value=len(RAW) - 1), st.integers(min_value=1, max_value=255))
def test_one_changed_byte_anywhere_is_refused_by_name(position, change):
    damaged = bytearray(RAW)
    damaged[position] ^= change
    with pytest.raises(BadTransaction):
        transactions.receive(bytes(damaged))


class PanicException(BaseException):
    """Named as pyo3's, which cannot be imported."""


def raise_(failure):
    def parse(_):
        raise failure

    return type("Parser", (), {"from_bytes": staticmethod(parse)})


def test_a_panic_in_the_parser_is_a_bad_transaction(monkeypatch):
    monkeypatch.setattr(transactions, "Transaction", raise_(PanicException("index out of bounds")))
    with pytest.raises(BadTransaction, match="index out of bounds"):
        transactions.read(RAW)


def test_an_interrupt_while_parsing_is_not_taken_for_bad_bytes(monkeypatch):
    monkeypatch.setattr(transactions, "Transaction", raise_(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        transactions.read(RAW)
