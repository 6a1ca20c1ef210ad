"""Moves as tests make them: of a claimed order, with an event that says little."""

from engine.lifecycle import Status
from orders.stores import claims, swaps
from orders.stores.swaps import Becoming, Swap, Where
from routing import epochs

EVENT = '{"n":1}'


def claimed(order_id, **options):
    """Claim one order."""
    (claim,) = claims.claim([order_id], **options).claims
    return claim


def swap(claim, to=Status.ROUTING, event=EVENT, **changes):
    """Make a move of a claimed order."""
    where = {"status": claim.status, "seq": claim.seq, "fence": claim.fence}
    becoming = {"look_in_ms": 0}
    for name, value in changes.items():
        (where if name in Where.__struct_fields__ else becoming)[name] = value
    return Swap(Where(claim.order.id, **where), Becoming(to, **becoming), (event,))


def carry_out(*moves):
    """Carry out moves; return the ids that won."""
    return swaps.advance(epochs.current(), moves)


def step(claim, **changes):
    """Make and carry out one move."""
    return carry_out(swap(claim, **changes))
