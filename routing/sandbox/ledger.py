"""The sandbox chain: rows in Postgres, so that all processes see one chain and one clock."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
from django.db import InterfaceError, InternalError, OperationalError, connection

from routing import postgres
from routing.chain import LOOKUP_LIMIT, Blockhash, ChainUnreachable, Finding, Landing, Look, TransactionRefused
from routing.sandbox.faults import ChainFaults, Faults, none
from routing.sandbox.runtime import FEE_LAMPORTS, SLOT_MS, Entry, Runtime
from routing.transactions import BadTransaction

FINALITY_SLOTS = 32
"""Slots until a block is final; this also gives a slow writer 12.8 s before an expiry counts as proven."""

NOW = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

# Rows are written in signature order: otherwise two senders of the same transactions could deadlock.
WRITE = """
INSERT INTO routing_ledgerentry (signature, slot, lands_at, landing, amount_out, fee_lamports, error_code, error,
                                 memo, venue, amount_in, minimum_out, maximum_in)
SELECT signature, lands_ms / %s, to_timestamp(lands_ms / 1000.0), landing, amount_out, %s,
       error_code, error, memo, venue, amount_in, minimum_out, maximum_in
FROM json_to_recordset(%s) AS sent (signature text, lands_ms bigint, expires_ms bigint, landing text,
                                    amount_out numeric, error_code text, error text,
                                    memo text, venue text, amount_in numeric, minimum_out numeric,
                                    maximum_in numeric)
WHERE expires_ms >= extract(epoch FROM clock_timestamp()) * 1000
ORDER BY signature
"""
SENT_BEFORE = "ON CONFLICT (signature) DO NOTHING"

# The statement's own time is never later than the data it sees: with a height later than the findings, a signature
# that landed in between could be taken for expired.
READ = """
SELECT floor(extract(epoch FROM seen_at) * 1000)::bigint,
       signature, landing, slot, amount_out, fee_lamports, error_code, error, coalesce(amount_in, 0)
FROM (SELECT statement_timestamp() - %s * interval '1 millisecond' AS seen_at) AS always
LEFT JOIN routing_ledgerentry ON signature = ANY(%s::text[]) AND lands_at <= seen_at
"""


class SandboxLedger:
    """A simulated Chain on this machine.

    `drop_rate` is the share of broadcasts that are lost, drawn separately for each.  Statements are limited by the
    database's statement_timeout.  Call it outside a transaction: a chain does not roll back.
    """

    def __init__(
        self,
        runtime: Runtime,
        rng: Random,
        drop_rate: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
        faults: Callable[[], Faults] = none,
        asleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.runtime = runtime
        self.rng = rng
        self.drop_rate = drop_rate
        self.monotonic = monotonic
        self.faults = faults
        self.asleep = asleep
        self._latest: tuple[float, Blockhash] | None = None

    def blockhash(self) -> Blockhash:
        """Return a blockhash at most one slot older than the newest.

        Raises ChainUnreachable.
        """
        self._reached()
        asked_at = self.monotonic()
        if self._latest is None or (asked_at - self._latest[0]) * 1000 >= SLOT_MS:
            self._latest = (asked_at, self.runtime.blockhash(_now_ms()))
        return self._latest[1]

    def send(self, transactions: Sequence[bytes]) -> None:
        """Broadcast signed transactions; the first arrival of a signature decides its outcome.

        Raises ChainUnreachable, and TransactionRefused after the valid transactions were broadcast.
        """
        faults = self._reached()
        now_ms = _now_ms()
        entries: list[Entry] = []
        refused: dict[int, str] = {}
        for position, raw in enumerate(transactions):
            try:
                entry = self.runtime.entry(raw, now_ms, faults.late_ms)
            except BadTransaction as reason:
                refused[position] = str(reason)
                continue
            if entry is not None and self.rng.random() >= max(self.drop_rate, faults.drop_rate):
                entries.append(entry)
        _write(entries)
        if faults.unanswered_rate and self.rng.random() < faults.unanswered_rate:
            raise ChainUnreachable("the broadcast was not answered")
        if refused:
            raise TransactionRefused(refused)

    def look(self, signatures: Sequence[str]) -> Look:
        """Look up at most LOOKUP_LIMIT signatures; one that has not landed yet is unknown.

        Raises ChainUnreachable.
        """
        if len(signatures) > LOOKUP_LIMIT:
            raise ValueError(f"{len(signatures)} signatures are more than the {LOOKUP_LIMIT} of one look-up")
        faults = self._reached()
        rate = faults.forget_rate
        if not rate:
            return _look(signatures)
        late = frozenset(signature for signature in signatures if self.rng.random() < rate)
        return _together(
            signatures,
            _look([signature for signature in signatures if signature not in late]),
            _look(sorted(late), faults.forget_ms),
        )

    def _reached(self) -> ChainFaults:
        """Apply the chain's delays, and return its current faults.

        Raises ChainUnreachable.
        """
        faults = self.faults().chain
        if faults.hang_ms or faults.slow_ms:
            self.asleep((faults.hang_ms or faults.slow_ms) / 1000)
        if faults.down or faults.hang_ms:
            raise ChainUnreachable(f"no answer within {faults.hang_ms} ms")
        return faults


def forget(signatures: Sequence[str]) -> None:
    """Delete transactions that are no longer looked up; their blockhash expired long ago, so they cannot be resent."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM routing_ledgerentry WHERE signature = ANY(%s)", [list(signatures)])


