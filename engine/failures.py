"""Why a try of an order fails: every failure the engine can report, with its code and what helps against it."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a try ended; `message` is a sentence for people."""

    CODE: ClassVar[str]
    RETRY: ClassVar[bool] = True
    REPLAY: ClassVar[bool] = True

    message: str

    @property
    def code(self) -> str:
        """What names it for machines."""
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
    """No venue has a usable quote; nothing could be tried."""

    CODE = "no_quote"


class ChainUnavailable(Failure):
    """The chain gave no blockhash; nothing could be tried."""

    CODE = "chain_unreachable"


class TooLargeForPools(Failure):
    """No pool can pay for this amount."""

    CODE = "cannot_fill"
    RETRY = REPLAY = False


class TooMuchImpact(Failure):
    """The order's own size would spoil its price."""

    CODE = "price_impact"
    RETRY = REPLAY = False


class BelowOwnPrice(Failure):
    """The price that a waiting order fired on has gone."""

    CODE = "price_gone"


class Withdrawn(Failure):
    """The worker stopped before it sent the transaction."""

    CODE = "withdrawn"


class AttemptsExhausted(Failure):
    """The order has used up its tries without a transaction."""

    CODE = "attempts_exhausted"
    RETRY = False


class DeadlinePassed(Failure):
    """The order could not be tried before its deadline."""

    CODE = "deadline_passed"
    RETRY = False


class RefusedByTokenChecks(Failure):
    """A sniper order's token failed a check."""

    CODE = "gate_refused"
    RETRY = REPLAY = False


class NotTraded(Failure):
    """A sniper order's token is not sold for what the order has."""

    CODE = "no_pair"
    RETRY = REPLAY = False


class Defect(Failure):
    """The engine itself failed on this order."""

    CODE = "defect"


@dataclass(frozen=True, slots=True)
class ChainDecided(Failure):
    """The chain refused the transaction, or it never landed; the code is the chain's."""

    chain_code: str

    @property
    def code(self) -> str:
        """Return the chain's code."""
        return self.chain_code


@dataclass(frozen=True, slots=True)
class AwayTooLong(Failure):
    """What the order waited for was away until its deadline; the code says what."""

    RETRY: ClassVar[bool] = False

    away: str

    @property
    def code(self) -> str:
        """Return the code of what was away."""
        return self.away
