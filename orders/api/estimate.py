"""What an order would get, were it placed now: the same quotes, routing and risk limits, and nothing is placed."""

from collections.abc import Sequence
from typing import Any

from msgspec import to_builtins
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engine import token_checks
from engine.events import quoted
from engine.failures import BeyondMaximum, TooMuchImpact
from engine.money import BPS, plain, price_of, shown
from engine.orders import Order, OrderType
from engine.quotes import CannotFill, NoQuote
from engine.token_checks import Limits
from engine.triggers import judged
from orders.access.callers import Scope
from orders.api import requests, schema, serializers
from orders.api.access import caller_of
from orders.api.filters import refuse_unknown
from orders.flow import balances, trading_limits
from orders.flow.pauses import Paused, pauses
from orders.flow.routes import PriceImpact, SpendsTooMuch, affordable
from orders.flow.trading_limits import Rejected
from orders.stores.order_view import away_bps
from routing import router, tape
from routing.facts import facts
from routing.quotes import cached
from routing.risk_limits import risk_limits
from routing.router import Basis, Route
from routing.store import now_ms

Json = dict[str, Any]


class Estimate(APIView):
    """Says what an order would get."""

    needs = {"POST": Scope.READ}

    @schema.estimate_order
    def post(self, request: Request) -> Response:
        """Work out an order on the last quotes, without placing it.

        `fill` is what it would get this moment, null while no venue has a usable quote; `problem` is what would keep
        it from being filled.  The body, and every refusal, are those of `POST /api/orders/execute`.
        """
        refuse_unknown(request.query_params, ())
        key = request.headers.get(serializers.IDEMPOTENCY_KEY)
        caller = caller_of(request)
        asked = requests.parse(request.data, key, caller.owner)
        return Response(estimate(asked.order, now_ms(), caller.key))


def estimate(order: Order, now: int, key: int | None = None) -> Json:
    """Work out an order on what is known at this moment, in epoch milliseconds, if placed with this API key.

    Raises StoreError, DatabaseError.
    """
    chosen, problem = routed(order, now)
    if stop := pauses().keeping_out(order.pair, order.owner, key):
        problem = problem_of((told := Paused(stop, order.pair)).code, str(told))
    elif beyond := trading_limits.would_reject(order, key):
        problem = problem_of(beyond.code, str(beyond))
    elif short := balances.short_of([order]).get(order.id):
        problem = problem_of(short.code, str(short))
    return {
        "type": order.type,
        "pair": order.pair.name,
        "tokenIn": order.pair.token_in.symbol,
        "tokenOut": order.pair.token_out.symbol,
        "amount": shown(order.amount_in, order.pair.token_in),
        "amountOut": None if order.amount_out is None else shown(order.amount_out, order.pair.token_out),
        "slippageBps": order.slippage_bps,
        "fill": fill(order, chosen, now) if chosen else None,
        "limit": limit(order, now) if order.type is OrderType.LIMIT else None,
        "sniper": sniper(order, now) if order.type is OrderType.SNIPER else None,
        "problem": problem,
    }


def routed(order: Order, now: int) -> tuple[Route | None, Json | None]:
    """Choose a venue as the order worker would; return what stands in the way beside it, or instead of it."""
    name = order.pair.name
    basis = router.from_cache([name], now, risk_limits.QUOTE_FRESH_MS, risk_limits.QUOTE_STALE_MS).get(name)
    if basis is None:
        return None, problem_of("no_quote", f"no venue has a usable quote of {name} now")
    try:
        usable = router.only(basis, trading_limits.venues(order))
    except NoQuote as reason:
        return None, problem_of("no_quote", str(reason))
    chosen, problem = tried(order, usable)
    return tried(order, router.with_spare(usable)) if problem and usable.spare else (chosen, problem)


def tried(order: Order, usable: Basis) -> tuple[Route | None, Json | None]:
    """Choose one of these quotes; return what stands in the way beside it, or instead of it."""
    try:
        chosen = router.choose(usable, order.amount_in, order.amount_out)
        return chosen, too_dear(order, chosen)
    except NoQuote as reason:
        return None, problem_of("no_quote", str(reason))
    except CannotFill as reason:
        return None, problem_of("cannot_fill", f"no venue can fill this amount: {reason}")


def too_dear(order: Order, chosen: Route) -> Json | None:
    """Say that the order is too large for its pools, or its exact amount too dear for what it may spend, if so."""
    try:
        affordable(order, chosen)
    except PriceImpact as reason:
        return problem_of(TooMuchImpact.CODE, str(reason))
    except SpendsTooMuch as reason:
        return problem_of(BeyondMaximum.CODE, str(reason))
    except Rejected as reason:
        return problem_of(reason.code, str(reason))
    return None


def problem_of(code: str, message: str) -> Json:
    """Word what stands in the way, by the code such an order would be refused or fail with."""
    return {"code": code, "message": message}


def fill(order: Order, chosen: Route, now: int) -> Json:
    """State what the winner would pay, and what the others would."""
    offer, (sold, bought) = chosen.winner, (order.pair.token_in, order.pair.token_out)
    fee = -(-offer.amount_in * offer.quote.fee_bps // BPS)
    return {
        "venue": offer.quote.venue,
        "reason": chosen.reason,
        "price": plain(offer.quote.price),
        "feeBps": offer.quote.fee_bps,
        "fee": shown(fee, sold),
        "expectedPrice": plain(price_of(offer.amount_in, offer.amount_out, sold, bought)),
        "expectedIn": shown(offer.amount_in, sold),
        "maximumIn": shown(order.maximum_in(offer.amount_in), sold),
        "expectedOut": shown(offer.amount_out, bought),
        "minimumOut": shown(order.minimum_out(offer.amount_out), bought),
        "impactBps": plain(offer.impact_bps(order.pair)),
        "ageMs": offer.quote.age(now),
        "fresh": offer.quote.age(now) <= risk_limits.QUOTE_FRESH_MS,
        "quotes": [to_builtins(quoted(order, one, now)) for one in chosen.offers],
    }


def limit(order: Order, now: int) -> Json:
    """State where BEST is beside the limit price, and the least the order pays out when it is filled."""
    assert order.limit_price is not None
    best = cached([order.pair.name])[order.pair.name].best
    return {
        "limitPrice": plain(order.limit_price),
        "best": plain(best.net_price) if best else None,
        "ageMs": best.age(now) if best else None,
        "awayBps": away_bps(order.limit_price, best.net_price) if best else None,
        "leastOut": shown(order.floor_out, order.pair.token_out),
    }


def sniper(order: Order, now: int) -> Json:
    """State what the market shows of each condition, and how the token checks would judge the token."""
    mint = order.pair.token_out.mint
    state = tape.states({mint: [one.window_ms for one in order.trigger if one.window_ms]}, now)[mint]
    return {
        "listed": order.pair.token_out.listed,
        "conditions": [judged(one, state) for one in order.trigger],
        "gates": verdicts(order, facts({mint: state})[mint]),
    }


def verdicts(order: Order, known: token_checks.TokenFacts) -> Sequence[Json]:
    """Run the token checks as the sniper worker would."""
    limits = Limits(risk_limits.SNIPE_LIQUIDITY_MIN_USD * 100, risk_limits.SNIPE_TOP_HOLDER_MAX_BPS)
    return [verdict.as_dict() for verdict in token_checks.judge(known, limits, allow_unknown=order.allow_unknown)]
