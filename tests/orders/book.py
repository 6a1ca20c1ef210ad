"""A look into the book, and a Redis that was restored from an older file."""

from orders.flow import waiting
from orders.operations import reconciliation
from orders.stores import book
from routing import epochs
from routing.store import DISTRUST, redis

PAIR = "SOL-USDC"


def amend(order_id, seq=1, **changes):
    waiting.amend(order_id, seq, changes)


def bucket(price):
    return redis().zrange(f"limit_bucket:{{SOL-USDC}}:{price}", 0, -1)


def in_the_book():
    """Return what is left in the book, once the names of pairs are left aside that have nothing in it."""
    book.pairs()
    return redis().keys("limit*") + redis().keys("snipe*") + redis().keys("waiting:*")


def nothing_but(**found):
    return {**dict.fromkeys(reconciliation.KINDS, 0), **found}


def older_redis():
    """Remember what Redis holds; calling the result makes it so again, as a restart from an older file does."""
    epochs.current()
    before = {name: redis().dump(name) for name in redis().keys("*")}

    def restore():
        redis().flushdb()
        for name, value in before.items():
            redis().restore(name, 0, value)
        # What the first connection to a server with another run id does.
        redis().eval(DISTRUST, 0, "another server")

    return restore
