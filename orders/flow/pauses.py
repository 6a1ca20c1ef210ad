"""Changes operators make while the engine runs: pauses, halts, and the announcement of catalogue edits.

A pause is a row in Postgres. Code that accepts or fires orders sees the rows at most PAUSES_S late; API servers are
notified at once over the channel layer. Paused venues are mirrored in Redis, where the quoting and routing code reads
them. A halt is a pause that also stops accepted orders: the statement that commits attempts as sent reads the rows
itself (orders/stores/attempts.py), so it obeys at once, whatever Redis has lost.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model
from django.db import DatabaseError, transaction
from redis.exceptions import RedisError

from engine.failures import Failure, Halted, Reducing
from engine.orders import Order
from engine.quotes import Pair
from orders.models import ApiKey, Pause, PauseState, Scope
from orders.stores import risk_limit_rows
from orders.stores.terms import epoch_ms
from routing import outages
from routing.catalogue import catalogue
from routing.memory import Memory
from routing.store import StoreError
from routing.venues import VENUES

log = structlog.get_logger(__name__)

GROUP = "control"
PAUSES_S = 0.5
"""Maximum age of a process's copy of the pauses."""
KNOWN_WITHIN_S = 1.0
"""How long after its commit a pause counts in every process, the time to act on the last copy included."""


class CannotPause(ValueError):
    """This cannot be paused or resumed; the message says why."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A pause, a halt or `reducing` in force; as text, the sentence that clients and operators read."""

    scope: Scope
    name: str
    state: PauseState
    reason: str
    cancels_resting: bool = False
    subject: int | None = None
    """Id of the user or the API key."""
    since: int = 0
    """Epoch milliseconds."""

    @property
    def is_halt(self) -> bool:
        """Whether it also stops accepted orders, of all that it stops."""
        return self.state is not PauseState.PAUSED

    def stops(self, pair: Pair) -> bool:
        """Tell whether it stops orders of this pair, if it covers them: a sale passes while trading is reducing."""
        return self.state is not PauseState.REDUCING or pair.buys

    @property
    def failure(self) -> Failure:
        """Why an accepted order that it stops is not sent."""
        return (Reducing if self.state is PauseState.REDUCING else Halted)(str(self))

    @property
    def what(self) -> str:
        kinds = {Scope.USER: "trading of the user ", Scope.KEY: "trading with the API key "}
        return f"{kinds.get(self.scope, '')}{self.name or 'trading'}"

    def __str__(self) -> str:
        only = ", only sales for the quote token are accepted" if self.state is PauseState.REDUCING else ""
        return f"{self.what} is {self.state}{only}: {self.reason}"


class Paused(Exception):
    """An operator has stopped what the order is part of; the message says what, why, and what is accepted still."""

    def __init__(self, stop: Stop, pair: Pair) -> None:
        is_reducing, sells = stop.state is PauseState.REDUCING, f"{pair.token_out.symbol}-{pair.token_in.symbol}"
        goes = f"; {pair.name} buys, an order of {sells}, which sells, is accepted" if is_reducing else ""
        super().__init__(f"{stop}{goes}")
        self.code = Reducing.CODE if is_reducing else "paused"


@dataclass(frozen=True)
class Pauses:
    """One reading of what is paused or halted, by scope and name, or the id of its user or key."""

    stops: Mapping[tuple[Scope, str | int | None], Stop] = field(default_factory=dict)

    @property
    def any_halt(self) -> bool:
        """Return whether anything is halted: hardly ever, so the path of every order asks this first."""
        return any(stop.is_halt for stop in self.stops.values())

    @property
    def venues(self) -> dict[str, str]:
        """The venues that are not asked or routed to, with the sentence that says so."""
        stops = (stop for stop in self.stops.values() if stop.scope is Scope.VENUE)
        return {stop.name: str(stop) for stop in stops if stop.state is not PauseState.REDUCING}

    def closed_to(self, order: Order) -> set[str]:
        """Return the venues that only sales are routed to, if the order is none."""
        stops = (stop for stop in self.stops.values() if stop.scope is Scope.VENUE)
        return {stop.name for stop in stops if stop.state is PauseState.REDUCING and stop.stops(order.pair)}

    def of(self, pair: str) -> Stop | None:
        """Return what keeps every order of a pair out and from firing, a halt first; None if nothing does."""
        stops = (stop for stop in self.covering(pair) if stop.state is not PauseState.REDUCING)
        return max(stops, key=lambda stop: stop.is_halt, default=None)

    def keeping_out(self, pair: Pair, owner: int | None, key: int | None = None) -> Stop | None:
        """Return what keeps an account's order, placed with this API key, out and from firing, a halt first."""
        covering = self.covering(pair.name, owner=owner, key=key) if self.stops else ()
        return max((stop for stop in covering if stop.stops(pair)), key=lambda stop: stop.is_halt, default=None)

    def halt(self, pair: Pair, owner: int | None, venue: str = "") -> Stop | None:
        """Return the halt under which no transaction of an account's order, or through a venue, is sent."""
        covering = self.covering(pair.name, venue, owner)
        return next((stop for stop in covering if stop.is_halt and stop.stops(pair)), None)

    def stopping(self, pair: Pair, keys: Iterable[int]) -> Stop | None:
        """Return what keeps one of these API keys from placing or amending an order of this pair, if anything does."""
        found = (self.stops.get((Scope.KEY, key)) for key in keys)
        return next((stop for stop in found if stop and stop.stops(pair)), None)

    def concerning(self, pair: str) -> tuple[Stop, ...]:
        """Return what stops a pair, or a venue that it is traded on, for everybody."""
        return tuple(dict.fromkeys(stop for venue in VENUES for stop in self.covering(pair, venue)))

    def own(self, owner: int, key: int | None) -> tuple[Stop, ...]:
        """Return what stops an account and its API key."""
        return tuple(self.covering("", owner=owner, key=key, wide=False))

    def covering(
        self, pair: str, venue: str = "", owner: int | None = None, key: int | None = None, *, wide: bool = True
    ) -> Iterator[Stop]:
        """Yield the pauses that cover an order, the widest first."""
        everybody = ((Scope.EVERYTHING, ""), (Scope.PAIR, pair), (Scope.VENUE, venue)) if wide else ()
        for one in (*everybody, (Scope.USER, owner), (Scope.KEY, key)):
            if one in self.stops:
                yield self.stops[one]


