"""Parsers of setting values: numbers, ranges, addresses and lists, each with what it accepts."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from routing.sandbox.replay import BadReplay, Replay


class BadSetting(Exception):
    """A setting is unknown or malformed; the message names it and what it accepts, and shows no secret."""

    def __str__(self) -> str:
        return f"setting error: {super().__str__()}"


@dataclass(frozen=True)
class Setting:
    """One row of the table; `parse` raises ValueError, whose message is what is accepted."""

    parse: Callable[[str], Any]
    default: str | None
    about: str


def whole(low: int, high: int) -> Callable[[str], int]:
    """Accept a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """Accept a number from `low` to `high`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"a number from {low} to {high}")
        return value

    return parse


def span(high: int) -> Callable[[str], tuple[int, int]]:
    """Accept `2000-3000` or one number, each from 0 to `high`; returns (low, high)."""

    def parse(text: str) -> tuple[int, int]:
        parts = text.split("-")
        if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
            raise ValueError("a range such as 2000-3000, or one whole number")
        low_, high_ = int(parts[0]), int(parts[-1])
        if not low_ <= high_ <= high:
            raise ValueError(f"a range whose first number is not above its second, both at most {high}")
        return low_, high_

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """Accept one of these words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return parse


def some_of(*choices: str) -> Callable[[str], tuple[str, ...]]:
    """Accept any of these words, separated by commas; empty for none."""

    def parse(text: str) -> tuple[str, ...]:
        words = tuple(word.strip() for word in text.split(",") if word.strip())
        if set(words) - set(choices):
            raise ValueError(f"any of {', '.join(choices)}, separated by commas")
        return words

    return parse


def url(*schemes: str) -> Callable[[str], str]:
    """Accept an address with one of these schemes."""

    def parse(text: str) -> str:
        if text.partition("://")[0] not in schemes or not text.partition("://")[2]:
            raise ValueError(f"an address that begins with {' or '.join(s + '://' for s in schemes)}")
        if not is_sound(text):
            raise ValueError(
                "an address with a port from 1 to 65535 or none, and with %40, %2F, %3F and %23 for @, /, ? and # "
                "in user, password and query"
            )
        return text

    return parse


def is_sound(address: str) -> bool:
    """Tell whether an address has no port or a valid one, and all its clients find the password where it stands.

    A bare @, /, ? or # in a password makes a part of it the host, the path or the query, which messages show.
    """
    try:
        parts = urlsplit(address)
        return parts.port != 0 and not parts.fragment and address.count("@") == parts.netloc.count("@") <= 1
    except ValueError:
        return False


PORTS = {"http": 80, "https": 443}
"""Those that an address need not name."""
ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII | re.IGNORECASE)


class Origin(NamedTuple):
    """Where a web page comes from, as RFC 6454 compares it."""

    scheme: str
    host: str
    port: int


def origin(text: str) -> Origin:
    """Accept `https://desk.example.com:8443`: a scheme, a host and perhaps a port, and nothing after them."""
    if not (parts := ORIGIN.fullmatch(text)):
        raise ValueError("an origin such as https://desk.example.com, without a path")
    scheme, host = parts[1].lower(), parts[2].lower()
    port = int(parts[3] or PORTS[scheme])
    if not 1 <= port <= 65535:
        raise ValueError("an origin whose port is from 1 to 65535")
    return Origin(scheme, host, port)


def origins(text: str) -> tuple[Origin, ...]:
    """Accept origins separated by commas; empty for none."""
    if "*" in text:
        raise ValueError("origins in full, such as https://desk.example.com: with * any website could place orders")
    return tuple(map(origin, names(text)))


def switch(text: str) -> bool:
    """Accept 1, 0, true or false."""
    if text.lower() not in ("0", "1", "true", "false"):
        raise ValueError("1, 0, true or false")
    return text.lower() in ("1", "true")


def recorded_prices(text: str) -> Path:
    """Accept the path of a file that the sandbox market can replay; the whole file is read to validate it."""
    if not Path(text).is_file():
        raise ValueError("the path of a file that exists")
    try:
        Replay.load(Path(text))
    except (BadReplay, OSError) as reason:
        raise ValueError(f"one-minute prices, but {reason}") from None
    return Path(text).resolve()


def filled(text: str) -> str:
    """Accept any non-empty text."""
    if not text:
        raise ValueError("some text")
    return text


def person(text: str) -> str:
    """Accept a name of a person, of the characters that user names have, and spaces."""
    if not re.fullmatch(r"[\w.@+ -]{1,150}", text):
        raise ValueError("1 to 150 letters, digits, spaces and any of . @ + - _")
    return text


def names(text: str) -> tuple[str, ...]:
    """Accept names separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())
