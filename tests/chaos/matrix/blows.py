"""What befalls the worker A at a step, and what the others do while it is frozen."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from django.db import OperationalError
from kombu.exceptions import OperationalError as BrokerAway
from redis.exceptions import TimeoutError as RedisSilent

from orders.flow import settlement
from routing import crashpoints
from routing.crashpoints import STEPS, Moment, Store
from tests.chaos.matrix import memory, wishes
from tests.chaos.matrix.wishes import Wish
from tests.chaos.matrix.worker import Worker
from tests.chaos.matrix.world import World


class Blow(StrEnum):
    """What is struck at a step."""

    DIES = "dies"
    TAKEN_OVER = "freezes until taken over"
    ENDED = "freezes until all is over"
    AUDITED = "freezes, only the audit comes by"
    CANCELLED = "freezes, order cancelled"
    FORGOTTEN = "freezes, Redis emptied, order cancelled"
    AMENDED = "freezes, order amended"
    EXPIRED = "freezes, order expires"
    LOST = "reply lost"
    TWICE = "run twice"
    TWICE_LATE = "run twice, long after"
    EMPTIED = "Redis emptied"
    BACK = "Redis back before it"
    FAR_BACK = "Redis back at the start"


FROZEN = {
    Blow.TAKEN_OVER,
    Blow.ENDED,
    Blow.AUDITED,
    Blow.CANCELLED,
    Blow.FORGOTTEN,
    Blow.AMENDED,
    Blow.EXPIRED,
    Blow.TWICE_LATE,
}
COSTS_A_TRY = {Blow.DIES, *FROZEN}
"""A worker that is gone, or was silent beyond its lease, may be what its order does to workers."""
ROUNDS_TO_REST = 5
TWO_HOURS_MS = 7_200_000

LOST: dict[Store, Callable[[], Exception]] = {
    Store.REDIS: lambda: RedisSilent("Timeout reading from socket"),
    Store.POSTGRES: lambda: OperationalError("the server closed the connection unexpectedly"),
    Store.BROKER: lambda: BrokerAway("connection lost"),
}


@dataclass
class Strike:
    """Strikes a blow at the `nth` time that A comes to a step."""

    world: World
    blow: Blow
    step: str
    moment: Moment
    nth: int = 1
    came: int = 0
    is_here: bool = False
    copy: memory.Copy | None = None

    def __call__(self, worker: Worker, step: str, moment: Moment) -> None:
        """Come to a boundary."""
        if self.blow is Blow.FAR_BACK and self.copy is None and (step, moment) == ("place", Moment.AFTER):
            self.copy = memory.copied()
        if step != self.step:
            return
        if moment is Moment.BEFORE:
            self.came += 1
            self.is_here = self.came == self.nth
            if self.is_here:
                self.prepare()
        if self.is_here and moment is self.moment:
            self.fall(worker)

    def prepare(self) -> None:
        """Do what must be done before the step is taken."""
        if self.moment is Moment.TWICE:
            crashpoints.arm(self.step, Moment.TWICE, partial(self.world.at, self.step, Moment.TWICE))
        if self.blow is Blow.BACK:
            self.copy = memory.copied()
        if self.blow is Blow.LOST and STEPS[self.step].store is Store.CHAIN:
            self.world.chain.deaf = self.moment is Moment.BEFORE
            self.world.chain.mute = self.moment is Moment.AFTER

    def fall(self, worker: Worker) -> None:
        """Strike."""
        crashpoints.armed.pop((self.step, Moment.TWICE), None)
        if self.blow is Blow.DIES:
            worker.die()
        if self.blow in FROZEN:
            worker.freeze()
        worker.struck = True
        if self.blow is Blow.LOST and (lost := LOST.get(STEPS[self.step].store)):
            raise lost()
        if self.blow in (Blow.EMPTIED, Blow.BACK, Blow.FAR_BACK):
            self.world.lose(None if self.blow is Blow.EMPTIED else self.copy or memory.Copy())


def meanwhile(world: World, blow: Blow) -> None:
    """Do what happens while A is frozen."""
    if blow is Blow.TAKEN_OVER:
        world.go_round()
    elif blow in MEANWHILE:
        MEANWHILE[blow](world)
    else:
        world.come_to_rest()


def audited(world: World) -> None:
    """Have what A has committed decided upon, while its order is still in its hands."""
    world.pass_time()
    world.do(settlement.audit)


def price_goes(world: World) -> None:
    """Let the price go, until the order rests again, if it can."""
    world.is_quoted("100")
    for _ in range(ROUNDS_TO_REST):
        world.go_round()
        if world.followers and world.is_in("pending"):
            return


def ask(world: World, wish: Wish) -> None:
    """Have the client ask for something until it has an answer."""
    world.wishes.append(wish)
    for _ in range(ROUNDS_TO_REST):
        if wish.answer is not None:
            return
        world.go_round()
    world.complain(f"no answer to {wish.name}")


def cancelled(world: World) -> None:
    """Have the order cancelled while its price is gone; then the price comes back."""
    price_goes(world)
    ask(world, wishes.cancel())
    world.is_quoted("150")


def forgotten(world: World) -> None:
    """Have Redis emptied, and then the order cancelled where it rests again."""
    world.lose()
    cancelled(world)


def amended(world: World) -> None:
    """Have the order amended while its price is gone; then a price comes that its new terms allow."""
    price_goes(world)
    ask(world, wishes.amend(**AMENDED_TERMS))
    world.is_quoted("170")


def expired(world: World) -> None:
    """Let the order's time pass while its price is gone; then the price comes back."""
    price_goes(world)
    world.ahead_ms = TWO_HOURS_MS
    world.go_round()
    world.is_quoted("150")


AMENDED_TERMS = {"amount": "7", "limitPrice": "160"}
MEANWHILE = {
    Blow.AUDITED: audited,
    Blow.CANCELLED: cancelled,
    Blow.FORGOTTEN: forgotten,
    Blow.AMENDED: amended,
    Blow.EXPIRED: expired,
}
