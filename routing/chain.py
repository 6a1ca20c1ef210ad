"""The interface to the chain: get blockhashes, broadcast transactions, look up signatures and the block height."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

LOOKUP_LIMIT = 256
"""Maximum signatures per lookup (Solana JSON-RPC `getSignatureStatuses`)."""


class ChainUnreachable(Exception):
    """The chain did not answer.  This proves nothing about sent transactions: their attempts stay open."""


class TransactionRefused(Exception):
    """The chain refused some transactions; resending those bytes does not help.  The others were broadcast.

    `reasons` gives the reason by position in the batch.
    """

    def __init__(self, reasons: dict[int, str]) -> None:
        super().__init__("; ".join(f"transaction {position}: {reason}" for position, reason in reasons.items()))
        self.reasons = reasons


class Landing(StrEnum):
    """The status of a signature on the chain."""

    LANDED = "landed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Blockhash:
    """A recent blockhash, and the last block height at which a transaction that uses it can land."""

    hash: str
    last_valid_height: int


@dataclass(frozen=True, slots=True)
class Finding:
    """The lookup result for one signature; amounts are in base units, the fee in lamports."""

    signature: str
    landing: Landing
    slot: int = 0
    amount_out: int = 0
    fee_lamports: int = 0
    error_code: str = ""
    error: str = ""
    amount_in: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """One lookup result: the finalized height is never newer than the findings.

    If it were newer, a signature that landed between the two reads could be taken for expired, and its order signed
    again.
    """

    finalized_height: int
    findings: dict[str, Finding]


class Chain(Protocol):
    """One chain.  Every call has its own timeout, and raises ChainUnreachable on expiry."""

    def blockhash(self) -> Blockhash:
        """Return a blockhash to sign with."""
        ...

    def send(self, transactions: Sequence[bytes]) -> None:
        """Broadcast signed transactions; the same bytes may be sent any number of times.

        Raises TransactionRefused for those the chain will never accept, after the others were broadcast.
        """
        ...

    def look(self, signatures: Sequence[str]) -> Look:
        """Look up at most LOOKUP_LIMIT signatures, with history search."""
        ...
