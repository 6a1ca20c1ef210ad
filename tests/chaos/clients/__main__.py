"""Trade as a run's seed says: `python -m tests.chaos.clients FOLDER --url URL --seed N --seconds N --rate N`.

The engine's API key is in ENGINE_API_KEY.  Whoever starts it hears a line of JSON every second, and says `calm` when
nothing breaks any more and `read` when every order is to be read.  When he is gone, it goes too.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.chaos.checker.journal import CLIENTS
from tests.chaos.clients import socket
from tests.chaos.clients.feed import Feed
from tests.chaos.clients.http import Http
from tests.chaos.clients.journal import Journal
from tests.chaos.clients.market import Market
from tests.chaos.clients.reading import read_all, resume_all
from tests.chaos.clients.trader import Trader
from tests.chaos.plan.orders import Orders

TELL_S = 1.0


class Session:
    """One run of all clients."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.phase = "opening"
        self.commands: asyncio.Queue[str] = asyncio.Queue()
        self.journal = Journal(options.folder / CLIENTS)
        self.http = Http(options.url, self.journal)
        self.market = Market(self.http, self.journal)
        ws = options.url.replace("http", "ws", 1)
        self.orders = Orders(options.seed, options.seconds, options.rate)
        feeds = [Feed(ws, Random(f"{options.seed}:feed {number}")) for number in range(self.orders.feeds)]
        self.trader = Trader(self.http, self.journal, self.market, feeds, ws)

    async def run(self) -> None:
        """Trade, go on following through the calm, read, and end."""
        listening = asyncio.create_task(self.listen())
        telling = asyncio.create_task(self.tell())
        try:
            await self.market.open()
            self.trader.start(self.market.watch())
            for feed in self.trader.feeds:
                self.trader.start(feed.run())
            self.phase = "trading"
            await self.trade()
            self.phase = "waiting for calm"
            await self.told("calm")
            self.phase = "calm"
            await self.told("read")
            self.journal.write("calm_over")
            self.phase = "reading"
            await resume_all(self.trader.ws, self.trader.stories.values())
            await read_all(self.http, self.trader.stories)
        finally:
            listening.cancel()
            telling.cancel()
            await self.close()

    async def trade(self) -> None:
        """Place every order at its time."""
        begun = time.monotonic()
        self.trader.start(self.trader.cancel_pairs(Random(f"{self.options.seed}:pairs")))
        for planned in self.orders:
            await asyncio.sleep(max(0.0, begun + planned.at_s - time.monotonic()))
            self.trader.start(self.trader.trade(planned))
        await asyncio.sleep(max(0.0, begun + self.options.seconds - time.monotonic()))

    async def told(self, command: str) -> None:
        """Wait for a command."""
        while await self.commands.get() != command:
            pass
        self.trader.over = True

    async def listen(self) -> None:
        """Take commands; when nobody is left to give any, end at once."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            self.commands.put_nowait(line.decode().strip())
        asyncio.get_running_loop().stop()

    async def tell(self) -> None:
        """Say every second how far it is."""
        while True:
            stories = self.trader.stories.values()
            self.journal.flush()
            told = {
                "phase": self.phase,
                "accepted": len(stories),
                "ended": sum(story.ended for story in stories),
                "answers": dict(self.http.counts),
                "closes": dict(Counter(socket.closes)),
            }
            print(json.dumps(told), flush=True)
            await asyncio.sleep(TELL_S)

    async def close(self) -> None:
        """Stop following, and close everything."""
        for task in list(self.trader.tasks):
            task.cancel()
        await asyncio.gather(*self.trader.tasks, return_exceptions=True)
        await self.http.close()
        self.journal.close()


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, required=True)

    async def session() -> None:
        await Session(parser.parse_args()).run()

    with suppress(RuntimeError, KeyboardInterrupt):
        asyncio.run(session())


if __name__ == "__main__":
    main()
