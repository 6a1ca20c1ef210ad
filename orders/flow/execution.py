"""Carrying orders from a wake-up to `submitted`, a batch at a time, one store round trip per stage."""

from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from threading import BoundedSemaphore

import structlog
from django.db import InterfaceError, InternalError, OperationalError, close_old_connections

from engine import events
from engine.failures import Defect
from engine.lifecycle import Status
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
from routing.guards import guards
from routing.router import Basis
from routing.store import StoreError, now_ms
from routing.venues import Answer

log = structlog.get_logger(__name__)


ASKING_THREADS = 8
"""Batches that go on at once after their venues answered; more wait their turn without a slot."""
ASKED_MAX = 1_000
"""Batches whose venues have been asked; past this orders are handed back instead."""

OUTAGES = (StoreError, OperationalError, InterfaceError, InternalError, ChainUnreachable)
"""A store or the chain does not answer, or takes nothing in, as a Postgres that is read-only for a while."""


asked = BoundedSemaphore(ASKED_MAX)
"""Room for batches whose venues have been asked."""


def carry(order_ids: Sequence[str]) -> None:
    """Carry these orders as far as `submitted`.

    Orders that are finished, held by another worker or not yet ready are passed over; one that lacks a fresh quote
    goes on by itself when the venues have answered.
    """
    claimed = claims.claim(order_ids)
    # What is in hand comes first: whatever the others raise, it is not let lie.
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
    """Carry an order that may be what killed its workers, with no other beside it anywhere.

    Where another such order is being carried it is left to the sweep.
    """
    with claims.alone() as free:
        if free:
            work(claims.claim([order_id], alone=True).claims, begin)


def work(taken: Sequence[Claim], act: Callable[[Sequence[Claim]], None]) -> None:
    """Do something with claimed orders; what it leaves in hand when something is away, or goes wrong, is handed back.

    An outage is nobody's fault and uses up no try.  Anything else counts like a worker's death, since it would come
    again: after two of these an order is carried by itself, and no neighbour suffers from it.
    """
    if not taken:
        return
    try:
        with hands.holding(taken):
            act(taken)
    except OUTAGES as reason:
        log.warning("orders not tried, will be again", reason=repr(reason), **about([c.order.id for c in taken]))
        claims.hand_back(taken, tried=False)
    except Exception:
        log.exception("orders given up for now", **about([claim.order.id for claim in taken]))
        claims.hand_back(taken, tried=True)


def begin(taken: Sequence[Claim]) -> None:
    """Begin a try of these orders."""
    fresh = eligibility.in_time(eligibility.within_attempts(eligibility.without_attempt(taken)))
    bases = router.from_cache(
        {claim.order.pair.name for claim in fresh}, now_ms(), guards.QUOTE_FRESH_MS, guards.QUOTE_STALE_MS
    )
    ask_for([claim for claim in fresh if claim.order.pair.name not in bases])
    execute([claim for claim in fresh if claim.order.pair.name in bases], bases)


def execute(taken: Sequence[Claim], bases: dict[str, Basis]) -> None:
    """Route, build and submit: each stage takes what the one before let through."""
    routed, moves = routes.route(taken, bases)
    progress.advance(moves)
    submit(building.build(routed))


def ask_for(waiting: Sequence[Claim]) -> None:
    """Ask the venues for the pairs of these orders; the orders go on when the answers are in."""
    by_pair: dict[Pair, list[Claim]] = defaultdict(list)
    for claim in waiting:
        by_pair[claim.order.pair].append(claim)
    for pair, those in by_pair.items():
        if not asked.acquire(blocking=False):
            log.warning("orders not tried, too many wait for venues", **about([claim.order.id for claim in those]))
            claims.hand_back(those, tried=False)
            continue
        hands.take(those)
        asker().ask(pair).add_done_callback(going_on(those))


def going_on(waiting: Sequence[Claim]) -> "Callable[[Future[list[Answer]]], None]":
    """Return what to do with these orders when the answers are in, as part of the task they came with."""
    context = copy_context()

    def go_on(answer: "Future[list[Answer]]") -> None:
        resumption().submit(context.run, resume, waiting, answer)

    return go_on


@cache
def resumption() -> ThreadPoolExecutor:
    """Return the threads on which orders go on after their venues answered; venue waits hold none of them."""
    return ThreadPoolExecutor(ASKING_THREADS, thread_name_prefix="resume")


def resume(waiting: Sequence[Claim], answer: "Future[list[Answer]]") -> None:
    """Go on with orders whose venues have answered."""

    def act(taken: Sequence[Claim]) -> None:
        basis = router.asked(answer.result())
        execute(taken, {claim.order.pair.name: basis for claim in taken})

    ids = [claim.order.id for claim in waiting]
    try:
        with traces.work("resume", ids):
            work(waiting, act)
    except Exception:
        # Nobody waits for this thread's result: say it, and leave the orders to their leases and the sweep.
        log.exception("orders not resumed", **about(ids))
    finally:
        hands.drop(waiting)
        asked.release()
        close_old_connections()


def submit(built: Sequence[tuple[Claim, Prepared]]) -> None:
    """Take signed transactions out of the house, in this order and no other.

    Commit them as prepared; swap their orders to `submitted` under the fence; commit them as sent, which only one
    caller can; send.  Whoever loses the swap withdraws what it committed.
    """
    outcome = attempts.prepare([prepared for _, prepared in built])
    ours = [(claim, prepared) for claim, prepared in built if claim.order.id in outcome.stands]
    won = announce(ours)
    attempts.withdraw([prepared.signature for claim, prepared in ours if claim.order.id not in won])
    going = [prepared for claim, prepared in ours if claim.order.id in won]
    mine = attempts.mark_sent([prepared.signature for prepared in going])
    settlement.broadcast([prepared for prepared in going if prepared.signature in mine])
    settlement.watch([prepared.signature for prepared in going])
    refuse([claim for claim, _ in built if claim.order.id not in outcome.stands], outcome.faulty)


def announce(prepared: Sequence[tuple[Claim, Prepared]]) -> Container[str]:
    """Swap orders to `submitted` and tell their clients the signature; return those that were still ours."""
    return progress.advance(
        [
            Move(
                order_id=claim.order.id,
                type=claim.order.type,
                status=claim.status,
                seq=claim.seq,
                attempt=one.number,
                steps=((Status.SUBMITTED, events.submitted(one.venue, one.signature, one.last_valid_height)),),
                fence=claim.fence,
                look_in_ms=live.SUBMITTED_GRACE_MS,
                at=one.at,
            )
            for claim, one in prepared
        ]
    )


def refuse(refused: Sequence[Claim], faulty: Mapping[str, str]) -> None:
    """Do with orders whose attempt Postgres did not take what it knows of them.

    They have an attempt, which another worker committed; or they have ended, or have other terms; or the attempt itself
    cannot be written.
    """
    failures = {i: Defect(f"its attempt cannot be written: {why}") for i, why in faulty.items()}
    endings.fail((claim, failures[claim.order.id]) for claim in refused if claim.order.id in failures)
    free = eligibility.cleared(refused, refused)
    changed = restoring.restore([claim.order.id for claim in free], "ended or amended meanwhile")
    claims.hand_back([claim for claim in free if claim.order.id not in {*changed, *faulty}], tried=False)
