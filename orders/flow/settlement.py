"""Settle submitted orders: open attempts are looked up in batches, and no worker slot is held while waiting.

Two of the order worker's duties are here. `look` asks the chain about watched signatures, often. `audit` goes through
Postgres for attempts that have been open for a while: it resends the same bytes, watches them again if Redis lost them,
expires those whose blockhash is past its last valid height, and decides about those a worker left unsent.

Under a halt open attempts are looked up and expire as ever, and nothing is resent: the bytes of an attempt that is
committed as sent may never have left, and its fate does not depend on another send. It lands, or its blockhash expires
and it is proven dead, within about a minute.

No worker holds a submitted order. It is identified by the signature of its transaction, not by seq or fence, so any
worker may apply the result.
"""

import threading
from collections.abc import Iterator, Sequence

import structlog
from django.conf import settings

from engine import events
from engine.event_kinds import Confirmed
from engine.events import Fill
from engine.failures import ChainDecided, Failure, Withdrawn
from engine.lifecycle import FINAL, AttemptState, Status
from engine.orders import waits
from orders.flow import endings, progress, restoring
from orders.flow.endings import NOT_NOW, Tried
from orders.flow.pauses import pauses
from orders.flow.progress import Move
from orders.models import Scope
from orders.stores import attempts, chain_results, live, lookups
from orders.stores.attempts import Prepared
from orders.stores.chain_results import Settled
from orders.stores.live import Standing
from orders.telemetry import traces
from routing.catalogue import UnknownPair, catalogue
from routing.chain import LOOKUP_LIMIT, ChainUnreachable, Finding, Landing, Look, TransactionRefused
from routing.crashpoints import Store, step
from routing.store import now_ms
from routing.wiring import chain

log = structlog.get_logger(__name__)

watched = threading.Event()
"""Calls the duty that looks up signatures: some were just added."""

LOOKS_PER_SECOND = 10_000
"""Maximum signatures looked up per second; with more of them open, each is looked up less often."""


def broadcast(sent: Sequence[Prepared]) -> None:
    """Send the bytes of attempts committed as sent. A missing answer proves nothing, so `audit` resends."""
    # Asked again: this worker may have been frozen since it committed them.
    going = unhalted([attempt.signature for attempt in sent])
    if going:
        deliver([attempt.raw for attempt in sent if attempt.signature in going])


def unhalted(signatures: Sequence[str]) -> set[str]:
    """Return the attempts whose bytes may leave now."""
    return set(signatures) - (attempts.halted(signatures) if pauses().any_halt else set())


def withhold(signatures: Sequence[str]) -> None:
    """Withdraw attempts that could not be committed as sent, because of a halt, and move their orders on.

    Attempts that another worker sent are left alone.
    """
    gone = attempts.withdraw(signatures)
    if gone:
        # The rows said so: this process may not have read them yet.
        pauses.forget()
        conclude(chain_results.by_signature(sorted(gone)))


@step("send", Store.CHAIN, "the transaction is sent")
def deliver(raws: Sequence[bytes]) -> bool:
    """Send bytes to the chain; return False if it did not answer.

    Attempts the chain refuses stay open like any others until their blockhash has expired: only that proves them dead.
    """
    try:
        with traces.call("send transactions", {"engine.batch.transactions": len(raws)}):
            chain().send(raws)
    except ChainUnreachable as reason:
        log.warning("broadcast unanswered, will resend", attempts=len(raws), reason=str(reason))
        return False
    except TransactionRefused as reason:
        log.error("transactions refused by the chain", reason=str(reason))
    return True


def watch(signatures: Sequence[str]) -> None:
    """Schedule look-ups of these signatures, starting now: this process' own `look` is called at once."""
    lookups.add(signatures, 0, now_ms())
    watched.set()


def look() -> int:
    """Look up the watched signatures that are due, at most LOOKUP_LIMIT; return how many were looked up."""
    due = lookups.due(LOOKUP_LIMIT, settings.CONFIRM_POLL_MS, LOOKS_PER_SECOND)
    if due:
        with traces.call("look up signatures", {"engine.batch.transactions": len(due)}):
            seen = chain().look(due)
        conclude(decided(seen))
    return len(due)


def audit() -> int:
    """Audit up to LOOKUP_LIMIT attempts open for longer than CONFIRM_RESEND_MS; return how many there were."""
    decide_left()
    taken = attempts.unsettled(settings.CONFIRM_RESEND_MS, LOOKUP_LIMIT)
    if not taken:
        return 0
    seen = chain().look([signature for signature, _, _ in taken])
    conclude(decided(seen))
    unknown = [attempt for attempt in taken if seen.findings[attempt[0]].landing is Landing.UNKNOWN]
    dead = [signature for signature, _, height in unknown if seen.finalized_height > height]
    conclude(chain_results.settle(AttemptState.EXPIRED, [expiry(signature) for signature in dead], now_ms()))
    resend([attempt for attempt in unknown if attempt[0] not in dead])
    return len(taken)


def decide_left() -> None:
    """Send or withdraw attempts whose worker has done neither for the length of a lease.

    An attempt whose order is submitted with it is sent, unless it is halted: its worker stopped between the
    compare-and-set and the send. Any other is withdrawn. If its worker wakes up and wins the compare-and-set after all,
    it can no longer mark the attempt as sent.
    """
    left = attempts.left_prepared(settings.ORDER_LEASE_MS, LOOKUP_LIMIT)
    here = live.statuses([order_id for order_id, _, _ in left])
    submitted = {signature for order_id, signature, _ in left if (one := here.get(order_id)) and one.tx == signature}
    withdrawn = attempts.withdraw([signature for _, signature, _ in left if signature not in submitted])
    won = attempts.mark_sent(sorted(submitted))
    withhold(sorted(submitted - won))
    if left:
        log.warning("attempts abandoned by their workers", sent=len(won), withdrawn=len(withdrawn))
    resend([(signature, raw, 0) for _, signature, raw in left if signature in won])


