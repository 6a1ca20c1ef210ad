"""What a client, or an operator, asks for, as often as it takes until there is an answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from uuid6 import uuid7

from engine.market import EventKind, MarketEvent
from engine.orders import OrderType
from engine.triggers import Condition, Kind
from orders.api.views import OneOrder
from orders.flow import dead_letters, intake
from orders.flow.intake import NewOrder
from orders.models import DeadLetter
from routing import tape
from routing.store import StoreError, now_ms
from tests.chaos.matrix.stage import HOSTS
from tests.keyring import OPERATOR
from tests.orders.bench import Bench

if TYPE_CHECKING:
    from tests.chaos.matrix.world import World

doors = APIRequestFactory()


def by_the_client(request: Any) -> Any:
    """Have a request come from whoever placed the order."""
    force_authenticate(request, user=OPERATOR, token=OPERATOR)  # type: ignore[arg-type]
    return request


MINT = "7vfCXTUXx5WJV5JADk17DUJ4ksgau7utNKj4b963voxs"
"""The token that is sniped."""
LITTLE_CENTS = 1_000_000
ENOUGH_CENTS = 5_000_000


@dataclass
class Wish:
    """Something asked for; `ask` returns the answer, None while there is none."""

    name: str
    ask: Callable[["World"], Any]
    answer: Any = None

    def __call__(self, world: "World") -> None:
        """Ask, unless it is answered."""
        if self.answer is None:
            self.answer = self.ask(world)


def post(kind: OrderType, **terms: Any) -> Wish:
    """Ask for an order; asked again, it is the same one by its client's name for it."""

    def ask(world: "World") -> Any:
        try:
            (accepted,) = intake.accept([asked_for(world.bench, kind, terms)])
        except (StoreError, DatabaseError):
            return None
        world.follow(accepted.order_id)
        return accepted

    return Wish("post", ask)


def asked_for(bench: Bench, kind: OrderType, terms: dict[str, Any]) -> NewOrder:
    """Make an order, under an id of its own each time."""
    match kind:
        case OrderType.MARKET:
            return bench.order(client_order_id="matrix")
        case OrderType.LIMIT:
            return bench.limit(client_order_id="matrix", **terms)
    conditions = (Condition(Kind.LAUNCH), Condition(Kind.LIQUIDITY, ENOUGH_CENTS))
    return bench.snipe(MINT, *conditions, client_order_id="matrix")


def market_shows(kind: EventKind, cents: int) -> Wish:
    """Not a wish: what happens on the sniped token's market, again and again until the order has fired."""

    def happen(world: "World") -> Any:
        tape.publish([MarketEvent(str(uuid7()), kind, MINT, "RAYDIUM", cents, now_ms())])
        return None if world.is_in("pending") else kind

    return Wish("market", happen)


def cancel() -> Wish:
    """Ask for the cancellation of the order."""

    def ask(world: "World") -> Any:
        request = by_the_client(doors.delete("/", **HOSTS))
        answer = OneOrder.as_view()(request, order_id=world.order_id)
        if answer.status_code == 200 and answer.data["status"] != "cancelled":
            world.complain(f"a cancellation was answered with status {answer.data['status']}")
        return answered(world, answer)

    return Wish("cancel", ask)


def amend(**terms: str) -> Wish:
    """Ask for other terms, in the state in which the client finds the order."""

    def ask(world: "World") -> Any:
        as_it_is = OneOrder.as_view()(by_the_client(doors.get("/", **HOSTS)), order_id=world.order_id)
        if as_it_is.status_code != 200:
            return answered(world, as_it_is)
        seen = {"HTTP_IF_MATCH": as_it_is.headers["ETag"]}
        request = by_the_client(doors.patch("/", terms, format="json", **seen, **HOSTS))
        answer = OneOrder.as_view()(request, order_id=world.order_id)
        if answer.status_code == 200 and {name: answer.data[name] for name in terms} != terms:
            world.complain(f"an amendment to {terms} was answered with {answer.data}")
        return answered(world, answer)

    return Wish("amend", ask)


def answered(world: "World", answer: Response) -> int | None:
    """Return an answer's status; None for one that says to ask again."""
    if answer.status_code not in (200, 409, 412, 503):
        world.complain(f"an answer {answer.status_code}: {answer.data}")
    return None if answer.status_code in (412, 503) else answer.status_code


def replay() -> Wish:
    """Ask for the replay of the dead letter."""

    def ask(world: "World") -> Any:
        try:
            placed = dead_letters.replay(world.order_id, "an operator")
        except (StoreError, DatabaseError, dead_letters.NotSafe, DeadLetter.DoesNotExist):
            return None
        world.follow(placed.order_id)
        return placed

    return Wish("replay", ask)
