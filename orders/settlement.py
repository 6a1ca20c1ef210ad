"""From `submitted` to the end: all open attempts are looked up together, and nothing waits in a worker slot.

Two rounds, run by the order worker.  `look` asks the chain about watched signatures, often.  `audit` goes through
Postgres for attempts that have been open for a while: it sends the same bytes again, watches them anew if Redis lost
them, and proves dead those whose blockhash is past its last valid height.
"""

from collections.abc import Sequence

import structlog
from django.conf import settings

from engine import events
from engine.events import Fill
from engine.lifecycle import AttemptState, Status
from engine.orders import waits
from engine.retry import Failure
from orders import attempts, endings, live, lookups, progress, traces
from orders.attempts import Prepared, Settled
from orders.endings import NO_FILL, Tried
from orders.live import Standing
from orders.progress import Move
from routing.catalogue import catalogue
from routing.chain import LOOKUP_LIMIT, ChainUnreachable, Finding, Landing, Look, TransactionRefused
from routing.store import now_ms
from routing.wiring import chain

log = structlog.get_logger(__name__)

LOOKS_PER_SECOND = 10_000
"""Signatures looked up per second at most; with more of them open each is looked up less often."""


def broadcast(prepared: Sequence[Prepared]) -> None:
    """Send signed bytes.  A chain that does not answer proves nothing: the attempts stay open and `audit` resends."""
    if prepared and deliver([attempt.raw for attempt in prepared]):
        attempts.mark_sent([attempt.signature for attempt in prepared])


def deliver(raws: Sequence[bytes]) -> bool:
    """Hand bytes to the chain; False when it did not answer.

    Bytes it refuses to take in stay open like any others until their blockhash has expired: that alone is proof.
    """
    try:
        with traces.call("send transactions", **{"engine.batch.transactions": len(raws)}):
            chain().send(raws)
    except ChainUnreachable as reason:
        log.warning("broadcast unanswered, will be sent again", attempts=len(raws), reason=str(reason))
        return False
    except TransactionRefused as reason:
        log.error("transactions refused by the chain", reason=str(reason))
    return True


def watch(signatures: Sequence[str]) -> None:
    """Have these signatures looked up from now on."""
    lookups.add(signatures, 0, now_ms())


def look() -> int:
    """Look up the watched signatures that are due, at most LOOKUP_LIMIT; return how many were looked up."""
    due = lookups.due(LOOKUP_LIMIT, settings.CONFIRM_POLL_MS, LOOKS_PER_SECOND)
    if due:
        with traces.call("look up signatures", **{"engine.batch.transactions": len(due)}):
            seen = chain().look(due)
        conclude(decided(seen))
    return len(due)


def audit() -> int:
    """Take up to LOOKUP_LIMIT attempts open for longer than CONFIRM_RESEND_MS; return how many there were."""
    taken = attempts.unsettled(settings.CONFIRM_RESEND_MS, LOOKUP_LIMIT)
    if not taken:
        return 0
    seen = chain().look([signature for signature, _, _ in taken])
    conclude(decided(seen))
    unknown = [attempt for attempt in taken if seen.findings[attempt[0]].landing is Landing.UNKNOWN]
    dead = [signature for signature, _, height in unknown if seen.finalized_height > height]
    conclude(attempts.settle(AttemptState.EXPIRED, [expiry(signature) for signature in dead]))
    resend([attempt for attempt in unknown if attempt[0] not in dead])
    return len(taken)


def resend(unknown: Sequence[tuple[str, bytes, int]]) -> None:
    """Broadcast the same bytes again and watch them."""
    if unknown and deliver([raw for _, raw, _ in unknown]):
        attempts.mark_sent([signature for signature, _, _ in unknown])
    watch([signature for signature, _, _ in unknown])


def expiry(signature: str) -> Finding:
    """Say why an attempt is dead that the chain never executed."""
    return Finding(signature, Landing.UNKNOWN, error_code="expired", error="its blockhash expired before it landed")


def decided(seen: Look) -> list[Settled]:
    """Record what the chain decided."""
    by_landing = {landing: [f for f in seen.findings.values() if f.landing is landing] for landing in Landing}
    return [
        *attempts.settle(AttemptState.LANDED, by_landing[Landing.LANDED]),
        *attempts.settle(AttemptState.REJECTED, by_landing[Landing.REJECTED]),
    ]


def conclude(settled: Sequence[Settled]) -> None:
    """Move the orders of decided attempts: confirmed, another try, back to the book, or failed."""
    vain = [attempt.order_id for attempt in settled if fired_in_vain(attempt)]
    waiting = live.standing(vain)
    progress.advance([move(attempt, waiting.get(attempt.order_id)) for attempt in settled])
    # Those that did not move were moved before, or still stand before `submitted`: their claim or the sweep goes on.
    lookups.drop([attempt.signature for attempt in settled])


def fired_in_vain(attempt: Settled) -> bool:
    """Tell whether the price was gone when a waiting order's transaction came to be executed."""
    return attempt.state is AttemptState.REJECTED and attempt.error_code in NO_FILL and waits(attempt.type)


def move(attempt: Settled, waiting: Standing | None) -> Move:
    """Decide what a settled attempt means for its order; `waiting` is given for one that fired in vain."""
    tried = Tried(attempt.order_id, attempt.type, Status.SUBMITTED, attempt.seq, attempt.number, attempt.tries)
    if attempt.state is AttemptState.LANDED:
        return endings.move(tried, (Status.CONFIRMED, confirmed_facts(attempt)))
    failure = Failure(
        attempt.error_code, f"transaction {attempt.signature} {attempt.state}: {attempt.error}", True, True
    )
    if waiting:
        return endings.back(tried, waiting.order, waiting.returns, failure)
    return endings.ending(tried, failure)


def confirmed_facts(attempt: Settled) -> events.Facts:
    """State what was got, against what was quoted."""
    fill = Fill(attempt.venue, attempt.signature, attempt.slot, attempt.amount_out, attempt.fee_lamports)
    pair = catalogue().pair(attempt.pair)
    return events.confirmed(pair, attempt.amount_in, attempt.expected_out, attempt.fee_bps, fill)


def revisit(order_ids: Sequence[str]) -> None:
    """Go on with submitted orders nobody has settled: conclude what is decided, watch what is open."""
    found = attempts.latest(order_ids)
    conclude([attempt for attempt in found if attempt.state not in attempts.OPEN])
    watch([attempt.signature for attempt in found if attempt.state in attempts.OPEN])
