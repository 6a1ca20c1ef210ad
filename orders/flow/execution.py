"""Execute orders from a wake-up to `submitted`, a batch at a time, with one store round trip per stage."""

from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from threading import BoundedSemaphore

import structlog
from django.db import InterfaceError, InternalError, OperationalError, close_old_connections

from engine.event_kinds import Submitted
from engine.failures import Defect
from engine.quotes import Pair
from orders.flow import building, decisions, eligibility, endings, progress, restoring, routes, settlement
from orders.flow.progress import Move
from orders.stores import attempts, claims, live
from orders.stores.attempts import Prepared
from orders.stores.claims import Claim, hands
from orders.telemetry import traces
from orders.telemetry.log_fields import about
from routing import router
from routing.asking import asker
from routing.chain import ChainUnreachable
from routing.risk_limits import risk_limits
from routing.router import Basis
from routing.store import StoreError, now_ms
from routing.venues import Answer

log = structlog.get_logger(__name__)


ASKING_THREADS = 8
"""Batches that resume at once after their venues answered; the others queue without holding a worker slot."""
ASKED_MAX = 1_000
"""Batches that may wait for venues at once; above this, orders are handed back instead."""

OUTAGES = (StoreError, OperationalError, InterfaceError, InternalError, ChainUnreachable)
"""A store or the chain does not answer, or accepts no writes, such as a Postgres that is temporarily read-only."""


asked = BoundedSemaphore(ASKED_MAX)
"""One permit per batch that is waiting for venues."""


def carry(order_ids: Sequence[str]) -> None:
    """Execute these orders up to `submitted`.

    Orders that are finished, claimed by another worker or not yet ready are skipped. An order that lacks a fresh quote
    resumes on its own once the venues have answered.
    """
    claimed = claims.claim(order_ids)
    # Claimed orders come first, so that an error in the steps below cannot leave them unexecuted.
    work(claimed.claims, begin)
    if claimed.missing:
        restoring.restore(claimed.missing, "missing from Redis")
    if claimed.submitted:
        settlement.revisit(claimed.submitted)
    if claimed.intended:
        decisions.complete(claimed.intended)
    for order_id in claimed.alone:
        carry_alone(order_id)


def carry_alone(order_id: str) -> None:
    """Execute a suspected poison order, one that may have killed its workers, in a batch of its own.

    Only one such order executes at a time across all workers. If another one is executing, this one is left to the
    sweep.
    """
    with claims.alone() as free:
        if free:
            work(claims.claim([order_id], alone=True).claims, begin)


def work(taken: Sequence[Claim], act: Callable[[Sequence[Claim]], None]) -> None:
    """Run `act` on claimed orders; hand back what it has not finished if it raises.

    An outage uses up no try. Any other error counts like a worker crash, since it would recur: after two of these an
    order is executed by itself, so that it cannot affect others.
    """
    if not taken:
        return
    try:
        with hands.holding(taken):
            act(taken)
    except OUTAGES as reason:
        log.warning("orders not tried, will retry", reason=repr(reason), **about([c.order.id for c in taken]))
        claims.hand_back(taken, tried=False)
    except Exception:
        log.exception("orders handed back after a defect", **about([claim.order.id for claim in taken]))
        claims.hand_back(taken, tried=True)


def begin(taken: Sequence[Claim]) -> None:
    """Start a try of these orders."""
    free = eligibility.without_halted(eligibility.without_attempt(taken))
    fresh = eligibility.in_time(eligibility.within_attempts(free))
    bases = router.from_cache(
        {claim.order.pair.name for claim in fresh}, now_ms(), risk_limits.QUOTE_FRESH_MS, risk_limits.QUOTE_STALE_MS
    )
    ask_for([claim for claim in fresh if claim.order.pair.name not in bases])
    execute([claim for claim in fresh if claim.order.pair.name in bases], bases)


def execute(taken: Sequence[Claim], bases: dict[str, Basis]) -> None:
    """Route, build and submit; each stage takes the orders the previous one passed."""
    routed, moves = routes.route(taken, bases)
    progress.advance(moves)
    submit(building.build(routed))


