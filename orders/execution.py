"""Carrying orders from a wake-up to `submitted`, a batch at a time, one store round trip per stage."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from django.db import close_old_connections

from engine import events
from engine.lifecycle import AttemptState, Status
from engine.money import MATHS, shown
from engine.orders import Order
from engine.quotes import CannotFill, NoQuote, Pair
from engine.retry import Failure
from engine.triggers import LEVEL_MAX, level
from orders import attempts, bodies, endings, live, progress, recovery, settlement, traces
from orders.attempts import Prepared
from orders.endings import Tried
from orders.lines import about
from orders.live import Claim
from orders.progress import Move
from routing import router, transactions
from routing.asking import asker
from routing.chain import Blockhash, ChainUnreachable
from routing.guards import guards
from routing.router import Basis, Route
from routing.store import now_ms
from routing.venues import VENUES, Answer
from routing.wiring import chain, wallet

log = structlog.get_logger(__name__)

Steps = tuple[tuple[Status, dict[str, Any]], ...]
"""Statuses to go through, each with its facts."""

ASKING_THREADS = 8
"""Batches that go on at once after their venues answered; more wait their turn without a slot."""


@dataclass(frozen=True, slots=True)
class Routed:
    """A claimed order with its route and the least it accepts, in base units."""

    claim: Claim
    route: Route
    minimum_out: int


def carry(order_ids: Sequence[str]) -> None:
    """Carry these orders as far as `submitted`.

    Orders that are finished, held by another worker or not yet ready are passed over; one that lacks a fresh quote
    goes on by itself when the venues have answered.
    """
    claimed = live.claim(order_ids)
    if claimed.missing:
        recovery.rebuild(claimed.missing)
    if claimed.submitted:
        settlement.revisit(claimed.submitted)
    fresh = within_attempts(adopt_attempts(claimed.claims))
    bases = router.from_cache(
        {claim.order.pair.name for claim in fresh}, now_ms(), guards.QUOTE_FRESH_MS, guards.QUOTE_STALE_MS
    )
    ask_for([claim for claim in fresh if claim.order.pair.name not in bases])
    execute([claim for claim in fresh if claim.order.pair.name in bases], bases)


def execute(claims: Sequence[Claim], bases: dict[str, Basis]) -> None:
    """Route, build and submit: each stage takes what the one before let through."""
    submit(build(route(claims, bases)))


def adopt_attempts(claims: Sequence[Claim]) -> list[Claim]:
    """Let orders go on with an attempt that another worker committed and left; return those that have none."""
    left = attempts.holding([claim.order.id for claim in claims if claim.attempt > 1 or claim.seq > 1])
    adopt([(claim, left[claim.order.id]) for claim in claims if claim.order.id in left])
    return [claim for claim in claims if claim.order.id not in left]


def adopt(found: Sequence[tuple[Claim, Prepared]]) -> None:
    """Bring each order to `building`, make the attempt its own, and announce it: it is never signed again."""
    behind = [(claim, prepared) for claim, prepared in found if claim.status is not Status.BUILDING]
    moved = advance([(claim, catching_up(claim, prepared)) for claim, prepared in behind])
    found = [
        (moved.get(claim.order.id, claim), prepared)
        for claim, prepared in found
        if claim.status is Status.BUILDING or claim.order.id in moved
    ]
    ours = [(claim, replace(prepared, seq=claim.seq + 1, trail=claim.trail)) for claim, prepared in found]
    attempts.take_over([prepared for _, prepared in ours])
    for claim, prepared in ours:
        log.info("attempt adopted", order_id=claim.order.id, attempt=prepared.number, tx_hash=prepared.signature)
    announce(ours)


def catching_up(claim: Claim, prepared: Prepared) -> Steps:
    """Return the steps to `building`, stating what an earlier worker had decided."""
    facts = events.building(claim.order, prepared.venue, prepared.expected_out, prepared.minimum_out)
    facts = {**facts, "reason": f"attempt {prepared.number} was already signed"}
    return ((Status.ROUTING, facts), (Status.BUILDING, facts))


def within_attempts(claims: Sequence[Claim]) -> list[Claim]:
    """End orders that have used up their tries; crashes count, so a poisonous order ends too."""
    most = guards.MAX_ATTEMPTS
    spent = [claim for claim in claims if claim.tries > most]
    fail((claim, Failure("attempts_exhausted", f"not submitted in {most} attempts", False, True)) for claim in spent)
    return [claim for claim in claims if claim.tries <= most]


def ask_for(claims: Sequence[Claim]) -> None:
    """Ask the venues for the pairs of these orders; the orders go on when the answers are in."""
    by_pair: dict[Pair, list[Claim]] = defaultdict(list)
    for claim in claims:
        by_pair[claim.order.pair].append(claim)
    if claims:
        live.hold(claims, settings.QUOTE_TIMEOUT_MS + settings.ORDER_LEASE_MS)
    for pair, waiting in by_pair.items():
        asker().ask(pair).add_done_callback(going_on(waiting))


def going_on(claims: Sequence[Claim]) -> "Callable[[Future[list[Answer]]], None]":
    """Return what to do with these orders when the answers are in, as part of the task they came with."""
    context = copy_context()

    def go_on(answer: "Future[list[Answer]]") -> None:
        resumption().submit(context.run, resume, claims, answer)

    return go_on


@cache
def resumption() -> ThreadPoolExecutor:
    """Return the threads on which orders go on after their venues answered; venue waits hold none of them."""
    return ThreadPoolExecutor(ASKING_THREADS, thread_name_prefix="resume")


def resume(claims: Sequence[Claim], answer: "Future[list[Answer]]") -> None:
    """Go on with orders whose venues have answered."""
    ids = [claim.order.id for claim in claims]
    try:
        with traces.work("resume", ids):
            basis = router.asked(answer.result())
            execute(claims, {claim.order.pair.name: basis for claim in claims})
    except Exception:
        # Nobody waits for this thread's result: say it, and leave the orders to their leases and the sweep.
        log.exception("orders not resumed", **about(ids))
    finally:
        close_old_connections()


def route(claims: Iterable[Claim], bases: dict[str, Basis]) -> list[Routed]:
    """Choose a venue and the least amount out for each order; one that cannot be routed is retried or ends."""
    routed, failed, gone = [], [], []
    for claim in claims:
        order = claim.order
        try:
            chosen = good_enough(order, affordable(order, router.choose(bases[order.pair.name], order.amount_in)))
            routed.append(Routed(claim, chosen, order.minimum_out(chosen.winner.amount_out)))
        except PriceGone as reason:
            gone.append((claim, reason))
        except NoQuote as reason:
            failed.append((claim, Failure("no_quote", f"no venue has a usable quote now: {reason}", True, True)))
        except CannotFill as reason:
            failed.append((claim, Failure("cannot_fill", f"no venue can fill this amount: {reason}", False, False)))
        except PriceImpact as reason:
            failed.append((claim, Failure("price_impact", str(reason), False, False)))
    fail(failed)
    progress.advance([rest_again(claim, reason) for claim, reason in gone])
    return routed


class PriceGone(Exception):
    """The best venue would not fill the order at the price it named; `needed` is the price, less fee, that would."""

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
        f"less than the {shown(order.floor_out, token)} of the order's own price",
        # What the order's size costs at this depth, it will cost at the next price too.
        MATHS.divide(MATHS.multiply(offer.quote.net_price, order.floor_out), Decimal(offer.amount_out)),
    )


def rest_again(claim: Claim, gone: PriceGone) -> Move:
    """Send an order back to the book, to fire no earlier than at a price that can fill its size."""
    order, failure = claim.order, Failure("price_gone", str(gone), True, True)
    if order.limit_price is None:
        return endings.back(tried(claim), order, claim.returns, failure)
    ticks = max(level(gone.needed, order.pair.tick) + 1, level(order.limit_price, order.pair.tick))
    body = bodies.dumps(order, claim.since, MATHS.multiply(order.pair.tick, min(ticks, LEVEL_MAX)))
    return endings.back(tried(claim), order, claim.returns, failure, body)


def tried(claim: Claim) -> Tried:
    """Say which order it is whose try failed."""
    return Tried(claim.order.id, claim.order.type, claim.status, claim.seq, claim.attempt, claim.tries, claim.fence)


class PriceImpact(Exception):
    """The order is so large for its pools, or so small for their rounding, that its own size spoils its price."""


def affordable(order: Order, chosen: Route) -> Route:
    """Pass a route whose price impact is within ORDER_MAX_IMPACT_BPS.

    Raises PriceImpact.
    """
    impact = chosen.winner.impact_bps(order.pair, order.amount_in)
    if impact > guards.ORDER_MAX_IMPACT_BPS:
        raise PriceImpact(
            f"{chosen.winner.quote.venue}, the best venue, would fill this amount {impact} bps below its quoted price; "
            f"at most {guards.ORDER_MAX_IMPACT_BPS} are allowed"
        )
    return chosen


def routing_facts(routed: Routed, now: int) -> dict[str, Any]:
    """State the choice for the client."""
    chosen = routed.route
    missing = sorted(set(VENUES) - {offer.quote.venue for offer in chosen.offers})
    return events.routing(routed.claim.order, chosen.offers, missing, chosen.source, chosen.reason, now)


def building_facts(routed: Routed) -> dict[str, Any]:
    """State what the order expects."""
    offer = routed.route.winner
    return events.building(routed.claim.order, offer.quote.venue, offer.amount_out, routed.minimum_out)


def build(routed: Sequence[Routed]) -> list[tuple[Claim, Prepared]]:
    """Tell the clients venue and amounts, and sign; the choice and the amounts are one decision, told as two events."""
    now = now_ms()
    moved = advance(
        [(r.claim, ((Status.ROUTING, routing_facts(r, now)), (Status.BUILDING, building_facts(r)))) for r in routed]
    )
    going = [replace(r, claim=moved[r.claim.order.id]) for r in routed if r.claim.order.id in moved]
    if not going:
        return []
    try:
        blockhash = chain().blockhash()
    except ChainUnreachable as reason:
        failure = Failure("chain_unreachable", f"no blockhash to sign with: {reason}", True, True)
        fail((r.claim, failure) for r in going)
        return []
    return [(r.claim, sign(r, blockhash)) for r in going]


def sign(routed: Routed, blockhash: Blockhash) -> Prepared:
    """Build and sign the one transaction of this attempt."""
    claim, offer = routed.claim, routed.route.winner
    order = claim.order
    swap = transactions.Swap(
        order_id=order.id,
        attempt=claim.attempt,
        venue=offer.quote.venue,
        mint_in=order.pair.token_in.mint,
        mint_out=order.pair.token_out.mint,
        amount_in=order.amount_in,
        min_out=routed.minimum_out,
    )
    signed = transactions.sign(swap, blockhash.hash, wallet())
    return Prepared(
        order_id=order.id,
        number=claim.attempt,
        venue=offer.quote.venue,
        signature=signed.signature,
        raw=signed.raw,
        last_valid_height=blockhash.last_valid_height,
        expected_out=offer.amount_out,
        minimum_out=routed.minimum_out,
        fee_bps=offer.quote.fee_bps,
        seq=claim.seq + 1,
        trail=claim.trail,
        state=AttemptState.PREPARED,
        tries=claim.tries,
    )


def submit(built: Sequence[tuple[Claim, Prepared]]) -> None:
    """Commit the attempts, then send them; an order that turns out to have one already goes on with that."""
    committed = attempts.prepare([prepared for _, prepared in built])
    ours = [(claim, prepared) for claim, prepared in built if claim.order.id in committed]
    closed = adopt_attempts([claim for claim, _ in built if claim.order.id not in committed])
    fail((claim, Failure("closed", "the order was closed while it was being built", False, False)) for claim in closed)
    settlement.broadcast([prepared for _, prepared in ours])
    announce(ours)


def announce(sent: Sequence[tuple[Claim, Prepared]]) -> None:
    """Tell clients the signature, and have it looked up from now on."""
    won = progress.advance(
        [
            Move(
                order_id=claim.order.id,
                type=claim.order.type,
                status=claim.status,
                seq=claim.seq,
                attempt=prepared.number,
                steps=((Status.SUBMITTED, submitted_facts(prepared)),),
                fence=claim.fence,
                look_in_ms=live.SUBMITTED_GRACE_MS,
            )
            for claim, prepared in sent
        ]
    )
    settlement.watch([prepared.signature for claim, prepared in sent if claim.order.id in won])


def submitted_facts(prepared: Prepared) -> dict[str, Any]:
    """Name the transaction."""
    return events.submitted(prepared.venue, prepared.signature, prepared.last_valid_height)


def advance(going: Sequence[tuple[Claim, Steps]]) -> dict[str, Claim]:
    """Move claimed orders on and keep them; return those still ours."""
    moves = [
        Move(c.order.id, c.order.type, c.status, c.seq, c.attempt, steps, fence=c.fence, keep=True)
        for c, steps in going
    ]
    won = progress.advance(moves)
    return {c.order.id: c.after(steps[-1][0], won[c.order.id]) for c, steps in going if c.order.id in won}


def fail(failures: Iterable[tuple[Claim, Failure]]) -> None:
    """Let each order be tried again after its backoff, or end it; one that waits for a price goes on waiting."""
    progress.advance([after(claim, failure) for claim, failure in failures])


def after(claim: Claim, failure: Failure) -> Move:
    """Decide what one failed try means."""
    if claim.order.waits and failure.code in endings.NO_FILL:
        return endings.back(tried(claim), claim.order, claim.returns, failure)
    return endings.ending(tried(claim), failure)
