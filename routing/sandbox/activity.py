"""Market events of the sandbox, second by second.  Pure, so that every process generates the same events.

A slot is one second, numbered by epoch seconds.  Randomness is a hash of (seed, what, which).  Amounts are in US cents.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from solders.pubkey import Pubkey

from engine.market import EventKind, MarketEvent
from engine.money import Token
from routing.sandbox.market import ANCHOR_ATTO_USD, STABLE
from routing.venues import VENUES

SLOT_MS = 1_000

TRADED_IN = 4
"""A token is traded in one of this many slots, at random."""
READ_IN = 32
"""Its liquidity changes, and is reported, in one of this many slots."""

DEEP = (5_000_000_00, 50_000_000_00)
"""The range of the liquidity of a well-known token."""
NEW = (10_000_00, 200_000_00)
"""The range of the liquidity of a new token's first pool."""
UNKNOWN_DEPTH = 50_000_00
"""The liquidity by which trades of any other token are sized."""

NAMES = ("NOVA", "LUNA", "PUMP", "MOON", "FROG", "WAVE", "COMET", "PEPPER")
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

STAMP = b"sandbox newcomer"
"""Marks generated mints, so that automatically launched tokens are recognized without being stored."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A token about to be launched; `liquidity` is that of its first pool.

    A fact that is None is unknown; an empty authority has been renounced.
    """

    mint: str
    symbol: str
    decimals: int
    liquidity: int
    mint_authority: str | None
    freeze_authority: str | None
    top_holder_bps: int | None


def happenings(seed: int, slot: int, tokens: Iterable[Token]) -> Iterator[MarketEvent]:
    """Yield the events of these tokens within a slot: trades, and occasional changes of liquidity."""
    for token in tokens:
        chance = draw(seed, "slot", f"{token.mint}:{slot}")
        at = slot * SLOT_MS + chance % SLOT_MS
        venue = VENUES[chance // SLOT_MS % len(VENUES)]
        around = depth(seed, token)
        if draw(seed, "trade", f"{token.mint}:{slot}") % TRADED_IN == 0:
            size = trade_size(around or UNKNOWN_DEPTH, chance >> 32)
            yield MarketEvent(f"{slot}-{token.mint}-trade", EventKind.TRADE, token.mint, venue, size, at)
        if around and draw(seed, "liquidity", f"{token.mint}:{slot}") % READ_IN == 0:
            worth = around * (900 + (chance >> 32) % 201) // 1000
            yield MarketEvent(f"{slot}-{token.mint}-liquidity", EventKind.LIQUIDITY, token.mint, venue, worth, at)


def trade_size(around: int, chance: int) -> int:
    """Return the size of a trade: 0.001 to 0.5 % of the pools' liquidity, mostly small."""
    part = chance % 2**16
    return max(1, around * (1 + 499 * part**3 // 2**48) // 100_000)


def depth(seed: int, token: Token) -> int | None:
    """Return the token's typical liquidity; None if only its launcher knows it, as for a token launched by hand."""
    if token.symbol in ANCHOR_ATTO_USD or token.symbol in STABLE:
        return between(*DEEP, draw(seed, "depth", token.mint))
    slot = born(token.mint)
    if slot is None or newcomer(seed, slot).mint != token.mint:
        return None
    return newcomer(seed, slot).liquidity


def is_launch(slot: int, every_s: int) -> bool:
    """Tell whether a new token is launched in this slot; with `every_s` 0 none ever is."""
    return every_s > 0 and slot % every_s == 0


def newcomer(seed: int, slot: int) -> Newcomer:
    """Return the token launched in this slot, if one is; two in three pass all token checks."""
    chance = draw(seed, "newcomer", str(slot))
    somebody = str(Pubkey.from_bytes(digest(f"{seed}:authority:{slot}", 32)))
    kind = chance % 12
    known = kind != 11
    top_holder_bps = between(6_000, 9_500, chance >> 16) if kind == 10 else between(100, 900, chance >> 16)
    return Newcomer(
        mint=mint_of(seed, slot),
        symbol=symbol_of(chance >> 8, slot),
        decimals=(6, 9)[(chance >> 12) % 2],
        liquidity=between(*NEW, chance >> 24) // 100 * 100,
        mint_authority=(somebody if kind == 8 else "") if known else None,
        freeze_authority=(somebody if kind == 9 else "") if known else None,
        top_holder_bps=top_holder_bps if known else None,
    )


def symbol_of(chance: int, number: int) -> str:
    """Return a symbol: a name, and a number that is unique within the market, as in NOVAT6B5RK."""
    text = ""
    while number:
        number, digit = divmod(number, len(DIGITS))
        text = DIGITS[digit] + text
    return NAMES[chance % len(NAMES)] + text


def mint_of(seed: int, slot: int) -> str:
    """Return the newcomer's mint: 16 random bytes, its launch slot, and a checksum that marks it as generated here."""
    body = digest(f"{seed}:mint:{slot}", 16) + slot.to_bytes(8)
    return str(Pubkey.from_bytes(body + check(body)))


def born(mint: str) -> int | None:
    """Return the slot in which a newcomer was launched, in any sandbox market; None for any other token."""
    try:
        raw = bytes(Pubkey.from_string(mint))
    except ValueError:
        return None
    return int.from_bytes(raw[16:24]) if raw[24:] == check(raw[:24]) else None


def check(body: bytes) -> bytes:
    """Return the eight-byte checksum of a newcomer's mint."""
    return blake2b(body, digest_size=8, key=STAMP).digest()


def draw(seed: int, what: str, which: str) -> int:
    """Return 64 pseudo-random bits."""
    return int.from_bytes(digest(f"{seed}:{what}:{which}", 8))


def digest(text: str, size: int) -> bytes:
    """Hash a string to `size` bytes."""
    return blake2b(text.encode(), digest_size=size).digest()


def between(low: int, high: int, chance: int) -> int:
    """Map `chance` to a number from `low` to `high`."""
    return low + chance % (high - low + 1)
