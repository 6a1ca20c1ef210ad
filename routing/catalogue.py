"""Tokens and pairs this engine trades: rows in Postgres, remembered by each process for a few seconds."""

import threading
import time
from dataclasses import dataclass, field

import structlog
from django.db import DatabaseError
from solders.pubkey import Pubkey

from engine.money import MATHS, Token
from engine.quotes import Pair
from routing import models

log = structlog.get_logger(__name__)

REMEMBER_S = 5.0


class UnknownPair(Exception):
    """The pair is not, or no longer, in the catalogue."""


@dataclass(frozen=True)
class Catalogue:
    """One reading of the tables."""

    tokens: dict[str, Token]
    """By symbol and by mint."""
    pairs: dict[str, Pair]
    """Every known directed pair by name, active or not: an order may outlive its pair's activity."""
    active: dict[str, Pair] = field(default_factory=dict)

    def pair(self, name: str) -> Pair:
        """Return a pair by name; one that was named by mint before its token was listed comes with the token's name.

        While the token is still not listed, so says the pair's.  Raises UnknownPair.
        """
        if name in self.pairs:
            return self.pairs[name]
        sold, _, mint = name.partition("-")
        if sold not in self.tokens or not is_mint(mint):
            raise UnknownPair(name)
        bought = self.tokens.get(mint) or unlisted(mint)
        pair = Pair(self.tokens[sold], bought)
        return self.pairs.get(pair.name, pair)

    def symbols(self) -> list[str]:
        """Name the tokens that can be traded."""
        return sorted({token.symbol for pair in self.active.values() for token in (pair.token_in, pair.token_out)})


def read() -> Catalogue:
    """Read the tables."""
    # A pair comes with its own tokens: one added between two statements would lack them otherwise.
    rows = models.Pair.objects.select_related("token_in", "token_out")
    pairs = [
        (row.active, Pair(token_of(row.token_in), token_of(row.token_out), MATHS.normalize(row.tick))) for row in rows
    ]
    tokens = [token_of(row) for row in models.Token.objects.all()]
    return Catalogue(
        tokens={name: token for token in tokens for name in (token.symbol, token.mint)},
        pairs={pair.name: pair for _, pair in pairs},
        active={pair.name: pair for active, pair in pairs if active},
    )


def is_mint(text: str) -> bool:
    """Tell whether a text is a Solana address."""
    try:
        return bool(Pubkey.from_string(text))
    except ValueError:
        return False


def unlisted(mint: str) -> Token:
    """Make the token of a mint that is not in the catalogue yet."""
    return Token(mint, mint, 0, listed=False)


def token_of(row: models.Token) -> Token:
    """Make a token of its row."""
    return Token(row.symbol, row.mint, row.decimals)


class Memory:
    """The process's last reading."""

    def __init__(self) -> None:
        self.reading: Catalogue | None = None
        self.read_at = float("-inf")
        self.reader = threading.Lock()

    def recent(self) -> Catalogue | None:
        """Return the last reading if it is at most REMEMBER_S old; never touches the database."""
        return self.reading if time.monotonic() - self.read_at <= REMEMBER_S else None

    def __call__(self) -> Catalogue:
        """Return the catalogue, at most REMEMBER_S old; an older one while Postgres is away.

        Raises DatabaseError when there is none at all yet.
        """
        # While one thread reads anew, the others go on with what there is.
        if not self.reader.acquire(blocking=self.reading is None) and self.reading:
            return self.reading
        try:
            return self.recent() or self.renew()
        finally:
            self.reader.release()

    def renew(self) -> Catalogue:
        """Read again, or keep what there is for another while."""
        try:
            self.reading = read()
        except DatabaseError as reason:
            if self.reading is None:
                raise
            log.warning("catalogue not read, the last one stays", reason=str(reason))
        self.read_at = time.monotonic()
        assert self.reading is not None
        return self.reading

    def forget(self) -> None:
        """Read again on the next use: a token or pair was edited."""
        self.read_at = float("-inf")


catalogue = Memory()
