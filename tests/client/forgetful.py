"""A stand-in for the engine that loses its history and restores it, before a line that loses, repeats and breaks.

As the engine must, it tells every client what no longer counts.  What happens is a script; what happens to the order
while no client is there comes before the next one is heard.
"""

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socket import SHUT_RDWR
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

ID = "019d3f0e-6a51-7c4e-9b1a-2f5f0a8d2c11"
REASON = "Redis was lost"
LAST, RESTARTING, BROKEN = 1000, 1012, 1006
HOLD = 0
"""Instead of a close code: say nothing more until the client has gone."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Happen:
    """The order moves on."""


@dataclass(frozen=True)
class Lose:
    """Redis is lost, and with it all past event `kept`; of these the engine is `unsure` whether a client has them."""

    kept: int
    unsure: int = 0


@dataclass(frozen=True)
class Send:
    """The next event is sent."""


@dataclass(frozen=True)
class Skip:
    """The next event is not sent; whoever hears the one after it breaks off."""


@dataclass(frozen=True)
class Repeat:
    """An event so far back is sent again."""

    back: int


@dataclass(frozen=True)
class RewindAgain:
    """The last rewind is told again."""


@dataclass(frozen=True)
class Cut:
    """The connection ends."""

    code: int


@dataclass(frozen=True)
class End:
    """The order ends: from here on nothing is lost."""


Step = Happen | Lose | Send | Skip | Repeat | RewindAgain | Cut | End
NOISE = st.one_of(
    st.just(Send()),
    st.just(Skip()),
    st.builds(Repeat, st.integers(0, 3)),
    st.just(RewindAgain()),
    st.builds(Cut, st.sampled_from([RESTARTING, 1013, 1011, BROKEN])),
)
LIFE = st.one_of(st.just(Happen()), NOISE, st.builds(Lose, st.integers(1, 6), st.integers(0, 2)))
SCRIPTS = st.builds(lambda life, end: [*life, End(), *end], st.lists(LIFE, max_size=40), st.lists(NOISE, max_size=10))
SEEN = (Send(), Happen(), Send(), Happen(), Send())
"""An order of which a client has seen three events."""


@dataclass
class Forgetful:
    """One order of an engine; when its script is at an end all goes well."""

    script: deque[Step] = field(default_factory=deque)
    epoch: int = 1
    history: list[Json] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)
    """The cursor with which each connection began."""
    made: int = 0
    over: bool = False
    unsure: int = 0
    rewind: Json | None = None

    def __post_init__(self) -> None:
        self.happen("pending")

    def happen(self, status: str) -> None:
        """Add an event, unlike any other."""
        self.made += 1
        place = {"orderId": ID, "epoch": self.epoch, "seq": len(self.history) + 1, "status": status}
        self.history.append({**place, "at": "2026-11-22T12:00:00.000Z", "attempt": 0, "mark": self.made})

    def go(self, step: Step) -> None:
        """Take a step of the script, of those that are the engine's own."""
        match step:
            case _ if self.over:
                return
            case Happen():
                self.happen("routing")
            case End():
                self.happen("confirmed")
                self.over = True
            case Lose(kept, unsure):
                self.epoch, self.unsure = self.epoch + 1, unsure
                del self.history[kept:]

    def common(self, after: int, epoch: int) -> int:
        """Return up to which event the history of a client is still this one."""
        sure = min(after, sum(event["epoch"] <= epoch for event in self.history))
        return after if sure == after else max(1, sure - self.unsure)

    def rewound(self, to: int) -> Json:
        """Tell that what came after an event does not count."""
        self.rewind = {"orderId": ID, "rewoundTo": to, "epoch": self.epoch, "reason": REASON}
        return self.rewind

    def connection(self, after: int, epoch: int) -> Iterator[Json | int]:
        """Yield what one connection carries: messages, and in the end its close code."""
        self.asked.append((after, epoch))
        while self.script and isinstance(self.script[0], Happen | Lose | End):
            self.go(self.script.popleft())
        line = Line(self, self.common(after, epoch))
        if line.told < after:
            yield self.rewound(line.told)
        while self.script:
            yield from line.go(self.script.popleft())
            if line.ended:
                return
        self.go(End())
        yield from self.history[line.told :]
        # A client that lacks an event is not told that there are no more.
        yield RESTARTING if line.lacks else LAST


@dataclass
class Line:
    """One connection; `told` is how many events its client was sent, or should have been."""

    engine: Forgetful
    told: int
    lacks: bool = False
    ended: bool = False

    def go(self, step: Step) -> Iterator[Json | int]:
        """Take a step of the script."""
        history = self.engine.history
        match step:
            case Happen() | Lose() | End():
                self.engine.go(step)
                yield from self.checked()
            case Send() if self.told < len(history):
                self.told += 1
                yield history[self.told - 1]
                if self.lacks:
                    yield self.cut(RESTARTING)
            case Skip() if self.told < len(history):
                self.told += 1
                self.lacks = True
            case Repeat(back) if self.told and not self.lacks:
                yield history[max(0, self.told - 1 - back)]
            case RewindAgain() if self.engine.rewind and not self.lacks:
                yield self.engine.rewind
                self.lacks = self.engine.rewind["rewoundTo"] < self.told
            case Cut(code):
                yield self.cut(code)

    def checked(self) -> Iterator[Json]:
        """Withdraw what the client was told of and the engine has lost."""
        if self.told > len(self.engine.history):
            self.told = max(1, len(self.engine.history) - self.engine.unsure)
            yield self.engine.rewound(self.told)

    def cut(self, code: int) -> int:
        """End."""
        self.ended = True
        return code


@dataclass
class Scripted:
    """An engine that keeps to nothing: each connection carries a list of its own, and the last list is repeated."""

    connections: list[list[Json | int]]
    asked: list[tuple[int, int]] = field(default_factory=list)

    def connection(self, after: int, epoch: int) -> Iterator[Json | int]:
        """Yield what one connection carries."""
        self.asked.append((after, epoch))
        yield from self.connections[min(len(self.asked), len(self.connections)) - 1]


class Server:
    """Serves one engine's order at `/ws/{id}`, and any other address as an empty page."""

    def __init__(self) -> None:
        self.engine: Forgetful | Scripted = Forgetful()
        self.url = ""
        self.open: set[Any] = set()

    @property
    def link(self) -> str:
        """Where the order's events are."""
        return f"ws{self.url.removeprefix('http')}/ws/{ID}"

    def page(self, socket: Any, request: Any) -> Any:
        """Answer what asks for no socket."""
        return None if request.path.startswith("/ws/") else socket.respond(200, "")

    def answer(self, socket: Any) -> None:
        """Serve a socket."""
        self.open.add(socket)
        query = parse_qs(urlsplit(socket.request.path).query)
        after, epoch = (int(query.get(name, ["0"])[0]) for name in ("after", "epoch"))
        with suppress(ConnectionClosed):
            for message in self.engine.connection(after, epoch):
                if message == HOLD:
                    socket.recv()
                elif message == BROKEN:
                    socket.socket.shutdown(SHUT_RDWR)
                elif isinstance(message, int):
                    socket.close(message)
                else:
                    socket.send(json.dumps(message))
        self.open.discard(socket)


@contextmanager
def served() -> Iterator[Server]:
    """Listen, in a thread."""
    server = Server()
    with serve(server.answer, "127.0.0.1", 0, process_request=server.page) as listening:
        server.url = f"http://127.0.0.1:{listening.socket.getsockname()[1]}"
        Thread(target=listening.serve_forever, daemon=True).start()
        yield server
