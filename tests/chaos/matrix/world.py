"""One cell's world: market, chain and clock, the orders and their clients, and the engine, in rounds."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from engine.lifecycle import FINAL
from engine.quotes import Pair
from orders import models
from orders.flow import dbsync, dispatch
from orders.stores import live, rebuild_marks
from routing import crashpoints, epochs
from routing.crashpoints import STEPS, Moment
from routing.store import redis
from routing.venues import VENUES
from tests.chaos.matrix import engine, memory
from tests.chaos.matrix.chain import Outcome, ScriptedChain
from tests.chaos.matrix.engine import Act
from tests.chaos.matrix.follower import Follower
from tests.chaos.matrix.stage import stage
from tests.chaos.matrix.wishes import Wish
from tests.forged import forged
from tests.orders.bench import Bench

ROUNDS = 16
"""Rounds after which a cell that still moves is wrong."""
BLOCKS = 10
"""Blocks that pass with a round."""
TABLES = (
    *("orders_orderevent", "orders_attempt", "orders_deadletter", "orders_setaside", "orders_order"),
    *("orders_balance", "orders_position", "routing_tokenmarket"),
)

VISIBLE = frozenset(
    {
        "place",
        "swap",
        "tell",
        "epoch",
        "epoch-next",
        "anew",
        "archive",
        "decide",
        "prepare",
        "sent",
        "withdraw",
        "settle",
    }
)
"""Steps, by the first part of their names, after which a client may be told something else than before."""

Boundary = Callable[[str, Moment], None]


@dataclass(frozen=True, slots=True)
class Crossing:
    """A step that was taken, in which act of its worker."""

    step: str
    act: int


@dataclass
class World:
    """One cell's world."""

    chain: ScriptedChain
    pair: Pair = field(default_factory=lambda: Bench().pair)
    price: str = "150"
    ahead_ms: int = 0
    bench: Bench = field(default_factory=Bench)
    wishes: list[Wish] = field(default_factory=list)
    followers: dict[str, Follower] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    crossed: list[Crossing] = field(default_factory=list)
    """By the worker A."""
    acts: int = 0
    """Acts the worker A has begun."""
    worker: threading.Thread | None = None
    outages: list[tuple[str, Exception]] = field(default_factory=list)
    """What a step meets the first time that it is about to be taken."""
    boundary: Boundary | None = None
    """What the worker A comes to at each boundary."""

    def role(self) -> str:
        """Name the worker whose thread this is."""
        return "A" if self.is_a() else "B"

    def is_a(self) -> bool:
        """Tell whether this is the worker A's thread."""
        return threading.current_thread() is self.worker

    @property
    def order_id(self) -> str:
        """The first order."""
        return next(iter(self.followers))

    def complain(self, what: str) -> None:
        """Note what is wrong."""
        if what not in self.complaints:
            self.complaints.append(what)

    def follow(self, order_id: str) -> None:
        """Have clients follow an order that was acknowledged."""
        self.followers.setdefault(order_id, Follower(order_id, self.complain))

    def at(self, step: str, moment: Moment) -> None:
        """Be at a boundary: whoever follows an order looks, then what befalls the worker does."""
        if moment is Moment.BEFORE and self.is_a():
            self.crossed.append(Crossing(step, self.acts))
        if moment is not Moment.BEFORE and step.partition(".")[0] in VISIBLE:
            self.look()
        if self.boundary and self.is_a():
            self.boundary(step, moment)
        if moment is Moment.BEFORE and (met := next((one for one in self.outages if one[0] == step), None)):
            self.outages.remove(met)
            raise met[1]

    def look(self) -> None:
        """Have the clients look."""
        for one in list(self.followers.values()):
            try:
                one.look()
            except Exception as reason:
                self.complain(f"a client was told {reason!r}")

    def is_quoted(self, price: str) -> None:
        """Let the pair have this price."""
        self.price = price
        self.quote()

    def quote(self) -> None:
        """Have both venues quote the price, as they do twice a second."""
        for venue in VENUES:
            self.bench.price(self.price, venue=venue, pair=self.pair)

    def lose(self, copy: memory.Copy | None = None, *, noticed: bool = True) -> None:
        """Empty Redis, or have it come back as it was; prices are soon there again."""
        if copy is None:
            memory.empty()
        else:
            memory.come_back(copy, noticed=noticed)
        self.quote()
        self.look()

    def round(self) -> Iterator[Act]:
        """Yield what the clients and the engine do in one round."""
        for wish in self.wishes:
            yield partial(wish, self)
            yield from engine.messages()
        for duty in engine.duties():
            yield duty
            yield from engine.messages()

    def do(self, act: Act) -> None:
        """Do one thing, as a worker does it that outlives what may befall it."""
        try:
            act()
        except Exception as reason:
            if not engine.is_outage(reason):
                self.complain(f"a worker met {reason!r}")

    def go_round(self) -> None:
        """Go one round."""
        self.pass_time()
        for act in self.round():
            self.do(act)
        self.look()

    def pass_time(self) -> None:
        """Let leases run out and blocks pass."""
        self.chain.pass_blocks(BLOCKS)
        engine.pass_time(self.pair.name)

    def come_to_rest(self) -> None:
        """Go round until nothing moves any more."""
        for _ in range(ROUNDS):
            self.go_round()
            if self.is_at_rest():
                return
        self.complain(f"it has not come to rest: {self.standing()}")

    def standing(self) -> list[str]:
        """Say how the orders stand, here and in Postgres."""
        rows = models.Order.objects.filter(pk__in=list(self.followers))
        here = live.statuses(list(self.followers))
        asked = [f"{wish.name}: {wish.answer}" for wish in self.wishes]
        return [*asked, *(f"{row.status} {row.seq}, {here.get(str(row.pk))}" for row in rows)]

    def is_at_rest(self) -> bool:
        """Tell whether all is answered, ended, told and saved."""
        if any(wish.answer is None for wish in self.wishes) or not self.followers:
            return False
        ended = models.Order.objects.filter(status__in=models.FINALS).count() == models.Order.objects.count()
        going = any(one.status not in FINAL for one in live.statuses(list(self.followers)).values())
        busy = going or dbsync.backlog() or any(dispatch.depths().values())
        return ended and not busy and not models.Attempt.objects.filter(state__in=("prepared", "sent")).exists()

    def is_in(self, *statuses: str) -> bool:
        """Tell whether the first order has one of these statuses in Redis."""
        here = live.statuses([self.order_id]).get(self.order_id)
        return here is not None and here.status in statuses

    def arm(self) -> None:
        """Be at every boundary from now on."""
        for name in STEPS:
            for moment in (Moment.BEFORE, Moment.AFTER):
                crashpoints.arm(name, moment, partial(self.at, name, moment))


def begin(fates: list[Outcome]) -> World:
    """Make a world with empty stores, and put it on."""
    memory.empty()
    epochs.forget()
    epochs.recent.forget()
    stage.graves.clear()
    bench = Bench()
    with forged():
        for table in TABLES:
            bench.sql(f"DELETE FROM {table}")
    world = World(ScriptedChain(fates))
    stage.cast = world
    redis().set(rebuild_marks.REBUILT, str(epochs.current()))
    world.quote()
    return world


def end() -> None:
    """Put the world off."""
    crashpoints.disarm()
    stage.cast = None
