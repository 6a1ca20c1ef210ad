"""Generate events in the sandbox market, on a schedule or on request.

Events of a token are published after its rows are committed, so a reader of a launch event finds the token.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from secrets import token_bytes

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from solders.pubkey import Pubkey
from uuid6 import uuid7

from engine.market import EventKind, MarketEvent
from engine.money import Token
from engine.quotes import Pair
from routing import models, tape, wiring
from routing.catalogue import catalogue, is_mint, token_of
from routing.sandbox import activity
from routing.sandbox.activity import SLOT_MS, Newcomer
from routing.store import now_ms, script
from routing.venues import VENUES

log = structlog.get_logger(__name__)

QUOTED_IN = ("SOL", "USDC")
"""The tokens a new token is traded against, in both directions."""

LAUNCHED_MAX = 3
"""Maximum automatically launched tokens traded at one time: each adds polls of both venues for four pairs."""

LIQUIDITY = 50_000_00
"""Default liquidity of a token launched by hand, in US cents."""
TOP_HOLDER_BPS = 500
"""Default share of its largest holder, in bps."""

BACKFILL = 3
"""Maximum slots published at once; earlier slots that no process published are skipped for good."""
EMITTED = "sandbox:emitted"
EMITTED_S = 60
"""TTL of the last published slot: a clock that ran ahead briefly silences the market no longer than this."""

LOOK_UP_SLOTS = 3_600
"""Interval, in slots, at which facts of the market's own tokens are refreshed: in the sandbox they stay true."""

SYMBOL = re.compile(r"[A-Za-z0-9]{1,16}")

# The process that advances the last slot is the only one to publish the slots in between.  Repeated after a lost reply,
# the script returns 0 and those slots are never published, which is harmless.
TAKE_SLOTS = script(
    """
local slot, last = tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or '-1')
if last >= slot then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
if last < 0 then return 1 end
return math.min(slot - last, tonumber(ARGV[3]))
"""
)


class NotStaged(Exception):
    """The sandbox cannot do this and has changed nothing; the message says why.  A retry does not help."""


class UnknownToken(NotStaged):
    """No token has this symbol or mint."""


class SymbolTaken(NotStaged):
    """Another token has this symbol, or the token has another symbol."""


class BadSymbol(NotStaged):
    """The symbol cannot be part of a pair's name."""


class BadMint(NotStaged):
    """A mint or an authority is not a Solana address."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A launched token, with the names of its pairs."""

    token: Token
    pairs: tuple[str, ...]


def launch(
    *,
    mint: str | None = None,
    symbol: str | None = None,
    decimals: int = 6,
    liquidity: int = LIQUIDITY,
    mint_authority: str | None = "",
    freeze_authority: str | None = "",
    top_holder_bps: int | None = TOP_HOLDER_BPS,
) -> Launched:
    """Launch a token by hand: list it, then publish its first pool.  Idempotent for the same mint.

    `liquidity` is in US cents.  A fact that is None is unknown; an empty authority has been renounced.
    Raises NotStaged, DatabaseError and StoreError; after a StoreError the token is listed, and a retry with the same
    mint publishes its pool.
    """
    mint = mint or str(Pubkey.from_bytes(token_bytes(32)))
    for address in (mint, mint_authority, freeze_authority):
        if address and not is_mint(address):
            raise BadMint(f"{address!r} is not a Solana address: 32 bytes in base58")
    known = models.Token.objects.filter(mint=mint).first()
    symbol = symbol or (known.symbol if known else symbol_for(mint))
    if not SYMBOL.fullmatch(symbol):
        raise BadSymbol(f"{symbol!r} is not a symbol: 1 to 16 letters and digits")
    return bring(Newcomer(mint, symbol, decimals, liquidity, mint_authority, freeze_authority, top_holder_bps))


def symbol_for(mint: str) -> str:
    """Derive a symbol from a mint."""
    chance = activity.draw(0, "symbol", mint)
    return activity.symbol_of(chance, chance % 36**6)


def bring(newcomer: Newcomer) -> Launched:
    """List a token with its pairs, then publish its first pool.

    Raises SymbolTaken, DatabaseError and StoreError.
    """
    token, pairs = enlist(newcomer)
    catalogue.forget()
    venue = VENUES[activity.draw(0, "first venue", token.mint) % len(VENUES)]
    tape.publish(
        # The fixed event id makes it one pool, however often it is published.
        [MarketEvent(f"pool-{token.mint}", EventKind.POOL, token.mint, venue, newcomer.liquidity, now_ms())]
    )
    log.info("sandbox token launched", symbol=token.symbol, mint=token.mint, venue=venue, cents=newcomer.liquidity)
    return Launched(token, pairs)