def _look(signatures: Sequence[str], behind_ms: int = 0) -> Look:
    """Look up signatures in one statement, as a node that lags by `behind_ms`."""
    rows = _rows(READ, behind_ms, list(signatures))
    found = {signature: _finding(signature, *facts) for _, signature, *facts in rows if signature is not None}
    findings = {signature: found.get(signature) or Finding(signature, Landing.UNKNOWN) for signature in signatures}
    return Look(rows[0][0] // SLOT_MS - FINALITY_SLOTS, findings)


def _together(signatures: Sequence[str], *looks: Look) -> Look:
    """Merge the answers of several nodes; the height is that of the node furthest behind."""
    findings = {signature: finding for look in looks for signature, finding in look.findings.items()}
    height = min(look.finalized_height for look in looks)
    return Look(height, {signature: findings[signature] for signature in signatures})


def _finding(
    signature: str, landing: str, slot: int, paid: int, fee_lamports: int, error_code: str, error: str, taken: int
) -> Finding:
    return Finding(signature, Landing(landing), slot, int(paid), fee_lamports, error_code, error, int(taken))


def _now_ms() -> int:
    """Return the database's clock, which all processes share."""
    return int(_rows(NOW)[0][0])


def _write(entries: Sequence[Entry]) -> None:
    if not entries:
        return
    rows = [
        {
            "signature": entry.signature,
            "lands_ms": entry.lands_ms,
            "expires_ms": entry.expires_ms,
            "landing": entry.outcome.landing,
            "amount_out": entry.outcome.amount_out,
            "error_code": entry.outcome.error_code,
            "error": entry.outcome.error,
            "memo": entry.swap.memo,
            "venue": entry.swap.venue,
            "amount_in": entry.outcome.amount_in or entry.swap.amount_in,
            "minimum_out": entry.swap.min_out,
            "maximum_in": entry.swap.amount_in if entry.swap.exact_out else None,
        }
        for entry in entries
    ]
    with _reachable():
        given = msgspec.json.encode(rows).decode()
        postgres.fetch_new(lambda repeat: WRITE + repeat, SENT_BEFORE, SLOT_MS, FEE_LAMPORTS, given)


def _rows(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with _reachable():
        return postgres.fetch(statement, *values)


@contextmanager
def _reachable() -> Iterator[None]:
    """Convert a database failure to ChainUnreachable."""
    try:
        yield
    except (OperationalError, InterfaceError, InternalError) as reason:
        # Otherwise the broken connection would be reused until the request or task ends.
        connection.close_if_unusable_or_obsolete()
        raise ChainUnreachable(str(reason)) from reason
