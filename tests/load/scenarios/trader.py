"""The users of every scenario: each takes the next order, places it, follows it to its end and compares what it got."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import gevent
from locust import HttpUser, LoadTestShape, task
from locust.exception import StopUser

from orders.client.event import Event
from tests.bearer import given
from tests.load.scenarios.listening import Ear, opened
from tests.load.scenarios.options import profile_of
from tests.load.scenarios.story import Json, Story, Wrong
from tests.load.scenarios.tally import Tally

FILLED = frozenset({"triggered", "routing", "building", "submitted", "confirmed"})


class Pace(LoadTestShape):
    """As many users as orders may be on their way, until the last order has ended."""

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there are to be; none ends the run."""
        environment = self.runner.environment
        if environment.tally and environment.tally.is_over:
            return None
        concurrent = profile_of(environment.parsed_options).concurrent
        return concurrent, concurrent


class Trader(HttpUser):
    """A client with one order on its way at a time."""

    abstract = True

    def on_start(self) -> None:
        """Keep no connection open between requests: the engine may close one just as the next request is sent."""
        self.client.headers.update({"Connection": "close", **given()})

    @property
    def tally(self) -> Tally:
        """Return the run's tally."""
        return self.environment.tally

    @property
    def patience_s(self) -> float:
        """Return how long to wait for the next message."""
        return float(self.environment.parsed_options.patience)

    @task
    def carry_on(self) -> None:
        """Take the next order and see it through."""
        ticket = self.tally.take()
        if ticket is None:
            raise StopUser
        number, wait_s = ticket
        gevent.sleep(wait_s)
        self.tally.start()
        begun = time.monotonic()
        try:
            label = self.trade(number)
        except Wrong as reason:
            self.complain(reason, begun)
        else:
            self.report("ORDER", label, begun)
        finally:
            self.tally.finish()

    def trade(self, number: int) -> str:
        """Place an order, see it through, and return what sort of order it was.

        Raises Wrong.
        """
        raise NotImplementedError

    def complain(self, reason: Wrong, begun: float) -> None:
        """Keep what was wrong, and have it in the report."""
        self.tally.complaints.append(str(reason))
        self.report("ORDER", "wrong", begun, reason)

    def report(self, kind: str, name: str, begun: float, wrong: Exception | None = None) -> None:
        """Have a row of the report's table, and its charts, count this."""
        took_ms = (time.monotonic() - begun) * 1000
        self.environment.events.request.fire(
            request_type=kind, name=name, response_time=took_ms, response_length=0, exception=wrong, context={}
        )

    def place(self, order: Json) -> Story:
        """Place an order.

        Raises Wrong unless it is accepted.
        """
        asked = {**order, "clientOrderId": str(uuid4())}
        begun = time.monotonic()
        accepted = self.call("POST", "/api/orders/execute", 202, json=asked)
        story = Story(accepted["orderId"], asked, time.monotonic())
        self.tally.accepted(story, (time.monotonic() - begun) * 1000)
        return story

    def call(self, method: str, path: str, *statuses: int, name: str | None = None, **more: Any) -> Any:
        """Send a request and return the JSON of its answer; of several statuses that are right, beside the status.

        Raises Wrong for any other status.
        """
        with self.client.request(method, path, name=name or path, catch_response=True, timeout=30, **more) as answer:
            if answer.status_code not in statuses:
                what = answer.text[:300] if answer.status_code else answer.error
                wrong = f"{method} {path}: {answer.status_code} instead of {statuses}: {what}"
                answer.failure(wrong)
                raise Wrong(wrong)
            answer.success()
            return answer.json() if len(statuses) == 1 else (answer.status_code, answer.json())

    @contextmanager
    def following(self, story: Story) -> Iterator["Watch"]:
        """Follow an order on a socket of its own from the first event."""
        with opened(f"{self.socket_base}/ws/{story.order_id}") as ear:
            yield Watch(self, story, ear)

    @property
    def socket_base(self) -> str:
        """Return where the sockets are."""
        return "ws" + str(self.host).rstrip("/").removeprefix("http")

    def cancel(self, story: Story) -> None:
        """Cancel an order; that it has fired meanwhile is no fault."""
        self.call("DELETE", f"/api/orders/{story.order_id}", 200, 409, name="/api/orders/{id}")

    def amend(self, story: Story, **changes: str) -> bool:
        """Change an order that rests; tell whether it was, or had moved on."""
        status, _ = self.call(
            "PATCH",
            f"/api/orders/{story.order_id}",
            200,
            409,
            412,
            name="/api/orders/{id}",
            json=changes,
            headers={"If-Match": f'"{story.seq}"'},
        )
        return bool(status == 200)

    def read(self, story: Story) -> Json:
        """Return the order as it stands."""
        found: Json = self.call("GET", f"/api/orders/{story.order_id}", 200, name="/api/orders/{id}")
        return found

    def compare(self, story: Story) -> None:
        """Compare what was streamed of a finished order with what can be read of it.

        Raises Wrong.
        """
        order = self.read(story)
        shown = self.call("GET", f"/api/orders/{story.order_id}/events", 200, name="/api/orders/{id}/events")["events"]
        if shown != story.raw():
            raise story.wrong(f"the events read are not those streamed: {shown!r:.500}")
        envelope = ("orderId", "epoch", "seq", "status", "at", "attempt")
        facts = {name: value for name, value in story.heard[-1].raw.items() if name not in envelope}
        terms = story.terms()
        streamed = (story.order_id, story.status, story.seq, terms["type"], terms["pair"], terms["amountIn"], facts)
        read = tuple(order[name] for name in ("orderId", "status", "seq", "type", "pair", "amount", "result"))
        if read != streamed:
            raise story.wrong(f"read as {read!r:.400}, streamed as {streamed!r:.400}")


