"""Build transactions: publish the chosen venue and amounts to the clients, then sign each order's swap."""

from collections.abc import Sequence

import structlog
from msgspec import structs

from engine import events
from engine.event_kinds import Building, Facts, Routing
from engine.failures import ChainUnavailable
from engine.money import plain
from orders.flow import endings, progress
from orders.flow.progress import Move
from orders.flow.routes import Routed
from orders.stores.attempts import Prepared
from orders.stores.claims import Claim
from routing import epochs, transactions
from routing.chain import Blockhash, ChainUnreachable
from routing.store import now_ms
from routing.venues import VENUES
from routing.wiring import chain, wallet

log = structlog.get_logger(__name__)


def routing(routed: Routed, now: int) -> Routing:
    """Return the `routing` event: the offers compared and the choice made."""
    chosen = routed.route
    missing = sorted(set(VENUES) - {offer.quote.venue for offer in chosen.offers})
    return events.routing(routed.claim.order, chosen.offers, missing, chosen.source, chosen.reason, now)


def building(routed: Routed) -> Building:
    """Return the `building` event: the venue, what is expected and what is accepted."""
    return events.building(routed.claim.order, routed.route.winner, routed.minimum_out, routed.maximum_in)


def build(routed: Sequence[Routed]) -> list[tuple[Claim, Prepared]]:
    """Publish venue and amounts to the clients, then sign.

    Venue and amounts are one decision, published as two events.
    """
    now = now_ms()
    moved = advance([(r.claim, (routing(r, now), building(r))) for r in routed])
    going = [structs.replace(r, claim=moved[r.claim.order.id]) for r in routed if r.claim.order.id in moved]
    if not going:
        return []
    try:
        blockhash = chain().blockhash()
    except ChainUnreachable as reason:
        # Clients read the failure, and a node's address is often its key.
        log.warning("no blockhash to sign with", reason=str(reason))
        failure = ChainUnavailable("no blockhash to sign with: the chain cannot be reached")
        endings.fail((r.claim, failure) for r in going)
        return []
    return sign_each(going, blockhash)


def sign_each(going: Sequence[Routed], blockhash: Blockhash) -> list[tuple[Claim, Prepared]]:
    """Sign each order's transaction. An order that cannot be built fails alone."""
    signed, failed = [], []
    for one in going:
        try:
            signed.append((one.claim, sign(one, blockhash)))
        except Exception as reason:
            failed.append((one.claim, endings.defect(one.claim.order.id, reason)))
    endings.fail(failed)
    return signed


def sign(routed: Routed, blockhash: Blockhash) -> Prepared:
    """Build and sign this attempt's only transaction."""
    claim, offer, order = routed.claim, routed.route.winner, routed.claim.order
    swap = transactions.Swap(
        order_id=order.id,
        attempt=claim.attempt,
        venue=offer.quote.venue,
        mint_in=order.pair.token_in.mint,
        mint_out=order.pair.token_out.mint,
        amount_in=routed.maximum_in,
        min_out=routed.minimum_out,
        exact_out=order.amount_out is not None,
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
        amount_in=routed.maximum_in,
        expected_in=None if order.amount_out is None else offer.amount_in,
        limit_price=None if order.limit_price is None else plain(order.limit_price),
        terms_seq=order.terms_seq,
        epoch=epochs.known(),
        seq=claim.seq + 1,
        at=now_ms(),
        told=claim.trail,
        tries=claim.tries,
    )


def advance(going: Sequence[tuple[Claim, tuple[Facts, ...]]]) -> dict[str, Claim]:
    """Advance claimed orders and keep their claims; return the orders still held by this worker."""
    moves = [
        Move(c.order.id, c.order.type, c.status, c.seq, c.attempt, steps, fence=c.fence, keep=True)
        for c, steps in going
    ]
    won = progress.advance(moves)
    return {c.order.id: c.after(steps[-1].status, won[c.order.id]) for c, steps in going if c.order.id in won}
