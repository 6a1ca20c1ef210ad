"""A stream of messages that is taken up again wherever it breaks."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.http11 import Response

from .backoff import Backoff
from .cursor import Cursor, OutOfStep
from .deadline import Deadline
from .errors import NAMED, ClientError, NothingFurther, Unreadable, refusal
from .event import Event
from .events import Message, message_of
from .key import Key

OPEN_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0
CLOSE_AFTER_ERROR_S = 5.0
"""How long the close, whose code says what kind of error it was, may follow behind the error."""
MISSES_TOLD = 5
"""Misses in a row after which whoever waits is told: some 3 s, so that a restart of the engine passes unseen."""

PAST_LAST = 1000
"""The close code after an order's last event."""
BROKEN = 1006
"""The close code that stands for none: the connection just broke."""
REFUSALS = range(4400, 4500)
"""Close codes of what another try would not change; less 4000 they are the HTTP status of the same refusal."""
SERVER_ERRORS = range(500, 600)
INVALID = "invalid"
BAD_REQUEST = 400

Told = Callable[[str], object]

LOGGER = logging.getLogger(__name__)
# At DEBUG websockets logs each handshake with its headers, and the key is in one.
LOGGER.setLevel(logging.INFO)


class Broken(Exception):
    """The stream broke; it can be taken up again."""


@dataclass(slots=True)
class Line:
    """Tries again and again, and tells once when the engine stays away."""

    key: Key
    backoff: Backoff
    deadline: Deadline
    away: Told
    misses: int = 0

    def well(self) -> None:
        """Note that something came: the next miss is the first."""
        self.misses = 0

    async def missed(self, trouble: str) -> None:
        """Wait before the next try.

        Raises Unfinished when there is no time for one.
        """
        self.misses += 1
        self.deadline.trouble = trouble
        if self.misses == MISSES_TOLD:
            self.away(trouble)
        await self.deadline.rest(self.backoff.wait_s(self.misses))
        self.deadline.check()


async def follow(address: Callable[[Cursor], str], cursor: Cursor, line: Line) -> AsyncGenerator[Message, None]:
    """Yield each event past a cursor, once and in order, until the final one; `address` is where those past one come.

    A rewind that takes back what the cursor has passed is yielded among them.  Raises Refused, Unreadable,
    NothingFurther, Unfinished.
    """
    while True:
        asked = cursor
        try:
            async with aclosing(messages(address(asked), line)) as heard:
                async for data in heard:
                    message = message_of(data)
                    before, cursor = cursor, cursor.past(message)
                    if cursor.seq == before.seq:
                        continue
                    line.well()
                    yield message
                    if isinstance(message, Event) and message.final:
                        return
            if cursor != asked:
                raise Broken("the engine closed the socket before the final event")
        except (Broken, OutOfStep) as reason:
            await line.missed(str(reason))
        else:
            raise NothingFurther(f"the engine has no event past {cursor.seq}, and says that none will come")


async def stay(address: str, line: Line) -> AsyncGenerator[dict[str, Any], None]:
    """Yield every message of a socket that never ends by itself, over any number of connections.

    Raises Refused, Unreadable, Unfinished.
    """
    while True:
        try:
            async with aclosing(messages(address, line)) as heard:
                async for message in heard:
                    line.well()
                    yield message
            raise Broken("the engine closed the socket")
        except Broken as reason:
            await line.missed(str(reason))


async def messages(
    address: str, line: Line, asked: Mapping[str, Any] | None = None
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the messages of one connection; return when the server closes it as after the last.

    `asked` is what the server is to be told first; it answers what is wrong with that without closing.

    Raises Broken, Refused, Unreadable, Unfinished.
    """
    deadline = line.deadline
    socket = await opened(address, line.key.headers(address), deadline)
    try:
        if asked:
            await socket.send(json.dumps(asked))
        while True:
            message = decoded(await received(socket, deadline))
            if asked and message.get("error", {}).get("code") == INVALID:
                raise refusal(message["error"], BAD_REQUEST)
            if "error" in message:
                raise await meant(socket, message["error"], deadline)
            yield message
    except ConnectionClosed as reason:
        code = code_of(reason)
        if code in REFUSALS:
            raise closed(code) from None
        if code != PAST_LAST:
            raise Broken(str(reason)) from None
    finally:
        await socket.close()


class Direct(connect):
    """Connects to the address it is given: a redirect may lead to another server, which must not get the API key."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Fail on a redirect too."""
        return exc


async def opened(address: str, headers: Mapping[str, str], deadline: Deadline) -> ClientConnection:
    """Connect, past any proxy in the environment: the engine is on this machine or in this network.

    Raises Broken, Refused, Unreadable, Unfinished.
    """
    deadline.check()
    try:
        async with asyncio.timeout_at(deadline.by(OPEN_TIMEOUT_S)):
            return await Direct(
                address,
                additional_headers=headers,
                logger=LOGGER,
                open_timeout=None,
                close_timeout=CLOSE_TIMEOUT_S,
                proxy=None,
            )
    except InvalidURI as reason:
        raise Unreadable(str(reason)) from None
    except InvalidStatus as reason:
        if reason.response.status_code in SERVER_ERRORS:
            raise Broken(str(reason)) from None
        raise unopened(address, reason.response) from None
    except (WebSocketException, OSError) as reason:
        if deadline.trouble:
            # The caller's time ran out while it opened: what was wrong before that is what was wrong.
            deadline.check()
        raise Broken(str(reason) or "it did not open in time") from None


def unopened(address: str, answer: Response) -> ClientError:
    """Return what an answer means that opened no socket: the engine's refusal, if it is one."""
    with suppress(ValueError, TypeError, KeyError, Unreadable):
        return refusal(json.loads(answer.body or b"")["error"], answer.status_code, answer.headers)
    return Unreadable(f"{address} answered {answer.status_code}, and opened no socket")


async def received(socket: ClientConnection, deadline: Deadline) -> str | bytes:
    """Wait for the next message.

    Raises ConnectionClosed, Unfinished.
    """
    try:
        async with asyncio.timeout_at(deadline.at):
            return await socket.recv()
    except TimeoutError:
        deadline.check()
        raise


def decoded(text: str | bytes) -> dict[str, Any]:
    """Read a message.

    Raises Unreadable.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unreadable(f"{text[:80]!r} is no message of this engine")
    return found


async def meant(socket: ClientConnection, error: Any, deadline: Deadline) -> Exception:
    """Tell by the close code that follows an error whether to come back: to a store that is away, yes."""
    code = BROKEN
    try:
        async with asyncio.timeout_at(deadline.by(CLOSE_AFTER_ERROR_S)):
            while True:
                await socket.recv()
    except ConnectionClosed as reason:
        code = code_of(reason)
    except TimeoutError:
        pass
    found = refusal(error, code - 4000)
    return found if code in REFUSALS else Broken(str(found))


def closed(code: int) -> ClientError:
    """Return the refusal that a close code stands for which no error came before."""
    status = code - 4000
    name = NAMED[status].__name__.lower() if status in NAMED else "closed"
    return refusal({"code": name, "message": f"the engine closed the socket with {code}"}, status)


def code_of(reason: ConnectionClosed) -> int:
    """Return the server's close code; BROKEN when there was none."""
    return reason.rcvd.code if reason.rcvd else BROKEN
