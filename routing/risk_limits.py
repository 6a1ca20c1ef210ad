"""The current risk limits: the values that operators changed, and the environment's for the others.

Owner of the key `guards`, the mirror of the rows in Postgres (orders/stores/risk_limit_rows.py).  Each process reads it
once per REMEMBER_S, on any thread, so it adds no cost per order.
"""

from collections.abc import Mapping
from types import MappingProxyType

from django.conf import settings

from engine import risk_limits as known
from routing.memory import Memory
from routing.store import StoreError, redis

KEY = "guards"
MIRRORED = "mirrored"
"""A field that is always present.  If it is missing, Redis was emptied and no longer knows the operators' changes."""
REMEMBER_S = 1.0


class NotMirrored(Exception):
    """Redis was emptied, and the risk limits have not been mirrored again."""


def mirror(moves: Mapping[str, int]) -> None:
    """Apply these values, and the environment's for the others, in every process within REMEMBER_S."""
    pipe = redis().pipeline(transaction=True)
    pipe.delete(KEY)
    pipe.hset(KEY, mapping=dict(moves) | {MIRRORED: 1})  # type: ignore[arg-type]
    pipe.execute()
    moved.forget()


def read() -> Mapping[str, int]:
    """Read the operators' changes that are valid with the environment's values.

    Raises StoreError, NotMirrored.
    """
    found: Mapping[str, str] = redis().hgetall(KEY)  # type: ignore[assignment]
    if MIRRORED not in found:
        raise NotMirrored("redis was emptied")
    return MappingProxyType(
        known.moved(defaults(), {name: int(value) for name, value in found.items() if name != MIRRORED})
    )


def defaults() -> dict[str, int]:
    """Return the environment's values of all risk limits."""
    return {name: getattr(settings, name) for name in known.TABLE}


moved: Memory[Mapping[str, int]] = Memory(
    "risk limits", read, MappingProxyType({}), (StoreError, NotMirrored), REMEMBER_S
)
"""The operators' changes, cached."""


class Standing:
    """Descriptor that returns the current value of one risk limit."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> int:
        value = moved().get(self.name)
        default: int = getattr(settings, self.name)
        return default if value is None else value


class RiskLimits:
    """The current values of the risk limits, by name."""

    ORDER_MAX_IMPACT_BPS = Standing()
    MAX_ATTEMPTS = Standing()
    QUOTE_FRESH_MS = Standing()
    QUOTE_STALE_MS = Standing()
    LIMIT_QUOTE_AGE_MS = Standing()
    LIMIT_HOLD_POLLS = Standing()
    LIMIT_VENUES_APART_MAX_BPS = Standing()
    SNIPE_LIQUIDITY_MIN_USD = Standing()
    SNIPE_TOP_HOLDER_MAX_BPS = Standing()
    SNIPE_MARKET_AGE_S = Standing()
    SNIPE_FACTS_AGE_DAYS = Standing()


risk_limits = RiskLimits()
