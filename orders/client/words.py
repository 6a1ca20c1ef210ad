"""The words of the API that a client needs by themselves: types of orders, statuses that end one, conditions."""

from enum import StrEnum


class OrderType(StrEnum):
    """How an order decides when to execute."""

    MARKET = "market"
    LIMIT = "limit"
    SNIPER = "sniper"


class TimeInForce(StrEnum):
    """How long an order waits: until it is cancelled, until a date, or not at all."""

    GTC = "gtc"
    GTD = "gtd"
    IOC = "ioc"


class Kind(StrEnum):
    """What a sniper order may wait for: a token's first pool, the worth of its pools, or what is traded of it."""

    LAUNCH = "launch"
    LIQUIDITY = "liquidity"
    VOLUME = "volume"


FINAL = frozenset({"confirmed", "failed", "cancelled", "expired"})
"""Statuses after which nothing follows."""
