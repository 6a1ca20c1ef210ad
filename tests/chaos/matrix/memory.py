"""Redis as it was: a copy of every key, and a server that comes back with it."""

from dataclasses import dataclass
from functools import cache

from django.conf import settings
from redis import Redis

from routing.store import DISTRUST


@dataclass(frozen=True, slots=True)
class Copy:
    """Every key as it was: its name, its time to live in milliseconds (0 for none), its value."""

    keys: tuple[tuple[bytes, int, bytes], ...] = ()


@cache
def server() -> Redis:
    """Return a client beside the engine's own; it leaves bytes as they are."""
    return Redis.from_url(settings.REDIS_URL, protocol=2)


def copied() -> Copy:
    """Copy everything."""
    names = list(server().scan_iter(count=1000))
    pipe = server().pipeline(transaction=False)
    for name in names:
        pipe.pttl(name)
        pipe.dump(name)
    answers = pipe.execute()
    found = zip(names, answers[::2], answers[1::2], strict=True)
    return Copy(tuple((name, max(0, ttl), value) for name, ttl, value in found if value is not None))


def empty() -> None:
    """Lose everything."""
    server().flushdb()


def come_back(copy: Copy, *, noticed: bool = True) -> None:
    """Be as it was.

    The first connection to a server that was started again ends the epoch (routing/store.py), unless it goes unnoticed.
    """
    pipe = server().pipeline(transaction=True)
    pipe.flushdb()
    for name, ttl, value in copy.keys:
        pipe.restore(name, ttl, value)
    if noticed:
        pipe.eval(DISTRUST, 0, "another server")
    pipe.execute()
