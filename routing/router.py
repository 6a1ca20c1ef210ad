"""Choosing a venue: from the cache when it is good enough, otherwise by asking."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from engine.money import shortfall_bps
from engine.quotes import NoQuote, Offer, Quote, best, offers
from routing import quotes
from routing.quotes import Cached
from routing.venues import Answer, Silence


class Source(StrEnum):
    """Where the quotes came from."""

    BEST = "best"
    """BEST was fresh."""
    LAST = "last"
    """The last quotes, older than fresh but within the stated age."""
    ASKED = "asked"
    """The venues were asked for this order."""


@dataclass(frozen=True, slots=True)
class Basis:
    """The quotes an order may be routed on, and how they came to hand."""

    source: Source
    quotes: tuple[Quote, ...]
    silences: tuple[Silence, ...] = ()
    """Venues that were asked and had no answer."""


@dataclass(frozen=True, slots=True)
class Route:
    """The venue chosen for one order, with all it was chosen from; the winner first."""

    source: Source
    offers: tuple[Offer, ...]

    @property
    def winner(self) -> Offer:
        """The offer that pays most."""
        return self.offers[0]

    @property
    def reason(self) -> str:
        """Say in a few words why the winner won."""
        if len(self.offers) == 1:
            return f"only {self.winner.quote.venue} has a quote young enough that fills this amount"
        second = self.offers[1]
        if second.amount_out == self.winner.amount_out:
            return f"{self.winner.quote.venue} and {second.quote.venue} pay the same; the first is taken"
        lead = -shortfall_bps(second.amount_out, self.winner.amount_out)
        return f"{self.winner.quote.venue} pays {lead} bps more than {second.quote.venue} after fees and impact"


def from_cache(pairs: Iterable[str], now: int, fresh_ms: int, stale_ms: int) -> dict[str, Basis]:
    """Return a basis for each of these pairs that the cache can serve; the others must be asked for."""
    found = {name: basis(cached, now, fresh_ms, stale_ms) for name, cached in quotes.cached(pairs).items()}
    return {name: usable for name, usable in found.items() if usable}


def basis(cached: Cached, now: int, fresh_ms: int, stale_ms: int) -> Basis | None:
    """Judge one pair's cache: the fresh quotes, BEST the best of them; else the last within `stale_ms`; else nothing.

    A fresh quote excludes older ones: a venue that stopped answering must not win on what it once said.
    """
    fresh = tuple(quote for quote in cached.quotes if quote.age(now) <= fresh_ms)
    if best(fresh):
        return Basis(Source.BEST, fresh)
    last = tuple(quote for quote in cached.quotes if quote.age(now) <= stale_ms)
    return Basis(Source.LAST, last) if best(last) else None


def choose(usable: Basis, amount_in: int) -> Route:
    """Choose the venue that pays most for this amount.

    Raises engine.quotes.NoQuote when none quotes, CannotFill when none can pay for the amount.
    """
    if usable.silences and not usable.quotes:
        raise NoQuote("; ".join(silence.reason for silence in usable.silences))
    return Route(usable.source, tuple(offers(usable.quotes, amount_in)))


def asked(answers: Sequence[Answer]) -> Basis:
    """Make a basis of what the venues just said."""
    return Basis(
        Source.ASKED,
        tuple(answer for answer in answers if isinstance(answer, Quote)),
        tuple(answer for answer in answers if isinstance(answer, Silence)),
    )
