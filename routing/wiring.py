"""The venues, chain and wallet of this process: those of the sandbox, until there are live adapters."""

import random
from collections.abc import Callable
from functools import cache

from django.conf import settings
from solders.keypair import Keypair

from routing.catalogue import catalogue
from routing.chain import Chain
from routing.outages import is_down
from routing.sandbox import faults
from routing.sandbox.ledger import SandboxLedger
from routing.sandbox.market import FUNDED, Market
from routing.sandbox.replay import Replay
from routing.sandbox.runtime import Behaviour, Runtime
from routing.sandbox.venue import SandboxVenue
from routing.store import now_ms
from routing.transactions import Wallet
from routing.venues import VENUES, Venue

EXECUTION_NOISE_BPS = 8
"""The most by which a sandbox execution falls short of the pool's output."""


@cache
def misbehaviour() -> Callable[[], faults.Faults]:
    """Return a function that returns the sandbox's current faults."""
    return faults.following(settings.MOCK_FAULTS)


@cache
def market() -> Market:
    """Return the sandbox market; the same settings give the same market in every process."""
    low, high = settings.MOCK_PRICE_VARIATION_PCT
    replay = None
    if settings.MARKET_REPLAY:
        replay = Replay.load(settings.MARKET_REPLAY, settings.MARKET_REPLAY_SPEED, settings.MARKET_REPLAY_START)
    return Market(settings.MOCK_SEED, low * 100, high * 100, replay)


@cache
def venues() -> tuple[Venue, ...]:
    """Return every venue this engine trades on."""
    rng = random.Random()
    return tuple(
        SandboxVenue(name, market(), settings.MOCK_QUOTE_DELAY_MS, now_ms, rng, is_down=is_down, faults=misbehaviour())
        for name in VENUES
    )


def is_mock() -> bool:
    """Tell whether any venue is simulated: then no price on it is to be taken for a real one."""
    return any(isinstance(venue, SandboxVenue) for venue in venues())


def funds() -> tuple[int, str]:
    """Return what accounts begin with, in whole tokens, and of which (with commas): play money of the sandbox."""
    return (settings.MOCK_FUNDS, FUNDED) if is_mock() else (0, "")


@cache
def chain() -> Chain:
    """Return the chain transactions are sent to."""
    behaviour = Behaviour(
        confirm_delay_ms=settings.MOCK_CONFIRM_DELAY_MS,
        reject_rate=settings.MOCK_REJECT_RATE,
        # Without price variation the sandbox is exact, so that the engine's own arithmetic can be verified.
        noise_bps=EXECUTION_NOISE_BPS if settings.MOCK_PRICE_VARIATION_PCT[1] else 0,
        valid_ms=settings.MOCK_BLOCKHASH_VALID_MS,
    )
    runtime = Runtime(market(), lambda mint: catalogue().tokens[mint], settings.MOCK_SEED, behaviour)
    return SandboxLedger(runtime, random.Random(), settings.MOCK_DROP_RATE, faults=misbehaviour())


@cache
def wallet() -> Wallet:
    """Return the signing wallet; the sandbox's is derived from its seed and holds no funds."""
    return Wallet.of(Keypair.from_seed(settings.MOCK_SEED.to_bytes(8, "big").rjust(32, b"\0")))