def resend(unknown: Sequence[tuple[str, bytes, int]]) -> None:
    """Broadcast the same bytes again, except under a halt, and watch them."""
    allowed = unhalted([signature for signature, _, _ in unknown])
    again = [(signature, raw) for signature, raw, _ in unknown if signature in allowed]
    if again and deliver([raw for _, raw in again]):
        attempts.note_resent([signature for signature, _ in again])
    watch([signature for signature, _, _ in unknown])


def expiry(signature: str) -> Finding:
    """Return the finding for an attempt whose blockhash expired before the chain executed it."""
    return Finding(signature, Landing.UNKNOWN, error_code="expired", error="its blockhash expired before it landed")


def decided(seen: Look) -> list[Settled]:
    """Record the attempts that landed or were rejected."""
    by_landing = {landing: [f for f in seen.findings.values() if f.landing is landing] for landing in Landing}
    now = now_ms()
    return [
        *chain_results.settle(AttemptState.LANDED, by_landing[Landing.LANDED], now),
        *chain_results.settle(AttemptState.REJECTED, by_landing[Landing.REJECTED], now),
    ]


def conclude(settled: Sequence[Settled]) -> None:
    """Move the orders of settled attempts: confirmed, retried, back to the book, or failed."""
    if not settled:
        return
    vain = [attempt.order_id for attempt in settled if may_rest_again(attempt)]
    waiting = live.standing(vain)
    won = progress.advance([move for attempt in settled for move in moves(attempt, waiting.get(attempt.order_id))])
    restore_unmoved([attempt for attempt in settled if attempt.order_id not in won])
    lookups.drop([attempt.signature for attempt in settled])


def moves(attempt: Settled, waiting: Standing | None) -> Iterator[Move]:
    """Yield the move of a settled attempt's order; none while its pair is not in the catalogue."""
    try:
        yield move(attempt, waiting)
    except UnknownPair as pair:
        # It must not block the other orders. The sweep retries it.
        log.error("order not settled, its pair is not in the catalogue", order_id=attempt.order_id, pair=str(pair))


def restore_unmoved(unmoved: Sequence[Settled]) -> None:
    """Restore orders that Redis holds neither as submitted with this attempt nor as ended: it has lost data."""
    here = live.statuses([attempt.order_id for attempt in unmoved])
    stray = [order_id for order_id, one in here.items() if one.status not in FINAL]
    restoring.restore(stray, "its attempt is decided")


def may_rest_again(attempt: Settled) -> bool:
    """Return whether a resting order's price was gone when its transaction executed, or it was never sent."""
    rejected = attempt.state is AttemptState.REJECTED and attempt.error_code in NOT_NOW
    return waits(attempt.type) and (rejected or attempt.state is AttemptState.WITHDRAWN)


def move(attempt: Settled, waiting: Standing | None) -> Move:
    """Return the move that follows a settled attempt; `waiting` is given for an order that may rest again."""
    tried = Tried(
        attempt.order_id, attempt.type, Status.SUBMITTED, None, attempt.number, attempt.tries, tx=attempt.signature
    )
    if attempt.state is AttemptState.LANDED:
        return endings.move(tried, confirmed(attempt), at=attempt.settled_at)
    if attempt.state is AttemptState.WITHDRAWN:
        return unsent(tried, attempt, waiting)
    failure = ChainDecided(
        f"transaction {attempt.signature} {attempt.state}: {attempt.error}", chain_code=attempt.error_code
    )
    return again(tried, waiting, failure)


def again(tried: Tried, waiting: Standing | None, failure: Failure) -> Move:
    """Return the move of an order that rests again if it waits, and otherwise is retried or fails."""
    if waiting:
        return endings.back(tried, waiting.order, waiting.returns, failure)
    return endings.ending(tried, failure)


def unsent(tried: Tried, attempt: Settled, waiting: Standing | None) -> Move:
    """Return the move of an order whose attempt was withdrawn; see `endings.stopped` for what a halt does."""
    stop = pauses().halt(catalogue().pair(attempt.pair), attempt.owner, attempt.venue)
    if stop is None:
        withdrawn = Withdrawn("its worker was stopped before it could send the transaction")
        return endings.move(tried, events.retry(withdrawn, 0), unused=True)
    if waits(attempt.type) or stop.scope is Scope.VENUE:
        return again(tried, waiting, stop.failure)
    return endings.cancelled(tried, stop)


def confirmed(attempt: Settled) -> Confirmed:
    """Return the event of the fill, compared with the quote."""
    fill = Fill(attempt.venue, attempt.signature, attempt.slot, attempt.amount_out, attempt.fee_lamports)
    pair = catalogue().pair(attempt.pair)
    return events.confirmed(
        pair, attempt.amount_in, attempt.expected_out, attempt.fee_bps, fill, expected_in=attempt.expected_in
    )


def revisit(order_ids: Sequence[str]) -> None:
    """Resume submitted orders that are not settled: conclude decided attempts, watch open ones."""
    submitted = {i: one for i, one in live.statuses(order_ids).items() if one.status is Status.SUBMITTED}
    unnamed = [order_id for order_id, one in submitted.items() if not one.tx]
    # Orders submitted by the previous engine version, which did not store the transaction in the live state.
    named = attempts.last_sent(unnamed)
    live.name_transactions(named)
    found = chain_results.by_signature([*named.values(), *(one.tx for one in submitted.values() if one.tx)])
    conclude([attempt for attempt in found if attempt.state not in attempts.OPEN])
    watch([attempt.signature for attempt in found if attempt.state in attempts.OPEN])
