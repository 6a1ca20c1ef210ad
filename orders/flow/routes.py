"""Route a try: choose the venue and the minimum output, or return why the order cannot be tried now."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from engine.failures import BelowOwnPrice, BeyondMaximum, NoVenueQuotes, TooLargeForPools, TooMuchImpact
from engine.money import MATHS, plain, shown
from engine.orders import Order
from engine.quotes import CannotFill, NoQuote
from engine.triggers import LEVEL_MAX, level
from orders.flow import endings, trading_limits
from orders.flow.progress import Move
from orders.flow.trading_limits import Rejected
from orders.stores import order_codec
from orders.stores.claims import Claim
from routing import router
from routing.risk_limits import risk_limits
from routing.router import Basis, Route

U64_MAX = 2**64 - 1
"""Largest amount an instruction can hold."""


class Routed(msgspec.Struct, frozen=True):
    """A claimed order with its route, the minimum output it accepts and the most it spends, in base units."""

    claim: Claim
    route: Route
    minimum_out: int
    maximum_in: int


def route(claims: Iterable[Claim], bases: Mapping[str, Basis]) -> tuple[list[Routed], list[Move]]:
    """Choose venue and minimum output of each order; also return the moves of the orders without a route.

    An error in one order does not affect the others.
    """
    routed, moves = [], []
    for claim in claims:
        try:
            routed.append(chosen(claim, bases[claim.order.pair.name]))
        except PriceGone as reason:
            moves.append(rest_again(claim, reason))
        except NoQuote as reason:
            moves.append(endings.after(claim, NoVenueQuotes(f"no venue has a usable quote now: {reason}")))
        except CannotFill as reason:
            moves.append(endings.after(claim, TooLargeForPools(f"no venue can fill this amount: {reason}")))
        except PriceImpact as reason:
            moves.append(endings.after(claim, TooMuchImpact(str(reason))))
        except SpendsTooMuch as reason:
            moves.append(endings.after(claim, BeyondMaximum(str(reason))))
        except Rejected as reason:
            trading_limits.tell({claim.order.id: reason})
            moves.append(endings.beyond_impact(claim, reason))
        except Exception as reason:
            moves.append(endings.after(claim, endings.defect(claim.order.id, reason)))
    return routed, moves


def chosen(claim: Claim, basis: Basis) -> Routed:
    """Choose one order's venue.

    Raises PriceGone, NoQuote, CannotFill, PriceImpact, SpendsTooMuch, Rejected.
    """
    order = claim.order
    best = best_route(order, router.only(basis, trading_limits.venues(order)))
    minimum_out = order.minimum_out(best.winner.amount_out)
    if max(minimum_out, best.winner.amount_out) > U64_MAX:
        raise CannotFill(f"{best.winner.amount_out} base units exceed what an instruction can hold")
    return Routed(claim, best, minimum_out, order.maximum_in(best.winner.amount_in))


def best_route(order: Order, usable: Basis) -> Route:
    """Return the best route that the order accepts, through a failing venue only if there is no other.

    Raises PriceGone, NoQuote, CannotFill, PriceImpact, SpendsTooMuch, Rejected.
    """
    try:
        return good_enough(order, affordable(order, router.choose(usable, order.amount_in, order.amount_out)))
    except (PriceGone, NoQuote, CannotFill, PriceImpact, SpendsTooMuch, Rejected):
        if not usable.spare:
            raise
    return best_route(order, router.with_spare(usable))


class PriceGone(Exception):
    """The best venue would not fill the order at its own price; `needed` is the price, net of fees, that would."""

    def __init__(self, message: str, needed: Decimal) -> None:
        super().__init__(message)
        self.needed = needed


def good_enough(order: Order, chosen: Route) -> Route:
    """Pass a route that fills the order at its own price or better.

    Raises PriceGone.
    """
    offer = chosen.winner
    if offer.amount_out >= order.floor_out:
        return chosen
    token = order.pair.token_out
    raise PriceGone(
        f"{offer.quote.venue}, the best venue, would pay {shown(offer.amount_out, token)} {token.symbol}, "
        f"less than the {shown(order.floor_out, token)} that the order's own price requires",
        # Assumes that the order's size costs as much at the next price as at the current depth.
        MATHS.divide(MATHS.multiply(offer.quote.net_price, order.floor_out), Decimal(offer.amount_out)),
    )


def rest_again(claim: Claim, gone: PriceGone) -> Move:
    """Return an order to the book, to fire only at a price that can fill its size."""
    order, failure = claim.order, BelowOwnPrice(str(gone))
    if order.limit_price is None:
        return endings.back(endings.tried(claim), order, claim.returns, failure)
    ticks = max(level(gone.needed, order.pair.tick) + 1, level(order.limit_price, order.pair.tick))
    body = order_codec.dumps(order, claim.since, MATHS.multiply(order.pair.tick, min(ticks, LEVEL_MAX)))
    return endings.back(endings.tried(claim), order, claim.returns, failure, body)


class PriceImpact(Exception):
    """The order is so large for its pools, or so small for their rounding, that its size worsens its price too much."""


class SpendsTooMuch(Exception):
    """The best venue takes more for the exact amount that the order buys than it may spend."""


def affordable(order: Order, chosen: Route) -> Route:
    """Pass a route that the order's amount pays for, with a price impact within ORDER_MAX_IMPACT_BPS and the limits.

    Raises PriceImpact, SpendsTooMuch, Rejected.
    """
    impact = chosen.winner.impact_bps(order.pair)
    if impact > risk_limits.ORDER_MAX_IMPACT_BPS:
        raise PriceImpact(
            f"price impact of {percent(impact)} at {chosen.winner.quote.venue}, the best venue, exceeds the limit of "
            f"{percent(Decimal(risk_limits.ORDER_MAX_IMPACT_BPS))}"
        )
    if beyond := trading_limits.beyond_impact(order, impact):
        raise beyond
    if chosen.winner.amount_in > order.amount_in:
        token, needed = order.pair.token_in, chosen.winner.amount_in
        raise SpendsTooMuch(
            f"{chosen.winner.quote.venue}, the best venue, would take {shown(needed, token)} {token.symbol} for "
            f"amountOut, more than the {shown(order.amount_in, token)} that the order may spend"
        )
    return chosen


def percent(bps: Decimal) -> str:
    return f"{plain(bps.scaleb(-2))} %"
