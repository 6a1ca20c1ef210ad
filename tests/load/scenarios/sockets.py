"""Thousands of status messages: market orders at an even pace, each followed by many sockets in many ways.

.venv/bin/locust -f tests/load/scenarios/sockets.py --headless --host http://127.0.0.1:8000

`--sockets` of them stay open and follow every order on `/ws/orders`.  Besides, each order has a socket of its own from
the start (every second one is placed on it), some that join late with `?after=`, one that breaks off and comes back.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.pool import Group
from locust import events
from locust.env import Environment

from tests.load.scenarios.copies import Copies, Progress, joined_late
from tests.load.scenarios.listening import OPEN_S, Ear, opened
from tests.load.scenarios.prices import amount_of, pair_of
from tests.load.scenarios.running import UNTIL_THE_END, scenario
from tests.load.scenarios.story import Json, Story, Wrong
from tests.load.scenarios.tally import Tally
from tests.load.scenarios.thresholds import Thresholds
from tests.load.scenarios.trader import Pace, Trader, Watch

__all__ = ["Pace", "SocketTrader"]

SLIPPAGE_BPS = 500
JOINS = ((0, 0.1), (1, 0.4), (2, 0.8), (3, 1.2))
"""Clients that join late: the seq up to which each knows the order, and how many seconds after it was placed."""
BREAKS_OFF_AFTER = 2
"""Messages after which a client breaks off, to come back for the rest."""
QUIET_S = 10.0
"""How long the sockets that follow everything are given for what is still on its way at the end."""

scenario("sockets", Thresholds(messages=1_000))


class Gallery:
    """Sockets that follow every order of the run."""

    def __init__(self, environment: Environment, base: str) -> None:
        self.environment = environment
        self.base = base
        self.copies = Copies()
        self.ears: list[Ear] = []
        self.progress: list[Progress] = []
        self.listeners = Group()

    def open(self, count: int) -> None:
        """Open so many sockets, and wait until they are: the first order must find them."""
        for number in range(count):
            self.listeners.spawn(self.listen, f"socket {number} on /ws/orders")
        deadline = time.monotonic() + OPEN_S
        while len(self.ears) < count and len(self.listeners) == count and time.monotonic() < deadline:
            gevent.sleep(0.01)

    def listen(self, name: str) -> None:
        """Follow every order placed from now on, until the run is over."""
        progress = Progress(name)
        self.progress.append(progress)
        try:
            with opened(f"{self.base}/ws/orders") as ear:
                self.ears.append(ear)
                while True:
                    self.hear(progress, ear)
        except Wrong as reason:
            self.environment.tally.complaints.append(f"{name}: {reason}")

    def hear(self, progress: Progress, ear: Ear) -> None:
        """Take one message.

        Raises Wrong.
        """
        try:
            text = ear.next(QUIET_S)
        except TimeoutError:
            return
        if text is None:
            raise Wrong("closed by the engine, though it is to stay open")
        data = json.loads(text)
        if "following" in data:
            return
        if "error" in data:
            raise Wrong(f"refused: {data['error']}")
        progress.take(data)
        count_copy(self.environment, self.copies, text, data)

    def follow(self, story: Story) -> None:
        """Have every socket follow an order."""
        for ear in self.ears:
            ear.say({"follow": [{"orderId": story.order_id, "after": 0}]})

    def close(self, tally: Tally) -> None:
        """Wait for what is still on its way, then say what each socket lacks."""
        ended = [story for story in tally.stories if story.is_final]
        deadline = time.monotonic() + QUIET_S
        while any(one.lacks(ended) for one in self.progress) and time.monotonic() < deadline:
            gevent.sleep(0.1)
        self.listeners.kill()
        for one in self.progress:
            if lacking := one.lacks(ended):
                tally.complaints.append(f"{one.name} was not told everything of {len(lacking)} orders: {lacking[:3]}")


galleries: list[Gallery] = []


@events.test_start.add_listener
def open_gallery(environment: Environment, **_: Any) -> None:
    """Open the sockets that stay, before the first order."""
    base = "ws" + environment.host.rstrip("/").removeprefix("http")
    galleries[:] = [Gallery(environment, base)]
    galleries[0].open(environment.parsed_options.sockets)


@UNTIL_THE_END.append
def close_gallery(tally: Tally) -> None:
    """Hear the sockets that stay out, after the last order."""
    galleries[0].close(tally)


def count_copy(environment: Environment, copies: Copies, text: str, data: Json) -> None:
    """Compare a message with its first copy, and count it.

    Raises Wrong.
    """
    lag_ms = copies.compare(text, data)
    environment.tally.messages += 1
    environment.tally.lags_ms.append(lag_ms)
    environment.events.request.fire(
        request_type="COPY",
        name=data["status"],
        response_time=lag_ms,
        response_length=len(text),
        exception=None,
        context={},
    )


class SocketTrader(Trader):
    """Has each order watched by many."""

    def trade(self, number: int) -> str:
        """Place a market order, have it watched, and see that all were told the same."""
        token_in, token_out = pair_of(self.environment.parsed_options, number)
        order = {
            "type": "market",
            "tokenIn": token_in,
            "tokenOut": token_out,
            "amount": amount_of(token_in, number),
            "slippageBps": SLIPPAGE_BPS,
        }
        by_socket = number % 2 == 1
        (self.place_on_socket if by_socket else self.place_by_post)(order)
        return "placed on its socket" if by_socket else "placed by POST"

    def place_by_post(self, order: Json) -> None:
        """Place an order by POST and follow it on a socket."""
        story = self.place(order)
        with self.following(story) as watch:
            self.have_watched(watch)

    def place_on_socket(self, order: Json) -> None:
        """Place an order on the socket that streams it."""
        begun = time.monotonic()
        with opened(f"{self.socket_base}/api/orders/execute") as ear:
            ear.say(order)
            text = ear.next(self.patience_s)
            data = json.loads(text or "{}")
            if "orderId" not in data:
                raise Wrong(f"an order placed on its socket was answered with {text!r:.300}")
            story = Story(data["orderId"], order, time.monotonic())
            self.tally.accepted(story, (time.monotonic() - begun) * 1000)
            watch = Watch(self, story, ear)
            watch.take(text or "")
            self.have_watched(watch)

    def have_watched(self, watch: Watch) -> None:
        """See an order confirmed, and all who watch it told the same.

        Raises Wrong.
        """
        story = watch.story
        galleries[0].follow(story)
        watchers = Group()
        told = [watchers.spawn(attempt, self.join, story, after, in_s) for after, in_s in JOINS]
        told.append(watchers.spawn(attempt, self.break_off_and_return, story))
        watch.to_end("confirmed")
        for text, event in zip(story.texts, story.raw(), strict=True):
            count_copy(self.environment, galleries[0].copies, text, event)
        watchers.join(timeout=self.patience_s)
        for found in told:
            settle(story, found.value)

    def join(self, story: Story, after: int, in_s: float) -> tuple[int, list[str]]:
        """Join late, knowing the order up to `after`; return what was told."""
        gevent.sleep(in_s)
        with opened(f"{self.socket_base}/ws/{story.order_id}?after={after}") as ear:
            return after, self.counted(ear.all(self.patience_s))

    def break_off_and_return(self, story: Story) -> tuple[int, list[str]]:
        """Break off in the midst, come back for the rest, and return all that was told."""
        url = f"{self.socket_base}/ws/{story.order_id}"
        with opened(url) as ear:
            texts = [text for _ in range(BREAKS_OFF_AFTER) if (text := ear.next(self.patience_s))]
        with opened(f"{url}?after={BREAKS_OFF_AFTER}") as ear:
            return 0, self.counted([*texts, *ear.all(self.patience_s)])

    def counted(self, texts: list[str]) -> list[str]:
        """Count messages and pass them on."""
        self.tally.messages += len(texts)
        return texts


def attempt(watching: Callable[..., Any], *what: Any) -> Any:
    """Return what a watcher was told, or what was wrong with it."""
    try:
        return watching(*what)
    except (Wrong, TimeoutError) as reason:
        return reason


def settle(story: Story, found: Any) -> None:
    """Compare what a watcher was told with what was told on the order's own socket.

    Raises Wrong.
    """
    if isinstance(found, Exception):
        raise story.wrong(f"one who watched it: {found}")
    if found is None:
        raise story.wrong("one who watched it was not told of its end")
    joined_late(story, *found)
