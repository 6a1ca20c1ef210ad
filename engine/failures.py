"""Every failure the engine can report for an order, with its code and whether a retry or a replay may help."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a try failed; `message` is a human-readable sentence."""

    CODE: ClassVar[str]
    RETRY: ClassVar[bool] = True
    REPLAY: ClassVar[bool] = True

    message: str

    @property
    def code(self) -> str:
        """The machine-readable code of the failure."""
        return self.CODE

    @property
    def retryable(self) -> bool:
        """Whether another try of the same order may succeed."""
        return self.RETRY

    @property
    def replayable(self) -> bool:
        """Whether a new order, placed later, may succeed."""
        return self.REPLAY


class NoVenueQuotes(Failure):
    """No venue has a usable quote, so nothing was tried."""

    CODE = "no_quote"


class ChainUnavailable(Failure):
    """The chain returned no blockhash, so nothing was tried."""

    CODE = "chain_unreachable"


class Halted(Failure):
    """An operator halted the order's pair, venue or account, or all trading, before its transaction was sent."""

    CODE = "halted"


class Reducing(Failure):
    """An operator allowed sales for the quote token alone, before the transaction of this purchase was sent."""

    CODE = "reducing"


AWAY = frozenset({NoVenueQuotes.CODE, ChainUnavailable.CODE, Halted.CODE, Reducing.CODE})
"""Failure codes of an outage, or of a halt or the like: nothing was tried, so no try is used up."""


class TooLargeForPools(Failure):
    """No pool can fill this amount."""

    CODE = "cannot_fill"
    RETRY = REPLAY = False


class TooMuchImpact(Failure):
    """The price impact of the order's own size exceeds the risk limit."""

    CODE = "price_impact"
    RETRY = REPLAY = False


class BeyondImpact(Failure):
    """The price impact of the order's own size exceeds a trading limit."""

    CODE = "rejected_impact"
    RETRY = REPLAY = False


class BeyondMaximum(Failure):
    """No venue sells the exact amount that the order buys for what it may spend."""

    CODE = "maximum_exceeded"
    RETRY = False


class BelowOwnPrice(Failure):
    """The price that triggered the order is no longer available."""

    CODE = "price_gone"


class Withdrawn(Failure):
    """The worker stopped before it sent the transaction."""

    CODE = "withdrawn"


class AttemptsExhausted(Failure):
    """The order used up its tries without submitting a transaction."""

    CODE = "attempts_exhausted"
    RETRY = False


class DeadlinePassed(Failure):
    """The order could not be tried before its deadline."""

    CODE = "deadline_passed"
    RETRY = False


class RefusedByTokenChecks(Failure):
    """The token of a sniper order failed a token check."""

    CODE = "gate_refused"
    RETRY = REPLAY = False


class NotTraded(Failure):
    """The token of a sniper order is not traded against the token the order sells."""

    CODE = "no_pair"
    RETRY = REPLAY = False


class Defect(Failure):
    """An error in the engine itself stopped this order."""

    CODE = "defect"


@dataclass(frozen=True, slots=True)
class ChainDecided(Failure):
    """The chain rejected the transaction, or it never landed; the code is the chain's."""

    chain_code: str

    @property
    def code(self) -> str:
        """Return the chain's code."""
        return self.chain_code


@dataclass(frozen=True, slots=True)
class AwayTooLong(Failure):
    """A dependency of the order was unavailable until its deadline; the code names the dependency."""

    RETRY: ClassVar[bool] = False

    away: str

    @property
    def code(self) -> str:
        """Return the code of the dependency that was unavailable."""
        return self.away
