"""The seam to the chain: send bytes, look signatures up, know the height."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

LOOKUP_LIMIT = 256
"""Signatures in one look-up (Solana JSON-RPC `getSignatureStatuses`)."""


class ChainUnreachable(Exception):
    """The chain did not answer.  Proves nothing about what was sent: the attempt stays open."""


class TransactionRefused(Exception):
    """The chain did not take some transactions in; no retry of those bytes helps.  The others were broadcast.

    `reasons` says why, by position in what was sent.
    """

    def __init__(self, reasons: dict[int, str]) -> None:
        super().__init__("; ".join(f"transaction {position}: {reason}" for position, reason in reasons.items()))
        self.reasons = reasons


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
    """One answer of the chain: the finalized height is not newer than the findings.

    The other way round, a signature that landed between the two readings could be called expired, and signed again.
    """

    finalized_height: int
    findings: dict[str, Finding]


class Chain(Protocol):
    """One chain.  Every call has its own time limit and raises ChainUnreachable past it."""

    def blockhash(self) -> Blockhash:
        """Return a blockhash to sign with."""
        ...

    def send(self, transactions: Sequence[bytes]) -> None:
        """Broadcast signed transactions; the same bytes may be sent any number of times.

        Raises TransactionRefused for those the chain will never take in, once the others are on their way.
        """
        ...

    def look(self, signatures: Sequence[str]) -> Look:
        """Look up to LOOKUP_LIMIT signatures up, with history search."""
        ...
