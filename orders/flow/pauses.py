"""Changes operators make while the engine runs: pauses, and the announcement of catalogue edits.

A pause is a row in Postgres. Code that accepts or fires orders sees the rows at most PAUSES_S late; API servers are
notified at once over the channel layer. Paused venues are mirrored in Redis, where the quoting and routing code reads
them.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import DatabaseError, transaction
from redis.exceptions import RedisError

from orders.models import Pause, Scope
from orders.stores import risk_limit_rows
from orders.stores.threads import one_per_loop
from routing import outages
from routing.catalogue import catalogue
from routing.memory import Memory
from routing.store import StoreError
from routing.venues import VENUES

log = structlog.get_logger(__name__)

GROUP = "control"
RETRY_S = 1.0
PAUSES_S = 1.0
"""Maximum age of a process's copy of the pauses."""


class CannotPause(ValueError):
    """This cannot be paused or resumed; the message says why."""


@dataclass(frozen=True)
class Pauses:
    """One reading of what is paused, with the reasons."""

    everything: str | None = None
    pairs: Mapping[str, str] = field(default_factory=dict)
    venues: Mapping[str, str] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Return whether any order could be refused."""
        return self.everything is not None or bool(self.pairs)

    def of(self, pair: str) -> tuple[str, str] | None:
        """Return what pauses trading on a pair, and why; None if its orders are accepted and fire as usual."""
        if self.everything is not None:
            return "trading", self.everything
        return (pair, self.pairs[pair]) if pair in self.pairs else None


def read() -> Pauses:
    rows = list(Pause.objects.values_list("scope", "name", "reason"))
    return Pauses(
        everything=next((reason for scope, _, reason in rows if scope == Scope.EVERYTHING), None),
        pairs={name: reason for scope, name, reason in rows if scope == Scope.PAIR},
        venues={name: reason for scope, name, reason in rows if scope == Scope.VENUE},
    )


pauses = Memory("pauses", read, Pauses(), (DatabaseError,), PAUSES_S)
"""The pauses, as this process knows them."""


def pause(scope: str, name: str, reason: str, by: str) -> Pause:
    """Pause a pair, a venue or all trading; pausing again replaces the reason.

    Raises CannotPause.
    """
    refuse(scope, name)
    row, _ = Pause.objects.update_or_create(scope=scope, name=name, defaults={"reason": reason, "by": by})
    log.warning("paused", what=str(row), reason=reason, by=by)
    transaction.on_commit(pauses_changed)
    return row


def refuse(scope: str, name: str) -> None:
    """Refuse to pause what does not exist, and the last venue that is not paused.

    Raises CannotPause.
    """
    known = {Scope.EVERYTHING: {""}, Scope.PAIR: catalogue().pairs.keys(), Scope.VENUE: set(VENUES)}
    if scope not in known or name not in known[Scope(scope)]:
        raise CannotPause(f"there is no {scope} {name!r} to pause")
    if scope == Scope.VENUE and not set(VENUES) - {*read().venues, name}:
        raise CannotPause(f"{name} is the last venue that is not paused: pause everything instead")


def resume(row: Pause, by: str) -> None:
    """End a pause; the orders it held back fire on the next price."""
    Pause.objects.filter(pk=row.pk).delete()
    log.warning("resumed", what=str(row), by=by)
    transaction.on_commit(pauses_changed)


def pauses_changed() -> None:
    """Notify every process that the pauses have changed."""
    pauses.forget()
    mirror()
    announce("pauses.changed")


def mirror() -> None:
    """Mirror the paused venues and risk limits in Redis for every process; a duty repeats this every few seconds."""
    try:
        # One at a time, so that an older reading never replaces a newer one.
        with transaction.atomic():
            risk_limit_rows.hold()
            outages.withhold(read().venues)
            risk_limit_rows.mirror()
    except (StoreError, DatabaseError) as reason:
        log.warning("pauses and risk limits not mirrored, will retry", reason=str(reason))


def catalogue_changed() -> None:
    """Make every server process reload tokens and pairs; one that misses this does so within seconds anyway."""
    catalogue.forget()
    announce("catalogue.changed")


def announce(what: str) -> None:
    try:
        async_to_sync(get_channel_layer().group_send)(GROUP, {"type": what})
    except (RedisError, OSError) as reason:
        log.warning("change not announced, processes notice within seconds", what=what, reason=str(reason))


HEARD: dict[str, Callable[[], None]] = {"catalogue.changed": catalogue.forget, "pauses.changed": pauses.forget}
"""What a server process does on an announcement."""


class Listener:
    """This server process's subscription to control messages on the channel layer."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None

    def ensure_listening(self) -> None:
        """Start listening on the first request, and again if the listener has ended."""
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.listen())

    async def listen(self) -> None:
        """Handle incoming messages; rejoin the channel layer after losing it."""
        layer = get_channel_layer()
        while True:
            try:
                channel = await layer.new_channel()
                await layer.group_add(GROUP, channel)
                while True:
                    self.obey(await layer.receive(channel))
            except (RedisError, OSError) as reason:
                log.warning("control messages unreachable, rejoining", reason=str(reason))
                await asyncio.sleep(RETRY_S)

    def obey(self, message: dict[str, Any]) -> None:
        if message["type"] in HEARD:
            HEARD[message["type"]]()


@one_per_loop
def listener() -> Listener:
    return Listener()
