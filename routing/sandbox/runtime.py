"""Execution rules of the sandbox chain.  Pure, so that every process and every resend gives the same outcome."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from solders.hash import Hash

from engine.amm import PoolExhausted
from engine.money import Token, less_bps, more_bps
from engine.quotes import Pair
from routing.chain import Blockhash, Landing
from routing.sandbox.market import Market
from routing.transactions import BadTransaction, Received, Swap, receive
from routing.venues import FEE_BPS

SLOT_MS = 400
"""Slot time on Solana; the block height is the epoch time in slots."""

FEE_LAMPORTS = 5_000
"""Base fee per signature; a transaction that fails on the chain also pays it."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the chain treats transactions; `confirm_delay_ms` is the minimum and maximum delay.

    `reject_rate` is the share of transactions that fail regardless of the price, `noise_bps` the most by which an
    execution falls short of the pool's output, `valid_ms` how long a blockhash is valid.
    """

    confirm_delay_ms: tuple[int, int] = (0, 0)
    reject_rate: float = 0.0
    noise_bps: int = 0
    valid_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an execution took and paid in base units, or the reason why it failed."""

    amount_in: int = 0
    amount_out: int = 0
    error_code: str = ""
    error: str = ""

    @property
    def landing(self) -> Landing:
        """Whether it landed or was rejected."""
        return Landing.REJECTED if self.error_code else Landing.LANDED


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction's ledger entry, to be written no later than `expires_ms`; `swap` is the requested swap."""

    signature: str
    swap: Swap
    lands_ms: int
    expires_ms: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Luck:
    """The random outcome drawn for one signature."""

    rejected: bool
    delay_ms: int
    noise_bps: int


@dataclass(frozen=True, slots=True)
class Runtime:
    """The chain's rules; `token_of` finds a token by its mint and raises KeyError for one it does not know."""

    market: Market
    token_of: Callable[[str], Token]
    seed: int
    behaviour: Behaviour

    def blockhash(self, now_ms: int) -> Blockhash:
        """Return the current blockhash; its first eight bytes are its height."""
        height = now_ms // SLOT_MS
        return Blockhash(str(self._hash(height)), height + self.behaviour.valid_ms // SLOT_MS)

    def expiry_ms(self, blockhash: str, now_ms: int) -> int:
        """Return the last millisecond at which a transaction with this blockhash can land.

        0 for a blockhash that this chain never had, or does not have yet.
        """
        named = Hash.from_string(blockhash)
        height = int.from_bytes(bytes(named)[:8])
        if height > now_ms // SLOT_MS or self._hash(height) != named:
            return 0
        return (height + self.behaviour.valid_ms // SLOT_MS + 1) * SLOT_MS - 1

    def entry(self, raw: bytes, now_ms: int, late_ms: int = 0) -> Entry | None:
        """Return how a transaction that arrives now will land, or None if it never will.

        `late_ms` is the chain's additional delay.  Raises BadTransaction for bytes that a chain would not accept.
        """
        received = receive(raw)
        pair = self._pair(received.swap)
        luck = self._luck(received)
        lands_ms, expires_ms = now_ms + luck.delay_ms + late_ms, self.expiry_ms(received.blockhash, now_ms)
        # After this time a client may have concluded that the signature is dead, so it must not land.
        if lands_ms > expires_ms:
            return None
        outcome = self._outcome(received.swap, pair, luck, lands_ms)
        return Entry(received.signature, received.swap, lands_ms, expires_ms, outcome)

    def _hash(self, height: int) -> Hash:
        prefix = height.to_bytes(8)
        return Hash.from_bytes(prefix + blake2b(prefix + self._salt(), digest_size=24).digest())

    def _salt(self) -> bytes:
        return str(self.seed).encode()

    def _pair(self, swap: Swap) -> Pair:
        try:
            return Pair(self.token_of(swap.mint_in), self.token_of(swap.mint_out))
        except KeyError as mint:
            raise BadTransaction(f"no account of the mint {mint}") from None

    def _luck(self, received: Received) -> Luck:
        """Draw from the signature, so that a resend cannot change the outcome."""
        draws = blake2b(received.signature.encode() + self._salt(), digest_size=24).digest()
        first, second, third = (int.from_bytes(draws[i : i + 8]) for i in (0, 8, 16))
        low, high = self.behaviour.confirm_delay_ms
        return Luck(
            rejected=first < self.behaviour.reject_rate * 2**64,
            delay_ms=low + second % (high - low + 1),
            noise_bps=third % (self.behaviour.noise_bps + 1),
        )

    def _outcome(self, swap: Swap, pair: Pair, luck: Luck, lands_ms: int) -> Outcome:
        """Execute against the pool at the time the transaction lands."""
        if luck.rejected:
            return Outcome(error_code="program_error", error=f"the {swap.venue} program failed")
        pool, fee_bps = self.market.pool(swap.venue, pair, lands_ms), FEE_BPS[swap.venue]
        taken, paid = swap.amount_in, swap.min_out
        try:
            if swap.exact_out:
                taken = more_bps(pool.needed(paid, fee_bps), luck.noise_bps)
            else:
                paid = less_bps(pool.out(taken, fee_bps), luck.noise_bps)
        except PoolExhausted as reason:
            return Outcome(error_code="program_error", error=str(reason))
        if paid < swap.min_out:
            sentence = f"the pool pays {paid} base units, less than the least accepted {swap.min_out}"
            return Outcome(error_code="slippage_exceeded", error=sentence)
        if taken > swap.amount_in:
            sentence = f"the pool takes {taken} base units, more than the most accepted {swap.amount_in}"
            return Outcome(error_code="slippage_exceeded", error=sentence)
        return Outcome(taken, paid)
