"""Swaps as signed Solana transactions: one venue instruction, and a memo that keeps identical orders distinct."""

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
"""Maximum bytes of one transaction (Solana: IPv6 MTU less headers)."""

MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
"""SPL Memo v2: any UTF-8 text, recorded in the ledger."""


@dataclass(frozen=True, slots=True)
class Route:
    """A venue's program, and the tag bytes that identify its swap instructions: for an exact input, an exact output."""

    program: Pubkey
    tag: bytes
    exact_out: bytes


ROUTES = {
    # Raydium AMM v4, instructions 9 `SwapBaseIn`, 11 `SwapBaseOut`: raydium-io/raydium-amm, program/src/instruction.rs.
    "RAYDIUM": Route(Pubkey.from_string("675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8"), b"\x09", b"\x0b"),
    # Meteora DLMM, the Anchor discriminators of `swap` and `swap_exact_out`: eight bytes of sha256("global:<name>").
    "METEORA": Route(
        Pubkey.from_string("LBUZKhRxPF3XUpBCjp4YzTKgLccjZhTSDM9YuVaPwxo"),
        bytes.fromhex("f8c69e91e17587c8"),
        bytes.fromhex("fa49652126cf4bb8"),
    ),
}

AMOUNTS = struct.Struct("<QQ")
"""The arguments, the same for both venues, base units, little-endian u64: amount in and minimum amount out, or for an
exact output the maximum amount in and the amount out."""


class BadTransaction(Exception):
    """The bytes are not a swap that this engine could have signed; a retry does not help."""


@dataclass(frozen=True, slots=True)
class Swap:
    """One order's swap at one venue; mints are in base58, amounts in base units.

    An `exact_out` swap pays `min_out` to the unit and takes at most `amount_in`.
    """

    order_id: str
    attempt: int
    venue: str
    mint_in: str
    mint_out: str
    amount_in: int
    min_out: int
    exact_out: bool = False

    @property
    def memo(self) -> str:
        """The public memo of its transaction: `<orderId>:<attempt>`."""
        return f"{self.order_id}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class Wallet:
    """A signing key with its public key, which is stored because deriving it costs half as much as signing."""

    key: Keypair
    payer: Pubkey

    @classmethod
    def of(cls, key: Keypair) -> "Wallet":
        """Build the wallet of a key."""
        return cls(key, key.pubkey())


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction; its base58 signature identifies it permanently."""

    signature: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """A transaction as parsed by a chain."""

    signature: str
    blockhash: str
    swap: Swap


def sign(swap: Swap, blockhash: str, wallet: Wallet) -> Signed:
    """Build and sign the transaction of this swap, with `wallet` as the payer.

    The same arguments give the same bytes: ed25519 signatures are deterministic.
    """
    message = Message.new_with_blockhash(_instructions(swap, wallet.payer), wallet.payer, Hash.from_string(blockhash))
    signature = wallet.key.sign_message(bytes(message))
    return Signed(str(signature), bytes(Transaction.populate(message, [signature])))


def read(raw: bytes) -> Swap:
    """Parse the swap from a transaction, without checking the signature.

    Raises BadTransaction.
    """
    return _swap(_parsed(raw).message)


def receive(raw: bytes) -> Received:
    """Parse a transaction as a chain does, and check its one signature.

    Raises BadTransaction, also if the signature is not the payer's signature of these bytes.
    """
    transaction = _parsed(raw)
    message, signature = transaction.message, transaction.signatures[0]
    if not signature.verify(message.account_keys[0], transaction.message_data()):
        raise BadTransaction("the signature does not match")
    return Received(str(signature), str(message.recent_blockhash), _swap(message))


# The two mints replace the 15 to 18 pool and vault accounts that the venues' programs require on mainnet.
def _instructions(swap: Swap, payer: Pubkey) -> list[Instruction]:
    route = ROUTES[swap.venue]
    accounts = [AccountMeta(payer, True, True), _readonly(swap.mint_in), _readonly(swap.mint_out)]
    data = (route.exact_out if swap.exact_out else route.tag) + AMOUNTS.pack(swap.amount_in, swap.min_out)
    return [Instruction(route.program, data, accounts), Instruction(MEMO_PROGRAM, swap.memo.encode(), [])]


@lru_cache(maxsize=1024)
def _readonly(mint: str) -> AccountMeta:
    return AccountMeta(Pubkey.from_string(mint), False, False)


def _parsed(raw: bytes) -> Transaction:
    """Parse untrusted bytes."""
    if len(raw) > PACKET_MAX:
        raise BadTransaction(f"{len(raw)} bytes are more than the {PACKET_MAX} of one packet")
    try:
        transaction = Transaction.from_bytes(raw)
        transaction.sanitize()
    except Exception as reason:
        raise BadTransaction(f"not a transaction: {reason}") from None
    except BaseException as panic:
        # A Rust panic is raised as pyo3's PanicException, which cannot be imported and is not a subclass of Exception.
        if type(panic).__name__ != "PanicException":
            raise
        raise BadTransaction(f"not a transaction: {panic}") from None
    # An unsigned message would pass every check, because it has no signatures to check.
    if len(transaction.signatures) != 1 or transaction.message.header.num_required_signatures != 1:
        raise BadTransaction("a swap has exactly one signature")
    return transaction


def _swap(message: Message) -> Swap:
    try:
        instruction, memo = message.instructions
        keys = message.account_keys
        venue, exact_out, amounts = _venue(keys[instruction.program_id_index], instruction)
        _, mint_in, mint_out = (keys[index] for index in instruction.accounts)
        if keys[memo.program_id_index] != MEMO_PROGRAM:
            raise BadTransaction("the second instruction is not a memo")
        order_id, _, attempt = memo.data.decode().rpartition(":")
        amount_in, min_out = AMOUNTS.unpack(amounts)
        return Swap(order_id, int(attempt), venue, str(mint_in), str(mint_out), amount_in, min_out, exact_out)
    except (ValueError, IndexError, struct.error) as reason:
        raise BadTransaction(f"not a swap: {reason}") from None


def _venue(program: Pubkey, instruction: CompiledInstruction) -> tuple[str, bool, bytes]:
    """Return the venue of an instruction, whether its output is exact, and the data after its tag."""
    for venue, route in ROUTES.items():
        for exact_out, tag in ((False, route.tag), (True, route.exact_out)):
            if program == route.program and instruction.data.startswith(tag):
                return venue, exact_out, instruction.data[len(tag) :]
    raise BadTransaction("not an instruction of a known venue")
