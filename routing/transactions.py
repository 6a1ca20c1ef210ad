"""Swaps as signed Solana transactions: one venue instruction, and a memo that tells like orders apart."""

import struct
from dataclasses import dataclass
from functools import lru_cache

from solders.hash import Hash
from solders.instruction import AccountMeta, CompiledInstruction, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction

PACKET_MAX = 1232
"""Bytes of one transaction, at most (Solana: IPv6 MTU less headers)."""

MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
"""SPL Memo v2: any UTF-8 text, kept in the ledger."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a venue's swap instruction goes, and the bytes that name it there."""

    program: Pubkey
    tag: bytes


ROUTES = {
    # Raydium AMM v4, instruction 9 `SwapBaseIn`: raydium-io/raydium-amm, program/src/instruction.rs.
    "RAYDIUM": Route(Pubkey.from_string("675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8"), b"\x09"),
    # Meteora DLMM, Anchor's discriminator of `swap`: the first eight bytes of sha256("global:swap").
    "METEORA": Route(
        Pubkey.from_string("LBUZKhRxPF3XUpBCjp4YzTKgLccjZhTSDM9YuVaPwxo"), bytes.fromhex("f8c69e91e17587c8")
    ),
}

AMOUNTS = struct.Struct("<QQ")
"""Both venues' arguments: amount in and least amount out, base units, little-endian u64."""


class BadTransaction(Exception):
    """The bytes are not a swap this engine could have signed; no retry helps."""


@dataclass(frozen=True, slots=True)
class Swap:
    """One order's swap at one venue: mints in base58, amounts in base units."""

    order_id: str
    attempt: int
    venue: str
    mint_in: str
    mint_out: str
    amount_in: int
    min_out: int

    @property
    def memo(self) -> str:
        """What its transaction says in the open: `<orderId>:<attempt>`."""
        return f"{self.order_id}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class Wallet:
    """A key that signs, with its public half: to derive that costs half as much as to sign."""

    key: Keypair
    payer: Pubkey

    @classmethod
    def of(cls, key: Keypair) -> "Wallet":
        """Make a wallet of its key."""
        return cls(key, key.pubkey())


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction as it is sent; its base58 signature is its name for ever."""

    signature: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """A transaction as a chain reads it."""

    signature: str
    blockhash: str
    swap: Swap


def sign(swap: Swap, blockhash: str, wallet: Wallet) -> Signed:
    """Build and sign the transaction of this swap, payable from `wallet`.

    The same arguments give the same bytes: ed25519 signatures are deterministic.
    """
    message = Message.new_with_blockhash(_instructions(swap, wallet.payer), wallet.payer, Hash.from_string(blockhash))
    signature = wallet.key.sign_message(bytes(message))
    return Signed(str(signature), bytes(Transaction.populate(message, [signature])))


def read(raw: bytes) -> Swap:
    """Return the swap in a transaction; the signature is not checked.

    Raises BadTransaction.
    """
    return _swap(_parsed(raw).message)


def receive(raw: bytes) -> Received:
    """Return what a chain takes from a transaction, its one signature checked.

    Raises BadTransaction, also when the signature is not the payer's over these bytes.
    """
    transaction = _parsed(raw)
    message, signature = transaction.message, transaction.signatures[0]
    if not signature.verify(message.account_keys[0], transaction.message_data()):
        raise BadTransaction("the signature does not match")
    return Received(str(signature), str(message.recent_blockhash), _swap(message))


# Two mints stand for the 15 to 18 pool and vault accounts the venues' programs ask for on mainnet.
def _instructions(swap: Swap, payer: Pubkey) -> list[Instruction]:
    route = ROUTES[swap.venue]
    accounts = [AccountMeta(payer, True, True), _readonly(swap.mint_in), _readonly(swap.mint_out)]
    data = route.tag + AMOUNTS.pack(swap.amount_in, swap.min_out)
    return [Instruction(route.program, data, accounts), Instruction(MEMO_PROGRAM, swap.memo.encode(), [])]


@lru_cache(maxsize=1024)
def _readonly(mint: str) -> AccountMeta:
    return AccountMeta(Pubkey.from_string(mint), False, False)


def _parsed(raw: bytes) -> Transaction:
    """Parse bytes nobody vouches for."""
    if len(raw) > PACKET_MAX:
        raise BadTransaction(f"{len(raw)} bytes are more than the {PACKET_MAX} of one packet")
    try:
        transaction = Transaction.from_bytes(raw)
        transaction.sanitize()
    except Exception as reason:
        raise BadTransaction(f"not a transaction: {reason}") from None
    except BaseException as panic:
        # A panic in Rust arrives as pyo3's PanicException, which has no importable name and is no Exception.
        if type(panic).__name__ != "PanicException":
            raise
        raise BadTransaction(f"not a transaction: {panic}") from None
    # An unsigned message would pass every check of its zero signatures.
    if len(transaction.signatures) != 1 or transaction.message.header.num_required_signatures != 1:
        raise BadTransaction("a swap has exactly one signature")
    return transaction


def _swap(message: Message) -> Swap:
    try:
        instruction, memo = message.instructions
        keys = message.account_keys
        venue, amounts = _venue(keys[instruction.program_id_index], instruction)
        _, mint_in, mint_out = (keys[index] for index in instruction.accounts)
        if keys[memo.program_id_index] != MEMO_PROGRAM:
            raise BadTransaction("the second instruction is not a memo")
        order_id, _, attempt = memo.data.decode().rpartition(":")
        return Swap(order_id, int(attempt), venue, str(mint_in), str(mint_out), *AMOUNTS.unpack(amounts))
    except (ValueError, IndexError, struct.error) as reason:
        raise BadTransaction(f"not a swap: {reason}") from None


def _venue(program: Pubkey, instruction: CompiledInstruction) -> tuple[str, bytes]:
    """Return whose instruction this is and what follows its tag."""
    for venue, route in ROUTES.items():
        if program == route.program and instruction.data.startswith(route.tag):
            return venue, instruction.data[len(route.tag) :]
    raise BadTransaction("not an instruction of a known venue")
