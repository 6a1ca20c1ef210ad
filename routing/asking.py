"""Request quotes from venues: many requests in flight on one event loop, so that a slow venue blocks no thread."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import cache, partial
from itertools import product

import structlog
from django.conf import settings

from engine.quotes import Pair, Quote
from routing import quotes, wiring
from routing.outages import failing, paused
from routing.quotes import Stored
from routing.store import StoreError
from routing.venues import Answer, Silence, Venue, VenueDown

log = structlog.get_logger(__name__)

POLL_MS = 500
"""Default polling interval; the initial beat schedule (workers/migrations) has the same value."""

Question = tuple[str, str]
"""The names of a venue and a pair."""


@cache
def loop() -> asyncio.AbstractEventLoop:
    """Return the process's background event loop, started on first use."""
    running = asyncio.new_event_loop()
    threading.Thread(target=running.run_forever, name="venues", daemon=True).start()
    return running


class Asker:
    """Requests quotes from venues and stores them in the cache."""

    def __init__(self, venues: Iterable[Venue], timeout_ms: int, poll_ms: int) -> None:
        self.venues = tuple(venues)
        self.timeout_ms = timeout_ms
        self.timeout_s = timeout_ms / 1000
        self.poll_ms = poll_ms
        """The interval between polls."""
        self.in_flight: Counter[Question] = Counter()
        self.direct: dict[str, Future[list[Answer]]] = {}
        self.lock = threading.Lock()
        self.tasks: set[asyncio.Task[Answer]] = set()
        self.failing: set[str] = set()
        self.arrived: list[Quote] = []
        self.stored: list[Callable[[Stored], None]] = []
        """Each is called with every stored quote, on the venues' event loop; must return at once."""
        self.heard: list[Callable[[str, bool], None]] = []
        """Each is called in the same way with a venue's name, and whether it has quoted within VENUE_SLOW_MS."""

    @property
    def in_flight_max(self) -> int:
        """Return the maximum of open requests per venue and pair: what a venue that never answers accumulates."""
        return -(-self.timeout_ms // self.poll_ms) + 1

    def poll(self, pairs: Iterable[Pair]) -> None:
        """Request every pair from every venue and return at once; venues with too many open requests are skipped."""
        loop().call_soon_threadsafe(self.start_polls, list(pairs))

    def start_polls(self, pairs: list[Pair]) -> None:
        """Start the requests; runs on the loop."""
        for pair in pairs:
            for venue in self.venues:
                if self.in_flight[venue.name, pair.name] < self.in_flight_max:
                    self.start(venue, pair)

    def start(self, venue: Venue, pair: Pair) -> "asyncio.Task[Answer]":
        """Start one request; it counts as open at once, even before the loop runs it."""
        task = asyncio.ensure_future(self.ask_venue(venue, pair))
        self.in_flight[venue.name, pair.name] += 1
        self.tasks.add(task)
        task.add_done_callback(partial(self.end, (venue.name, pair.name)))
        return task

    def end(self, question: Question, task: "asyncio.Task[Answer]") -> None:
        """Count a request as closed, whatever its result."""
        self.in_flight[question] -= 1
        self.tasks.discard(task)

    def ask(self, pair: Pair) -> "Future[list[Answer]]":
        """Request one pair from all venues at once; callers that ask while the request is open share its answer."""
        with self.lock:
            future = self.direct.get(pair.name)
            if future is None:
                future = asyncio.run_coroutine_threadsafe(self.ask_all(pair), loop())
                self.direct[pair.name] = future
                future.add_done_callback(lambda _: self.direct.pop(pair.name, None))
            return future

    async def ask_all(self, pair: Pair) -> list[Answer]:
        """Return each venue's quote, or its Silence with the reason; failing venues are asked if no other quotes."""
        known = failing()
        sound = [venue for venue in self.venues if venue.name not in known]
        others = [venue for venue in self.venues if venue.name in known]
        answers = await asyncio.gather(*(self.start(venue, pair) for venue in sound))
        if any(isinstance(answer, Quote) for answer in answers):
            return [*answers, *(Silence(venue.name, f"not asked: {known[venue.name]}") for venue in others)]
        return [*answers, *await asyncio.gather(*(self.start(venue, pair) for venue in others))]

    async def ask_venue(self, venue: Venue, pair: Pair) -> Answer:
        """Request a quote from one venue within the time limit and cache it; a paused venue is not asked."""
        if reason := paused().get(venue.name):
            return Silence(venue.name, reason)
        began = asyncio.get_running_loop().time()
        answer = await self.answer_of(venue, pair)
        took_ms = (asyncio.get_running_loop().time() - began) * 1000
        for told in self.heard:
            told(venue.name, isinstance(answer, Quote) and took_ms <= settings.VENUE_SLOW_MS)
        return answer

    async def answer_of(self, venue: Venue, pair: Pair) -> Answer:
        """Request a quote, and cache it if it is sound."""
        try:
            async with asyncio.timeout(self.timeout_s):
                quote = await venue.quote(pair)
        except (VenueDown, TimeoutError) as reason:
            said = str(reason) or f"{venue.name} did not answer within {self.timeout_s:g} s"
            self.note_failure(venue.name, pair.name, said)
            return Silence(venue.name, said)
        except Exception:
            # Venue answers are untrusted: a malformed answer from one must not cost us the other's quote.
            log.exception("venue's answer is malformed", venue=venue.name, pair=pair.name)
            return Silence(venue.name, f"{venue.name} answered what cannot be understood")
        if not quote.is_sound:
            said = f"{venue.name} quotes {quote.price}, which is no price"
            self.note_failure(venue.name, pair.name, said)
            return Silence(venue.name, said)
        self.note_answer(venue.name)
        self.arrived.append(quote)
        if len(self.arrived) == 1:
            # What else arrives in this round of the loop is stored with it.
            asyncio.get_running_loop().call_soon(self.store_arrived)
        return quote

    def store_arrived(self) -> None:
        """Cache the quotes that have arrived, before anyone who asked goes on."""
        arrived, self.arrived = self.arrived, []
        try:
            kept = quotes.store_all(arrived)
        except StoreError as reason:
            log.warning("quotes not cached", pairs=sorted({quote.pair for quote in arrived}), reason=str(reason))
            return
        for told, one in product(self.stored, kept):
            if one:
                told(one)

    def note_failure(self, venue: str, pair: str, reason: str) -> None:
        """Log the first failure of a venue, not the hundreds that follow."""
        if venue not in self.failing:
            self.failing.add(venue)
            log.warning("venue stopped answering", venue=venue, pair=pair, reason=reason)

    def note_answer(self, venue: str) -> None:
        """Log a venue's recovery."""
        if venue in self.failing:
            self.failing.discard(venue)
            log.info("venue answers again", venue=venue)


@cache
def asker() -> Asker:
    """Return the process's asker."""
    return Asker(wiring.venues(), settings.QUOTE_TIMEOUT_MS, POLL_MS)