def enlist(newcomer: Newcomer) -> tuple[Token, tuple[str, ...]]:
    """Commit the rows of a token and its pairs, where they do not exist yet.

    Raises SymbolTaken and DatabaseError.
    """
    facts = {
        "symbol": newcomer.symbol,
        "decimals": newcomer.decimals,
        "mint_authority": newcomer.mint_authority,
        "freeze_authority": newcomer.freeze_authority,
        "top_holder_bps": newcomer.top_holder_bps,
    }
    # Durable: an event published before the commit would name a token that no reader can find.
    with transaction.atomic(durable=True):
        try:
            row, _ = models.Token.objects.get_or_create(mint=newcomer.mint, defaults=facts)
        except IntegrityError:
            raise SymbolTaken(f"another token is called {newcomer.symbol}") from None
        if row.symbol != newcomer.symbol:
            raise SymbolTaken(f"{row.mint} is already listed as {row.symbol}")
        others = models.Token.objects.filter(symbol__in=QUOTED_IN).exclude(mint=row.mint)
        pairs = [ways for other in others for ways in ((row, other), (other, row))]
        return token_of(row), tuple(enlist_pair(sold, bought) for sold, bought in pairs)


def enlist_pair(sold: models.Token, bought: models.Token) -> str:
    """Commit one pair's row, unless it exists; return the pair's name."""
    pair = Pair(token_of(sold), token_of(bought))
    models.Pair.objects.get_or_create(token_in=sold, token_out=bought, defaults={"tick": tick_for(pair)})
    return pair.name


def tick_for(pair: Pair) -> Decimal:
    """Return the tick of a new pair: a power of ten, about a ten-thousandth of the price."""
    price = wiring.market().mid(pair, now_ms())
    return max(models.TICK_MIN, Decimal(1).scaleb(price.adjusted() - 4))


def liquidity(token: str, cents: int) -> MarketEvent:
    """Publish a liquidity reading of this many US cents for a token; `token` is a symbol or a mint.

    Raises UnknownToken, DatabaseError and StoreError.
    """
    return tell(EventKind.LIQUIDITY, token, cents)


def volume(token: str, cents: int) -> MarketEvent:
    """Publish one trade of this many US cents for a token; `token` is a symbol or a mint.

    Raises UnknownToken, DatabaseError and StoreError.
    """
    return tell(EventKind.TRADE, token, cents)


def tell(kind: EventKind, token: str, cents: int) -> MarketEvent:
    """Publish one event of a listed token on the tape."""
    row = models.Token.objects.filter(Q(mint=token) | Q(symbol=token)).first()
    if row is None:
        raise UnknownToken(f"no token has the symbol or mint {token!r}")
    event_id = str(uuid7())
    venue = VENUES[activity.draw(0, "venue", event_id) % len(VENUES)]
    event = MarketEvent(event_id, kind, row.mint, venue, cents, now_ms())
    tape.publish([event])
    return event


def emit(now: int) -> None:
    """Publish the market events of the complete seconds not yet published by any process; `now` is in epoch ms.

    Raises StoreError, and DatabaseError when a launch or a look-up is due.
    """
    slots = take_slots(now // SLOT_MS - 1)
    if not slots:
        return
    seed = wiring.market().seed
    tokens = {token.mint: token for pair in catalogue().active.values() for token in (pair.token_in, pair.token_out)}
    tape.publish(event for slot in slots for event in activity.happenings(seed, slot, tokens.values()))
    for slot in slots:
        if activity.is_launch(slot, settings.MOCK_LAUNCH_EVERY_S):
            launch_due(seed, slot)
        if slot % LOOK_UP_SLOTS == 0:
            look_up(token for token in tokens.values() if activity.depth(seed, token) is not None)


def look_up(tokens: Iterable[Token]) -> None:
    """Refresh the lookup time of tokens: in the sandbox their rows are the only source of facts, and are always true.

    The facts of other tokens keep their age until an operator saves the token in the admin.
    """
    models.Token.objects.filter(mint__in=[token.mint for token in tokens]).update(facts_at=Now())


def take_slots(last: int) -> range:
    """Take the unpublished slots up to this one; each slot goes to one process."""
    return range(last - int(TAKE_SLOTS()([EMITTED], [last, EMITTED_S, BACKFILL])) + 1, last + 1)


def launch_due(seed: int, slot: int) -> None:
    """Launch the token of this slot, and retire older automatically launched ones."""
    try:
        bring(activity.newcomer(seed, slot))
    except SymbolTaken as reason:
        log.warning("sandbox token not launched", reason=str(reason))
    retire()


def retire() -> None:
    """Deactivate the pairs of all but the newest LAUNCHED_MAX automatically launched tokens."""
    traded = models.Token.objects.filter(Q(sold_in__active=True) | Q(bought_in__active=True)).distinct()
    births = {row.mint: activity.born(row.mint) for row in traded}
    launched = sorted((slot, mint) for mint, slot in births.items() if slot is not None)
    old = [mint for _, mint in launched[:-LAUNCHED_MAX]]
    models.Pair.objects.filter(Q(token_in__in=old) | Q(token_out__in=old)).update(active=False)
    catalogue.forget()