class Watch:
    """One order on one socket: every message is checked, timed and counted."""

    def __init__(self, trader: Trader, story: Story, ear: Ear) -> None:
        self.trader = trader
        self.story = story
        self.ear = ear
        self.executing_since = story.accepted_at

    def next(self, within_s: float | None = None) -> Event | None:
        """Return the next event; none when nothing came in time.

        Raises Wrong, also when nothing came for as long as there is patience.
        """
        patience_s = self.trader.patience_s
        try:
            text = self.ear.next(patience_s if within_s is None else within_s)
        except TimeoutError:
            if within_s is not None:
                return None
            raise self.story.wrong(f"nothing came for {patience_s:g} s") from None
        if text is None:
            raise self.story.wrong("the socket was closed as after the last event")
        return self.take(text)

    def take(self, text: str) -> Event:
        """Check a message, and time it.

        Raises Wrong.
        """
        data = json.loads(text)
        if "error" in data:
            raise self.story.wrong(f"refused: {data['error']}")
        event = self.story.hear(text, data)
        self.trader.tally.messages += 1
        self.trader.report("STAGE", event.status, self.executing_since)
        if event.status == "triggered":
            self.executing_since = time.monotonic()
        return event

    def wait_for(self, statuses: frozenset[str], within_s: float | None = None) -> bool:
        """Read on until one of these comes; tell whether it came in time.

        Raises Wrong.
        """
        deadline = time.monotonic() + within_s if within_s is not None else None
        while self.story.status not in statuses and not self.story.is_final:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if self.next(left) is None:
                return False
        return self.story.status in statuses

    def to_end(self, *allowed: str) -> None:
        """Read on to the last event and the close; the order must end as one of these says.

        Raises Wrong.
        """
        while not self.story.is_final:
            self.next()
        if self.story.status not in ("cancelled", "expired"):
            self.trader.tally.finals_ms.append((time.monotonic() - self.executing_since) * 1000)
        if more := self.ear.all(self.trader.patience_s):
            raise self.story.wrong(f"messages after the last event: {more!r:.300}")
        self.story.must_end(*allowed)
        self.trader.compare(self.story)
