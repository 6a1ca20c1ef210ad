"""Decide which claimed orders may be tried now.

An order whose attempt was sent is restored from Postgres; one that has used up its tries or its time fails; one that a
halt covers is cancelled, or rests again; one that is beyond a trading limit by now is cancelled.
"""

from collections.abc import Container, Iterable, Sequence

import structlog

from engine.failures import AWAY, AttemptsExhausted, AwayTooLong, DeadlinePassed, Failure
from engine.lifecycle import AttemptState
from engine.orders import Order
from orders.flow import admission, endings, progress, restoring
from orders.flow.pauses import pauses
from orders.stores import attempts, event_codec
from orders.stores.claims import Claim
from routing.risk_limits import risk_limits
from routing.store import now_ms

log = structlog.get_logger(__name__)


def without_attempt(taken: Sequence[Claim]) -> list[Claim]:
    """Return the orders that have no attempt blocking a new one.

    An attempt that an earlier worker committed and did not send is withdrawn. An order whose attempt was sent is
    restored from Postgres, because its state in Redis is wrong.
    """
    return cleared(taken, [claim for claim in taken if claim.attempt > 1 or claim.seq > 1])


def cleared(taken: Sequence[Claim], doubtful: Sequence[Claim]) -> list[Claim]:
    """Do this check for `doubtful`, the orders that may have an attempt; the others pass unchecked."""
    held = attempts.holding([claim.order.id for claim in doubtful])
    left = [one for one in held if one.state is AttemptState.PREPARED]
    gone = attempts.withdraw([one.signature for one in left])
    on_their_way = {one.order_id for one in held if one.signature not in gone}
    restoring.restore(sorted(on_their_way), "has an attempt that was sent")
    return [claim for claim in taken if claim.order.id not in on_their_way]


def without_halted(taken: Sequence[Claim]) -> list[Claim]:
    """Stop the orders of a halted pair, or all of them; return the others."""
    stopped = halted((claim, "") for claim in taken)
    return [claim for claim in taken if claim.order.id not in stopped]


def halted(asked: Iterable[tuple[Claim, str]]) -> Container[str]:
    """Stop the orders that a halt covers; return their ids. Each comes with its transaction's venue, if it has one.

    Orders that slip through, because this process has not read of the halt yet, are stopped by `attempts.mark_sent`.
    """
    now = pauses()
    if not now.any_halt:
        return ()
    judged = [(claim, now.halt(claim.order.pair, claim.order.owner, venue)) for claim, venue in asked]
    covered = [(claim, stop) for claim, stop in judged if stop]
    progress.advance([endings.stopped(claim, stop) for claim, stop in covered])
    return {claim.order.id for claim, _ in covered}


def beyond_limits(going: Sequence[Claim]) -> Container[str]:
    """End the orders that are beyond a trading limit by now; return their ids."""
    rejected = admission.recheck([claim.order for claim in going])
    ending = [claim for claim in going if claim.order.id in rejected]
    progress.advance([endings.rejected(claim, rejected[claim.order.id]) for claim in ending])
    return rejected


def within_attempts(taken: Sequence[Claim]) -> list[Claim]:
    """Fail orders that have used up their tries. Crashes count as tries, so a poison order ends too."""
    most = risk_limits.MAX_ATTEMPTS
    spent = [claim for claim in taken if claim.tries > most]
    endings.fail((claim, AttemptsExhausted(f"not submitted in {most} tries")) for claim in spent)
    return [claim for claim in taken if claim.tries <= most]


def in_time(taken: Sequence[Claim]) -> list[Claim]:
    """Fail orders whose deadline passed before their first try."""
    now = now_ms()
    late = {claim.order.id for claim in taken if claim.tries == 1 and is_late(claim.order, now)}
    endings.fail((claim, missed(claim)) for claim in taken if claim.order.id in late)
    return [claim for claim in taken if claim.order.id not in late] if late else list(taken)


def missed(claim: Claim) -> Failure:
    """Return why an order missed its deadline, naming what it last waited for if an event says so."""
    last = event_codec.load(claim.trail[-1]) if claim.trail else {}
    if last.get("kind") == "retry" and (retry := last["retry"])["code"] in AWAY:
        return AwayTooLong(f"until its deadline: {retry['message']}", retry["code"])
    return DeadlinePassed("it could not be tried before its deadline")


def is_late(order: Order, now: int) -> bool:
    return order.deadline is not None and order.deadline <= now
