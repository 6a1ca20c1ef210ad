"""The cases: each is made from a seed and its number alone."""

from dataclasses import dataclass
from random import Random

from tests.fuzz import messages

PATIENT = 40
"""One of so many sockets waits for the server's end, the others break off: it may take as long as two pings."""


@dataclass(frozen=True)
class Case:
    """What one connection sends, piece by piece, and whether it waits until the server closes."""

    number: int
    kind: str
    pieces: tuple[bytes, ...]
    patient: bool = True


def case(seed: int, number: int, endpoints: list[str], sockets: list[str], key: str) -> Case:
    """Make a case; half of them send the key."""
    rng = Random(f"{seed}/{number}")
    header = f"Authorization: Bearer {key}\r\n".encode() if key and number % 2 else b""
    if rng.random() < 0.65:
        api = [one for one in endpoints if one.startswith("/api")]
        places = api if rng.random() < 0.8 else endpoints
        return Case(number, "http", pieces(rng, messages.requests(rng, places, header)))
    opening = messages.handshake(rng, rng.choice(sockets), header)
    sent = (opening, *pieces(rng, messages.frames(rng)))
    return Case(number, "socket", sent, patient=rng.randrange(PATIENT) == 0)


def pieces(rng: Random, data: bytes) -> tuple[bytes, ...]:
    """Cut what is sent, mostly not at all."""
    if rng.random() < 0.8 or len(data) < 10:
        return (data,)
    cuts = sorted(rng.sample(range(1, len(data)), rng.choice((1, 2, 5))))
    return tuple(data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True))
