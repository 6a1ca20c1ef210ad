"""How a command reaches the engine: its address, the API key, and the errors shown when it cannot be reached."""

import argparse
import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.core.management import CommandError

from engine.events import moment
from orders.client import AnswerLost, Backoff, Client, Unauthorized, Unreachable, Unreadable

BACKOFF = Backoff()

INTERRUPTED = 130
"""Exit code of a program ended by Ctrl-C."""

KEY_FILE = "api-key"
"""In the data directory: the API key that `manage.py up` makes."""

NOT_RESTING, CHANGED = "not_resting", "changed"
"""Refusal codes after which a command reads the order again."""

DURATION = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Json = Mapping[str, Any]
Answer = TypeVar("Answer")


def own_url() -> str:
    """Return the address of the engine on this machine: that of the running one, else the one in the settings."""
    if running := settings.ENV["RUNNING_URL"]:
        return str(running)
    host = settings.ENV["ENGINE_HOST"]
    # An address that means "every interface" can be listened on, not always connected to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.ENV['ENGINE_PORT']}"


def add_url(parser: argparse.ArgumentParser) -> None:
    """Declare --url."""
    parser.add_argument(
        "--url", type=base_url, default=own_url(), help="address of the engine (default: %(default)s)", metavar="URL"
    )


def base_url(text: str) -> str:
    """Parse --url."""
    return text.rstrip("/")


def at(url: str) -> list[str]:
    """Return the arguments that direct another command to the same engine."""
    return [] if url == own_url() else ["--url", url]


def duration(text: str) -> timedelta:
    """Parse a duration.

    Raises ArgumentTypeError.
    """
    if found := DURATION.fullmatch(text):
        return timedelta(**{UNITS[found[2]]: int(found[1])})
    raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 90s, 10m, 2h or 1d")


def expiry(text: str) -> timedelta | str:
    """Parse --expires: a duration from now, or a time, which the engine validates.

    Raises ArgumentTypeError if it is neither.
    """
    if DURATION.fullmatch(text):
        return duration(text)
    if not re.match(r"\d{4}-\d", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a duration such as 90s, 10m, 2h or 1d nor a time such as 2026-11-22T18:00:00Z"
        )
    return text


def expires_at(asked: timedelta | str, now: datetime) -> str:
    """Format an expiry for the API."""
    return asked if isinstance(asked, str) else moment(int((now + asked).timestamp() * 1000))


def client(url: str) -> Client:
    """Make a client for interactive use: it reports an unreachable engine at once, and the user decides what to do.

    Raises CommandError for an API key that cannot be sent.
    """
    try:
        return Client(url, api_key=api_key(url), patience_s=0, backoff=BACKOFF)
    except ValueError as reason:
        raise CommandError(str(reason), returncode=2) from None


def api_key(url: str) -> str:
    """Return the API key to send to an address; empty if there is none.

    The key in the data directory is for the engine of this machine; no other address gets it.
    """
    if given := settings.ENV["ENGINE_API_KEY"]:
        return str(given)
    if url != own_url():
        return ""
    try:
        return (settings.DATA_DIR / KEY_FILE).read_text()
    except OSError:
        return ""


def unauthorized(url: str, reason: Unauthorized) -> CommandError:
    """Return the error that says how a command gets an API key."""
    kept = f", or let this account read {settings.DATA_DIR / KEY_FILE}, which `manage.py up` makes"
    return CommandError(
        f"{reason}\nSet ENGINE_API_KEY to a valid key of {url}{kept if url == own_url() else ''}.", returncode=2
    )


def ask(url: str, call: Callable[[Client], Awaitable[Answer]], *, doubt: str) -> Answer:
    """Make one call to the engine; `doubt` says what may have happened if the answer is lost.

    Raises Refused if the engine refuses it, CommandError if there is no readable answer.
    """
    try:
        return asyncio.run(answer(url, call))
    except Unreachable as reason:
        raise CommandError(
            f"cannot connect to {url}: {reason}\nIs `python3 manage.py up` running?  Is --url (or ENGINE_PORT) right?",
            returncode=2,
        ) from None
    except Unauthorized as reason:
        raise unauthorized(url, reason) from None
    except AnswerLost as reason:
        raise CommandError(f"the answer from {url} was lost ({reason}); {doubt}", returncode=2) from None
    except Unreadable as reason:
        raise CommandError(
            f"{url} answered, but not like this engine ({reason}); is --url right?", returncode=2
        ) from None
    except KeyboardInterrupt:
        raise CommandError(f"interrupted before {url} answered; {doubt}", returncode=INTERRUPTED) from None


async def answer(url: str, call: Callable[[Client], Awaitable[Answer]]) -> Answer:
    async with client(url) as connected:
        return await call(connected)
