"""The client for programs that wait: the same methods, without `await`, in plain `for` loops.

with SyncClient("http://127.0.0.1:8000") as client:
    for told in client.execute(MarketOrder(token_in="SOL", token_out="USDC", amount=Decimal("1.5"))):
        print(f"back to {told.to}" if isinstance(told, Rewound) else f"{told.seq} {told.status}")
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from .backoff import Backoff
from .client import PATIENCE_S, Client

P = ParamSpec("P")
T = TypeVar("T")


class Background:
    """An event loop on a thread of its own, which runs what other threads wait for."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.is_closed = False
        # Taken again when the garbage collector closes a generator in the middle.
        self.lock = threading.RLock()
        self.thread = threading.Thread(target=self.loop.run_forever, name="order-engine-client", daemon=True)
        self.thread.start()

    @property
    def is_here(self) -> bool:
        """Tell whether this is its own thread."""
        return threading.current_thread() is self.thread

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine, which is made there, to its end and return what it returns; Ctrl-C cancels it first.

        Raises what it raises; RuntimeError when the client is closed meanwhile, and on the loop's own thread, which
        must not wait for itself.
        """
        running = Running(make)
        try:
            if is_begun := self.begin(running):
                running.ended.wait()
        except BaseException:
            if not self.is_closed:
                self.loop.call_soon_threadsafe(running.cancel)
                running.ended.wait()
            raise
        if not is_begun:
            raise RuntimeError(CLOSED if self.is_closed else "a callback of the client cannot use the client")
        return running.outcome()

    def begin(self, running: "Running[Any]") -> bool:
        """Begin, unless it could not be waited for: nothing may be begun once nobody would end it."""
        with self.lock:
            if self.is_closed or self.is_here:
                return False
            self.loop.call_soon_threadsafe(running.start)
            return True

    def stop(self) -> None:
        """End what still runs, and the thread."""
        ending = Running(end_others)
        with self.lock:
            self.is_closed = True
            self.loop.call_soon_threadsafe(ending.start)
        ending.ended.wait()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


CLOSED = "the client is closed"


class Running(Generic[T]):
    """A coroutine that runs on the loop of another thread."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.make, self.ended = make, threading.Event()
        self.task: asyncio.Task[T] | None = None

    def start(self) -> None:
        """Begin, on the loop's thread."""
        self.task = asyncio.get_running_loop().create_task(self.work())
        self.task.add_done_callback(lambda _: self.ended.set())

    async def work(self) -> T:
        """Make it and run it: what cannot even be made, for a wrong argument, fails alike."""
        return await self.make()

    def cancel(self) -> None:
        """Cancel it, on the loop's thread; what was not begun by now never is."""
        if self.task:
            self.task.cancel()
        else:
            self.ended.set()

    def outcome(self) -> T:
        """Return what it returned.

        Raises what it raised; RuntimeError when it was cancelled.
        """
        if self.task is None or self.task.cancelled():
            raise RuntimeError(CLOSED)
        return self.task.result()


async def end_others() -> None:
    """Cancel every other task of this loop, and close its generators."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


def waits(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["SyncClient", P], T]:
    """Make a method that returns what the asynchronous client's returns."""

    @wraps(method)
    def wait(self: "SyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.background.run(lambda: method(self.client, *args, **kwargs))

    return wait


def yields(
    method: Callable[Concatenate[Client, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate["SyncClient", P], Generator[T, None, None]]:
    """Make a method that yields what the asynchronous client's yields."""

    @wraps(method)
    def iterate(self: "SyncClient", /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        background, told = self.background, method(self.client, *args, **kwargs)
        try:
            while True:
                try:
                    one = background.run(lambda: following(told))
                except StopAsyncIteration:
                    return
                yield one
        finally:
            end(background, told)

    return iterate


async def following(told: AsyncGenerator[T, None]) -> T:
    """Return what is yielded next.

    Raises StopAsyncIteration.
    """
    return await anext(told)


def end(background: Background, told: AsyncGenerator[Any, None]) -> None:
    """Close a generator that was left; the garbage collector may do so on any thread, and after the client closed."""
    if background.is_closed:
        return
    if background.is_here:
        background.loop.create_task(closed(told))
    else:
        background.run(lambda: closed(told))


async def closed(told: AsyncGenerator[Any, None]) -> None:
    """Close a generator."""
    await told.aclose()


class SyncClient:
    """A connection to the engine at `url`, within `with`; its methods are those of `Client`, and so are its settings.

    It runs a `Client` on a thread of its own, so it works beside a running event loop, too, and any thread may use it.
    Ctrl-C ends a call or a `for` at once.  `away` is called on the client's thread, where the client cannot be used.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        patience_s: float = PATIENCE_S,
        backoff: Backoff | None = None,
    ) -> None:
        self.client = Client(url, api_key=api_key, patience_s=patience_s, backoff=backoff)
        self._background: Background | None = None

    def __enter__(self) -> Self:
        """Be ready to connect."""
        self._background = Background()
        try:
            self._background.run(self.client.__aenter__)
        except BaseException:
            self._background.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, reason: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every call and close the connections."""
        background, self._background = self.background, None
        try:
            background.run(lambda: self.client.__aexit__(kind, reason, trace))
        finally:
            background.stop()

    @property
    def background(self) -> Background:
        """The client's thread.

        Raises RuntimeError outside `with`.
        """
        if self._background is None:
            raise RuntimeError("use the client within `with SyncClient(...) as client`")
        return self._background

    place = waits(Client.place)
    order = waits(Client.order)
    order_named = waits(Client.order_named)
    events = waits(Client.events)
    page = waits(Client.page)
    cancel = waits(Client.cancel)
    cancel_all = waits(Client.cancel_all)
    amend = waits(Client.amend)
    estimate = waits(Client.estimate)
    pairs = waits(Client.pairs)
    balances = waits(Client.balances)
    positions = waits(Client.positions)
    candles = waits(Client.candles)
    execute = yields(Client.execute)
    follow = yields(Client.follow)
    follow_all = yields(Client.follow_all)
    orders = yields(Client.orders)
    quotes = yields(Client.quotes)
