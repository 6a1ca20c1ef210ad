"""A token's market and the conditions of sniper orders, for tests."""

from decimal import Decimal

from solders.keypair import Keypair
from uuid6 import uuid7

from engine.market import EventKind, MarketEvent
from engine.triggers import Condition, Kind
from orders.flow import sniping
from routing import tape
from routing.catalogue import catalogue
from routing.models import Pair, Token
from routing.store import now_ms

LAUNCH = Condition(Kind.LAUNCH)
DOLLAR = 100


def liquidity(dollars):
    return Condition(Kind.LIQUIDITY, dollars * DOLLAR)


def volume(dollars, seconds):
    return Condition(Kind.VOLUME, dollars * DOLLAR, seconds * 1000)


class Market:
    """A token's market: what happens in it is published, and looked at as the sniper worker does."""

    def __init__(self, mint):
        self.mint = mint

    def event(self, kind, dollars, at=None):
        event = MarketEvent(str(uuid7()), kind, self.mint, "RAYDIUM", dollars * DOLLAR, at or now_ms())
        tape.publish([event])
        sniping.match()
        return event

    def pool(self, dollars=50_000):
        return self.event(EventKind.POOL, dollars)

    def worth(self, dollars):
        return self.event(EventKind.LIQUIDITY, dollars)

    def trade(self, dollars, ago_s=0):
        return self.event(EventKind.TRADE, dollars, now_ms() - ago_s * 1000)


def new_mint():
    return str(Keypair().pubkey())


def list_token(mint, symbol="NOVA1", **facts):
    """Write a token's rows, as whoever launches it does."""
    safe = {"mint_authority": "", "freeze_authority": "", "top_holder_bps": 500}
    token = Token.objects.create(mint=mint, symbol=symbol, decimals=6, **{**safe, **facts})
    sol = Token.objects.get(symbol="SOL")
    Pair.objects.create(token_in=sol, token_out=token, tick=Decimal("0.0001"))
    catalogue.forget()
