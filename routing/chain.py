"""The seam to the chain: send bytes, look signatures up, know the height."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

LOOKUP_LIMIT = 256
"""Signatures in one look-up (Solana JSON-RPC `getSignatureStatuses`)."""


class ChainUnreachable(Exception):
    """The chain did not answer.  Proves nothing about what was sent: the attempt stays open."""


class Landing(StrEnum):
    """What the chain knows of a signature."""

    LANDED = "landed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Blockhash:
    """A recent blockhash and the last block height at which a transaction that names it can land."""

    hash: str
    last_valid_height: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One signature's fate; amounts in base units, the fee in lamports."""

    signature: str
    landing: Landing
    slot: int = 0
    amount_out: int = 0
    fee_lamports: int = 0
    error_code: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """One answer of the chain: the finalized height is not older than the findings."""

    finalized_height: int
    findings: dict[str, Finding]


class Chain(Protocol):
    """One chain.  Every call has its own time limit and raises ChainUnreachable past it."""

    def blockhash(self) -> Blockhash:
        """Return a blockhash to sign with."""
        ...

    def send(self, transactions: Sequence[bytes]) -> None:
        """Broadcast signed transactions; the same bytes may be sent any number of times."""
        ...

    def look(self, signatures: Sequence[str]) -> Look:
        """Look up to LOOKUP_LIMIT signatures up, with history search."""
        ...
