"""The lives of orders whose steps are struck at: the path itself, and the acts beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import OperationalError

from engine.market import EventKind, MarketEvent
from engine.orders import OrderType, TimeInForce
from orders.flow import sniping
from orders.stores import live
from routing import tape
from routing.catalogue import catalogue
from routing.crashpoints import Moment
from routing.models import Pair, Token
from routing.store import now_ms, redis
from tests.chaos.matrix import memory, wishes
from tests.chaos.matrix.blows import AMENDED_TERMS, TWO_HOURS_MS, Blow, Strike
from tests.chaos.matrix.chain import Outcome
from tests.chaos.matrix.worker import Worker
from tests.chaos.matrix.world import ROUNDS, World

HOUR_MS = 3_600_000
LANDS = (Outcome.LANDS,)
ALL = tuple(Outcome)
NONE = frozenset[str]()
PATH = "path"


@dataclass(frozen=True)
class Life:
    """What happens to an order.

    `prepare` brings it to where the worker A takes over; `covers` are the steps from there on that this life is about,
    all of them if none is named.  `before` are fates of transactions that come before the one the cell is about.
    """

    name: str
    kind: OrderType
    prepare: Callable[[World, "Life"], None]
    covers: frozenset[str] = NONE
    outcomes: tuple[Outcome, ...] = ALL
    before: tuple[Outcome, ...] = ()
    ends: str = "confirmed"
    contradicts: bool = False
    """Whether clients were told something after its end that nobody has noticed."""

    def is_about(self, step: str) -> bool:
        """Tell whether a step is struck at in this life."""
        return not self.covers or step in self.covers


def post(world: World, life: Life, price: str = "140") -> None:
    """Have the client post an order: one that waits fires at once, at this limit."""
    terms = {"price": price, "expires_at": now_ms() + HOUR_MS, "time_in_force": TimeInForce.GTD}
    world.wishes.append(wishes.post(life.kind, **(terms if life.kind is OrderType.LIMIT else {})))


def until(world: World, is_there: Callable[[], bool]) -> None:
    """Go rounds until the order is there."""
    for _ in range(ROUNDS):
        world.go_round()
        if is_there():
            return
    raise AssertionError(f"it does not come there: {world.standing()}")


def dies_at(world: World, step: str, moment: Moment) -> None:
    """Have an earlier worker die at a step."""
    Worker(world, Strike(world, Blow.DIES, step, moment)).start()
    world.worker = world.boundary = None
    world.crossed.clear()
    world.acts = 0


def rests(world: World, life: Life) -> None:
    """Have an order rest far from its price."""
    post(world, life, "200")
    until(world, lambda: world.is_in("pending") and not redis().llen("limit"))


def is_cancelled(world: World, life: Life) -> None:
    """The client cancels it."""
    rests(world, life)
    world.wishes.append(wishes.cancel())


def is_amended(world: World, life: Life) -> None:
    """The client amends it, and its new price is there."""
    rests(world, life)
    world.is_quoted("170")
    world.wishes.append(wishes.amend(**AMENDED_TERMS))


def expires(world: World, life: Life) -> None:
    """Its time passes."""
    rests(world, life)
    world.ahead_ms = TWO_HOURS_MS


def is_sent(world: World, life: Life) -> None:
    """Its worker dies when the transaction is on its way."""
    post(world, life)
    dies_at(world, "watch", Moment.BEFORE)


def is_sent_and_redis_emptied(world: World, life: Life) -> None:
    """Redis is emptied while the transaction is on its way."""
    is_sent(world, life)
    world.lose()


def rests_and_redis_is_emptied(world: World, life: Life) -> None:
    """Redis is emptied while the order rests; then its price comes."""
    rests(world, life)
    world.lose()
    world.is_quoted("210")


def is_sent_and_redis_comes_back(world: World, life: Life) -> None:
    """Redis comes back as it was when the order had just been placed, while its transaction is on its way."""
    post(world, life)
    dies_at(world, "place", Moment.AFTER)
    copy = memory.copied()
    until(world, lambda: world.is_in("submitted", "confirmed"))
    world.lose(copy)


def is_cancelled_and_redis_comes_back(world: World, life: Life) -> None:
    """Redis comes back as it was before a cancellation that is committed and answered."""
    rests(world, life)
    copy = memory.copied()
    world.wishes.append(wishes.cancel())
    until(world, world.is_at_rest)
    world.lose(copy)


def is_cancelled_and_nobody_notices(world: World, life: Life) -> None:
    """The same, and nobody notices; its price comes, and it goes on behind its end."""
    rests(world, life)
    copy = memory.copied()
    world.wishes.append(wishes.cancel())
    until(world, world.is_at_rest)
    world.lose(copy, noticed=False)
    world.is_quoted("210")


def is_cancelled_and_goes_on_before_redis_is_started_again(world: World, life: Life) -> None:
    """The same, and it has fired when Redis is started again with what it holds."""
    is_cancelled_and_nobody_notices(world, life)
    dies_at(world, "swap.triggered", Moment.AFTER)
    world.lose(memory.copied())


def is_not_fed(world: World, life: Life) -> None:
    """The feed loses its entries before DBSync has read them."""
    post(world, life)
    dies_at(world, "wake.dbsync.drain", Moment.BEFORE)
    redis().delete(live.FEED)


def meets_an_outage(world: World, life: Life) -> None:
    """Postgres does not take its first attempt."""
    post(world, life)
    world.outages.append(("prepare", OperationalError("the server closed the connection unexpectedly")))


def is_left_prepared(world: World, life: Life) -> None:
    """Its worker dies with the attempt committed and the order not yet submitted."""
    post(world, life)
    dies_at(world, "prepare", Moment.AFTER)


def is_left_submitted(world: World, life: Life) -> None:
    """Its worker dies with the order submitted and the attempt not yet sent."""
    post(world, life)
    dies_at(world, "sent", Moment.BEFORE)


def is_left_claimed(world: World, life: Life) -> None:
    """Its limit worker dies with the order out of its bucket."""
    post(world, life)
    dies_at(world, "fire", Moment.AFTER)


def is_replayed(world: World, life: Life) -> None:
    """It has failed for good, and an operator replays it."""
    post(world, life)
    until(world, world.is_at_rest)
    world.wishes.append(wishes.replay())


def is_armed(world: World, life: Life) -> None:
    """It is armed for a token that has a pool, and fires when that is worth enough."""
    listed()
    world.pair = catalogue().pairs["SOL-NOVA1"]
    world.quote()
    tape.publish([MarketEvent("launch", EventKind.POOL, wishes.MINT, "RAYDIUM", wishes.LITTLE_CENTS, now_ms())])
    sniping.match()
    post(world, life)
    world.wishes.append(wishes.market_shows(EventKind.LIQUIDITY, wishes.ENOUGH_CENTS))


def listed() -> None:
    """Have the sniped token listed."""
    facts = {"mint_authority": "", "freeze_authority": "", "top_holder_bps": 500}
    token, _ = Token.objects.get_or_create(mint=wishes.MINT, defaults={"symbol": "NOVA1", "decimals": 6, **facts})
    sol = Token.objects.get(symbol="SOL")
    Pair.objects.get_or_create(token_in=sol, token_out=token, defaults={"tick": Decimal("0.0001")})
    catalogue.forget()


def only(*steps: str) -> frozenset[str]:
    """Name the steps that a life is about."""
    return frozenset(steps)


BOTH = (OrderType.MARKET, OrderType.LIMIT)
LIMIT = (OrderType.LIMIT,)
SNIPER = (OrderType.SNIPER,)
END = only("reserve", "decide", "tell", "wake.dbsync.drain", "archive", "acknowledge", "forget", "overdue")
REBUILD = only("compare", "epoch", "place", "rebuilt", "wake.order.execute", "wake.limit.fire")
FAILED = (Outcome.REJECTED,) * 3


def of(kinds: tuple[OrderType, ...], name: str, prepare: Any, covers: frozenset[str], **more: Any) -> list[Life]:
    """Make one life of each kind."""
    return [Life(name, kind, prepare, covers, **more) for kind in kinds]


LIVES = [
    *of(BOTH, PATH, post, NONE),
    *of(LIMIT, "cancellation", is_cancelled, END, outcomes=LANDS, ends="cancelled"),
    *of(LIMIT, "amendment", is_amended, only("reserve", "decide", "tell", "wake.limit.fire")),
    *of(LIMIT, "expiry", expires, END, outcomes=LANDS, ends="expired"),
    *of(BOTH, "failure", post, END | only("wake.dlq.keep", "letter"), outcomes=LANDS, before=FAILED, ends="failed"),
    *of(BOTH, "replay", is_replayed, only("replay", "accept", "place", "wake.order.execute"), before=FAILED),
    *of(BOTH, "rebuild, sent", is_sent_and_redis_emptied, REBUILD),
    *of(LIMIT, "rebuild, resting", rests_and_redis_is_emptied, REBUILD, outcomes=LANDS),
    *of(BOTH, "comparison, sent", is_sent_and_redis_comes_back, REBUILD),
    *of(LIMIT, "comparison, ended", is_cancelled_and_redis_comes_back, REBUILD, outcomes=LANDS, ends="cancelled"),
    *of(LIMIT, "contradiction", is_cancelled_and_nobody_notices, only("anew", "epoch-next", "place"), outcomes=LANDS,
        ends="cancelled", contradicts=True),
    *of(LIMIT, "comparison, contradicted", is_cancelled_and_goes_on_before_redis_is_started_again,
        REBUILD | only("anew", "epoch-next"), outcomes=LANDS, ends="cancelled", contradicts=True),
    *of(BOTH, "lost feed", is_not_fed, only("feed-again", "archive", "acknowledge"), outcomes=LANDS),
    *of(BOTH, "outage", meets_an_outage, only("hand-back")),
    *of(BOTH, "left prepared", is_left_prepared, only("withdraw")),
    *of(BOTH, "left submitted", is_left_submitted, only("sent", "send", "resent")),
    *of(SNIPER, "arming", is_armed, only("wake.sniper.evaluate", "watch-for", "swap.triggered", "acknowledge"),
        outcomes=LANDS),
    *of(LIMIT, "left claimed", is_left_claimed, only("take-over")),
]  # fmt: skip