def read() -> Pauses:
    return Pauses({(stop.scope, stop.subject or stop.name): stop for stop in map(stop_of, Pause.objects.all())})


def stop_of(row: Pause) -> Stop:
    since = epoch_ms(row.created_at)
    return Stop(Scope(row.scope), row.name, PauseState(row.state), row.reason, row.cancels_resting, row.subject, since)


pauses = Memory("pauses", read, Pauses(), (DatabaseError,), PAUSES_S)
"""The pauses, as this process knows them."""


def pause(
    scope: str,
    name: str,
    reason: str,
    by: str,
    state: PauseState = PauseState.PAUSED,
    *,
    cancels_resting: bool = False,
    replaces: bool = True,
) -> Pause:
    """Pause, halt or reduce what a scope names; doing so again replaces the state and the reason.

    With `cancels_resting` the caller then calls `waiting.cancel_halted`. Without `replaces` a stop that is there stays
    as it is, and this cannot pause. Raises CannotPause.
    """
    subject = refuse(scope, name, state, cancels_resting=cancels_resting)
    terms = {"name": name, "reason": reason, "by": by, "state": state, "cancels_resting": cancels_resting}
    which: dict[str, Any] = {"name": name} if subject is None else {"subject": subject}
    put = Pause.objects.update_or_create if replaces else Pause.objects.get_or_create
    row, is_new = put(**which, scope=scope, defaults={**terms, "subject": subject})
    if not (replaces or is_new):
        raise CannotPause(f"{row} is {row.state} already, by {row.by}: {row.reason}")
    log.warning(str(state), what=str(row), reason=reason, by=by, cancels_resting=cancels_resting)
    transaction.on_commit(pauses_changed)
    return row


def refuse(
    scope: str, name: str, state: PauseState = PauseState.PAUSED, *, cancels_resting: bool = False
) -> int | None:
    """Refuse to pause what does not exist, the last venue that is not paused, and to cancel what no halt covers.

    Returns the id of a user or key. Raises CannotPause.
    """
    if cancels_resting and (state is not PauseState.HALTED or scope == Scope.VENUE):
        raise CannotPause("only a halt can cancel resting orders, and none of a venue")
    if scope in SUBJECTS:
        found = SUBJECTS[Scope(scope)](name)
        if found is None:
            raise CannotPause(f"there is no {Scope(scope).label} {name!r}")
        return found
    known = {Scope.EVERYTHING: {""}, Scope.PAIR: catalogue().pairs.keys(), Scope.VENUE: set(VENUES)}
    if scope not in known or name not in known[Scope(scope)]:
        raise CannotPause(f"there is no {scope} {name!r}; WHAT is everything, a pair, a venue, user:NAME or key:PREFIX")
    if scope == Scope.PAIR and state is PauseState.REDUCING and not catalogue().pairs[name].buys:
        raise CannotPause(f"{name} only sells for its quote token: reduce the pair that buys")
    stopped = {stop.name for stop in read().stops.values() if stop.scope is Scope.VENUE}
    if scope == Scope.VENUE and not set(VENUES) - {name} - stopped:
        raise CannotPause(f"{name} is the last venue that is not paused: pause or halt everything instead")
    return None


SUBJECTS: Mapping[Scope, Callable[[str], int | None]] = {
    Scope.USER: lambda name: get_user_model().objects.filter(username=name).values_list("pk", flat=True).first(),
    Scope.KEY: lambda name: ApiKey.objects.filter(prefix=name).values_list("pk", flat=True).first(),
}
"""Find the id of a user by its name, and of an API key by its prefix."""


def find(scope: Scope, name: str) -> Pause | None:
    """Return what stops what a scope names, if anything does: a user by the name it has now."""
    subject = SUBJECTS[scope](name) if scope in SUBJECTS else None
    rows = Pause.objects.filter(scope=scope)
    return (rows.filter(name=name) if subject is None else rows.filter(subject=subject)).first()


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
