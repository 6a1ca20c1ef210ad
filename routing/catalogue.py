"""The tokens and pairs this engine trades: rows in Postgres, cached by each process for a few seconds."""

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
    """A snapshot of the tables."""

    tokens: dict[str, Token]
    """By symbol and by mint."""
    pairs: dict[str, Pair]
    """Every known directed pair by name, active or not: an order may outlive the deactivation of its pair."""
    active: dict[str, Pair] = field(default_factory=dict)

    def pair(self, name: str) -> Pair:
        """Return a pair by name; a pair named by mint before its token was listed gets the token's symbol.

        While the token is still unlisted, the pair's `token_out` is marked as unlisted.  Raises UnknownPair.
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
        """Return the symbols of the tokens in active pairs."""
        return sorted({token.symbol for pair in self.active.values() for token in (pair.token_in, pair.token_out)})


def read() -> Catalogue:
    """Load the catalogue from the tables."""
    # The query joins the tokens: otherwise a pair added between two statements could lack them.
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
    """Tell whether a string is a Solana address."""
    try:
        return bool(Pubkey.from_string(text))
    except ValueError:
        return False


def unlisted(mint: str) -> Token:
    """Return a placeholder token for a mint that is not in the catalogue yet."""
    return Token(mint, mint, 0, listed=False)


def token_of(row: models.Token) -> Token:
    """Build a token from its row."""
    return Token(row.symbol, row.mint, row.decimals)


class Memory:
    """The process's cached catalogue."""

    def __init__(self) -> None:
        self.reading: Catalogue | None = None
        self.read_at = float("-inf")
        self.reader = threading.Lock()

    def recent(self) -> Catalogue | None:
        """Return the cached catalogue if it is at most REMEMBER_S old; never queries the database."""
        return self.reading if time.monotonic() - self.read_at <= REMEMBER_S else None

    def __call__(self) -> Catalogue:
        """Return the catalogue, at most REMEMBER_S old, or an older one while Postgres is down.

        Raises DatabaseError when none has been loaded yet.
        """
        # While one thread reloads, the others use the cached catalogue.
        if not self.reader.acquire(blocking=self.reading is None) and self.reading:
            return self.reading
        try:
            return self.recent() or self.renew()
        finally:
            self.reader.release()

    def renew(self) -> Catalogue:
        """Reload, or keep the cached catalogue for another REMEMBER_S."""
        try:
            self.reading = read()
        except DatabaseError as reason:
            if self.reading is None:
                raise
            log.warning("catalogue not read, keeping the last one", reason=str(reason))
        self.read_at = time.monotonic()
        assert self.reading is not None
        return self.reading

    def forget(self) -> None:
        """Reload on the next use, because a token or pair was edited."""
        self.read_at = float("-inf")


catalogue = Memory()
