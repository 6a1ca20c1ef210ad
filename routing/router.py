"""Choose a venue: by cached quotes if they are recent enough, otherwise by asking the venues."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from engine.money import excess_bps, shortfall_bps
from engine.quotes import NoQuote, Offer, Quote, best, offers
from routing import quotes
from routing.quotes import Cached
from routing.venues import Answer, Silence


class Source(StrEnum):
    """The source of the quotes an order is routed on."""

    BEST = "best"
    """BEST was fresh."""
    LAST = "last"
    """The last quotes, no longer fresh but not yet stale."""
    ASKED = "asked"
    """The venues were asked for this order."""


@dataclass(frozen=True, slots=True)
class Basis:
    """The quotes an order may be routed on, and their source."""

    source: Source
    quotes: tuple[Quote, ...]
    silences: tuple[Silence, ...] = ()
    """Venues that were asked and gave no quote, or were not asked."""
    spare: tuple[Quote, ...] = ()
    """Quotes of failing venues, for orders that no other venue can fill."""
    notes: tuple[str, ...] = ()
    """Sentences about venues that are left out."""


@dataclass(frozen=True, slots=True)
class Route:
    """The routing decision for one order: all offers compared, the winner first."""

    source: Source
    offers: tuple[Offer, ...]
    notes: tuple[str, ...] = ()
    """Sentences about venues that are left out, or are used all the same."""

    @property
    def winner(self) -> Offer:
        """The offer with the highest output, or with the lowest input for an exact output."""
        return self.offers[0]

    @property
    def reason(self) -> str:
        """Explain briefly why the winner was chosen, and why a venue is left out."""
        return "; ".join((self.comparison, *self.notes))

    @property
    def comparison(self) -> str:
        """Explain why the winner was chosen of these offers."""
        if len(self.offers) == 1:
            return f"only {self.winner.quote.venue} has a fresh enough quote that fills this amount"
        second = self.offers[1]
        if (second.amount_in, second.amount_out) == (self.winner.amount_in, self.winner.amount_out):
            return f"{self.winner.quote.venue} and {second.quote.venue} pay the same; the first is taken"
        if second.amount_in != self.winner.amount_in:
            saved = excess_bps(self.winner.amount_in, second.amount_in)
            return f"{second.quote.venue} takes {saved} bps more than {self.winner.quote.venue} with fees and impact"
        lead = -shortfall_bps(second.amount_out, self.winner.amount_out)
        return f"{self.winner.quote.venue} pays {lead} bps more than {second.quote.venue} after fees and impact"


def from_cache(pairs: Iterable[str], now: int, fresh_ms: int, stale_ms: int) -> dict[str, Basis]:
    """Return a basis for each pair that the cache can serve; for the others the venues must be asked."""
    found = {name: basis(cached, now, fresh_ms, stale_ms) for name, cached in quotes.cached(pairs).items()}
    return {name: usable for name, usable in found.items() if usable}


def basis(cached: Cached, now: int, fresh_ms: int, stale_ms: int) -> Basis | None:
    """Choose one pair's usable quotes: the fresh ones; else the last ones within `stale_ms`; else None.

    Fresh quotes exclude older ones: a venue that stopped answering must not win with an old quote.
    """
    fresh = tuple(quote for quote in cached.traded if quote.age(now) <= fresh_ms)
    if best(fresh):
        left_out = (quote for quote in cached.quotes if quote.venue in cached.left_out)
        spare = tuple(quote for quote in left_out if quote.age(now) <= fresh_ms)
        return Basis(Source.BEST, fresh, spare=spare, notes=tuple(cached.left_out.values()))
    last = tuple(quote for quote in cached.quotes if quote.age(now) <= stale_ms)
    return Basis(Source.LAST, last) if best(last) else None


def only(usable: Basis, venues: Collection[str]) -> Basis:
    """Return a basis without the quotes of other venues.

    Raises engine.quotes.NoQuote when none is left of those there were.
    """
    left = tuple(quote for quote in usable.quotes if quote.venue in venues)
    spare = tuple(quote for quote in usable.spare if quote.venue in venues)
    if (len(left), len(spare)) == (len(usable.quotes), len(usable.spare)):
        return usable
    if not left and not spare:
        raise NoQuote(f"only {' and '.join(sorted(venues)) or 'no venue'} may be traded at")
    return replace(usable, quotes=left, spare=spare)


def with_spare(usable: Basis) -> Basis:
    """Return a basis with the failing venues, for an order that no other can fill."""
    notes = (*usable.notes, "it is used all the same, because no other venue can fill the order")
    return replace(usable, quotes=(*usable.quotes, *usable.spare), spare=(), notes=notes)


def choose(usable: Basis, amount_in: int, amount_out: int | None = None) -> Route:
    """Choose the venue with the highest output for `amount_in`, or with the lowest input for exactly `amount_out`.

    Raises engine.quotes.NoQuote when no venue quotes, CannotFill when none can fill the amount.
    """
    if usable.silences and not usable.quotes:
        raise NoQuote("; ".join(silence.reason for silence in usable.silences))
    return Route(usable.source, tuple(offers(usable.quotes, amount_in, amount_out)), usable.notes)


def asked(answers: Sequence[Answer]) -> Basis:
    """Build a basis from the venues' answers."""
    silences = tuple(answer for answer in answers if isinstance(answer, Silence))
    return Basis(
        Source.ASKED,
        tuple(answer for answer in answers if isinstance(answer, Quote)),
        silences,
        notes=tuple(silence.reason for silence in silences),
    )