def ask_for(waiting: Sequence[Claim]) -> None:
    """Ask the venues to quote these orders' pairs; the orders resume when the answers arrive."""
    by_pair: dict[Pair, list[Claim]] = defaultdict(list)
    for claim in waiting:
        by_pair[claim.order.pair].append(claim)
    for pair, those in by_pair.items():
        if not asked.acquire(blocking=False):
            log.warning("orders not tried, too many await venues", **about([claim.order.id for claim in those]))
            claims.hand_back(those, tried=False)
            continue
        hands.take(those)
        asker().ask(pair).add_done_callback(going_on(those))


def going_on(waiting: Sequence[Claim]) -> "Callable[[Future[list[Answer]]], None]":
    """Return the callback that resumes these orders when the answers arrive, in the context of their task."""
    context = copy_context()

    def go_on(answer: "Future[list[Answer]]") -> None:
        resumption().submit(context.run, resume, waiting, answer)

    return go_on


@cache
def resumption() -> ThreadPoolExecutor:
    """Return the threads that resume orders after their venues answered; none is held while venues are waited for."""
    return ThreadPoolExecutor(ASKING_THREADS, thread_name_prefix="resume")


def resume(waiting: Sequence[Claim], answer: "Future[list[Answer]]") -> None:
    """Resume orders whose venues have answered."""

    def act(taken: Sequence[Claim]) -> None:
        basis = router.asked(answer.result())
        execute(taken, {claim.order.pair.name: basis for claim in taken})

    ids = [claim.order.id for claim in waiting]
    try:
        with traces.work("resume", ids):
            work(waiting, act)
    except Exception:
        # No caller reads this thread's result, so log it. The leases lapse and the sweep retries the orders.
        log.exception("orders not resumed", **about(ids))
    finally:
        hands.drop(waiting)
        asked.release()
        close_old_connections()


def submit(built: Sequence[tuple[Claim, Prepared]]) -> None:
    """Submit signed transactions; the order of the steps must not change.

    Commit the attempts as prepared; move their orders to `submitted` by compare-and-set under the fence; commit them as
    sent, which only one caller wins and a halt refuses; broadcast. A worker that loses the compare-and-set withdraws
    the attempt it committed.
    """
    stopped = eligibility.halted((claim, prepared.venue) for claim, prepared in built)
    built = [(claim, prepared) for claim, prepared in built if claim.order.id not in stopped]
    rejected = eligibility.beyond_limits([claim for claim, _ in built])
    built = [(claim, prepared) for claim, prepared in built if claim.order.id not in rejected]
    outcome = attempts.prepare([prepared for _, prepared in built])
    ours = [(claim, prepared) for claim, prepared in built if claim.order.id in outcome.stands]
    won = announce(ours)
    attempts.withdraw([prepared.signature for claim, prepared in ours if claim.order.id not in won])
    going = [prepared for claim, prepared in ours if claim.order.id in won]
    mine = attempts.mark_sent([prepared.signature for prepared in going])
    settlement.broadcast([prepared for prepared in going if prepared.signature in mine])
    settlement.watch([prepared.signature for prepared in going])
    settlement.withhold([prepared.signature for prepared in going if prepared.signature not in mine])
    refuse([claim for claim, _ in built if claim.order.id not in outcome.stands], outcome.faulty)


def announce(prepared: Sequence[tuple[Claim, Prepared]]) -> Container[str]:
    """Move orders to `submitted` and publish the signature to their clients; return those still held by this worker."""
    return progress.advance(
        [
            Move(
                order_id=claim.order.id,
                type=claim.order.type,
                status=claim.status,
                seq=claim.seq,
                attempt=one.number,
                steps=(Submitted(one.venue, one.signature, one.last_valid_height),),
                fence=claim.fence,
                look_in_ms=live.SUBMITTED_GRACE_MS,
                at=one.at,
            )
            for claim, one in prepared
        ]
    )


def refuse(refused: Sequence[Claim], faulty: Mapping[str, str]) -> None:
    """Handle orders whose attempt Postgres did not accept.

    Either they have an attempt that another worker committed, or they have ended, or their terms changed, or the
    attempt itself cannot be written.
    """
    failures = {i: Defect(f"its attempt cannot be written: {why}") for i, why in faulty.items()}
    endings.fail((claim, failures[claim.order.id]) for claim in refused if claim.order.id in failures)
    free = eligibility.cleared(refused, refused)
    changed = restoring.restore([claim.order.id for claim in free], "ended or amended meanwhile")
    claims.hand_back([claim for claim in free if claim.order.id not in {*changed, *faulty}], tried=False)
