"""API keys: made, looked up, revoked.

A key is a secret of 256 random bits.  Postgres keeps its digest, by BLAKE2b (RFC 7693) keyed with a pepper that no
database has; a secret this long needs no slow hash.  Every process looks keys up in its own copy of the table, renewed
once a second and at once where a change is announced.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from math import inf
from typing import Any

import structlog
from django.db import DatabaseError, transaction
from django.utils import timezone

from orders.access.callers import OPEN_ORDERS_MAX, Caller, Scope, Unauthorized
from orders.flow.batcher import batcher
from orders.flow.pauses import HEARD, announce
from orders.models import ApiKey, Webhook, WebhookState
from orders.stores.pepper import pepper
from orders.stores.threads import late
from routing.memory import Memory

log = structlog.get_logger(__name__)

MARK = "oek"
"""How every key begins, so that a scanner for leaked secrets can know it."""
PREFIX_LENGTH = 8
"""Characters of a key that are kept readable, to tell keys apart."""
EVERY_S = 1.0
AGAIN_S = 0.25
"""Age of the copy from which an unknown key makes it be read again."""
STALE_S = 30.0
"""Age of the copy from which no key is accepted: the database may long have revoked it."""
WITHIN_S = 5.0
"""How long a reading may take."""
USED_EVERY_S = 60.0
"""How often the times of last use are written."""
LIMITS = ("orders_per_minute", "open_orders_max", "cancels_on_disconnect")
"""Fields of a key, and of its caller in this sequence, that its successor inherits."""
SEND_A_KEY = "send an API key: Authorization: Bearer <key>"


@dataclass(frozen=True)
class Table:
    """The keys that hold, by digest, as read at `read_at` (monotonic seconds)."""

    callers: Mapping[bytes, Caller] = field(default_factory=dict)
    read_at: float = float("-inf")

    def caller(self, token: str) -> Caller:
        """Return whose key this is.

        Raises Unauthorized, Late.
        """
        found = self.known().get(digest(token))
        if found is None or found.expires <= time.time():
            raise Unauthorized(f"the API key is unknown, revoked or expired; {SEND_A_KEY}")
        used.add(found.key)
        return found

    def by_id(self, key: int) -> Caller:
        """Return the caller of the key with this id.

        Raises Unauthorized, Late.
        """
        found = next((one for one in self.known().values() if one.key == key), None)
        if found is None or found.expires <= time.time():
            raise Unauthorized(f"the API key was revoked or has expired; {SEND_A_KEY}")
        return found

    def known(self) -> Mapping[bytes, Caller]:
        """Return the keys; none of a copy that is too old.

        Raises Late.
        """
        if time.monotonic() - self.read_at > STALE_S:
            raise late(STALE_S)
        return self.callers

    def has_ended(self, caller: Caller) -> bool:
        """Tell whether the caller's key, if it has one, is revoked or expired by now."""
        return caller.key is not None and not (caller.key in self.ids and caller.expires > time.time())

    @cached_property
    def ids(self) -> frozenset[int | None]:
        return frozenset(one.key for one in self.callers.values())


used: set[int | None] = set()
"""Keys looked up since their times were last written."""
written_at = 0.0


def read() -> Table:
    """Read the keys that hold, and now and then write which were used.

    Raises DatabaseError.
    """
    read_at = time.monotonic()
    write_used(read_at)
    rows = ApiKey.objects.filter(revoked_at=None, owner__is_active=True).exclude(expires_at__lte=timezone.now())
    columns = ("digest", "owner_id", "name", "scopes", "pk", "expires_at", *LIMITS)
    return Table({bytes(row[0]): as_caller(*row[1:]) for row in rows.values_list(*columns)}, read_at)


def as_caller(
    owner: int, name: str, scopes: Iterable[str], key: int, expires_at: datetime | None, *limits: Any
) -> Caller:
    known = frozenset(Scope(scope) for scope in scopes if scope in list(Scope))
    return Caller(owner, f"the key {name}", known, key, expires_at.timestamp() if expires_at else inf, *limits)


def write_used(now: float) -> None:
    global used, written_at
    if used and now - written_at > USED_EVERY_S:
        # Others go on adding, to the new set.
        written, used, written_at = used, set(), now
        ApiKey.objects.filter(pk__in=[key for key in written if key]).update(last_used_at=timezone.now())


keys = Memory("API keys", read, Table(), (DatabaseError,), EVERY_S)
"""The keys, as this process knows them."""
HEARD["keys.changed"] = keys.forget


async def recent() -> Table:
    """Return this process's copy without blocking the event loop.

    Under traffic it is renewed beside the requests; one that is older, or known to be wrong, is read anew first.
    Raises Late.
    """
    age = time.monotonic() - keys.read_at
    if age > 2 * EVERY_S:
        return await beside(keys)
    if age > EVERY_S and not renewing:
        task = asyncio.create_task(beside(keys), context=Context())
        renewing.add(task)
        task.add_done_callback(renewed)
    return keys.reading


async def beside(read: Callable[[], Table]) -> Table:
    """Read on the thread that only acceptance uses: no flood of readers keeps an order waiting for its key.

    Raises Late.
    """
    return await batcher().beside.run(WITHIN_S, read)


renewing: "set[asyncio.Task[Table]]" = set()


def renewed(task: "asyncio.Task[Table]") -> None:
    renewing.discard(task)
    if not task.cancelled() and (reason := task.exception()):
        log.warning("API keys not renewed", reason=str(reason))


def caller(header: str) -> Caller:
    """Return whose key an Authorization header sends; a key that is not known may just have been made.

    Raises Unauthorized, Late.
    """
    token, table = bearer(header), keys()
    return keys_again().caller(token) if is_old_without(token, table) else table.caller(token)


async def caller_soon(header: str) -> Caller:
    """Return the same without blocking the event loop."""
    token, table = bearer(header), await recent()
    return (await beside(keys_again)).caller(token) if is_old_without(token, table) else table.caller(token)


def is_old_without(token: str, table: Table) -> bool:
    return digest(token) not in table.callers and time.monotonic() - table.read_at > AGAIN_S


def keys_again() -> Table:
    """Read the table again, unless somebody has just tried."""
    if time.monotonic() - keys.read_at > AGAIN_S:
        keys.forget()
    return keys()


def bearer(header: str) -> str:
    """Return the key of an Authorization header.

    Raises Unauthorized.
    """
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized(SEND_A_KEY)
    return token.strip()


def digest(token: str) -> bytes:
    return hashlib.blake2b(token.encode("utf-8", "replace"), key=pepper(), digest_size=32).digest()


def issue(
    name: str, owner: Any, scopes: Collection[Scope], expires_at: datetime | None = None, by: str = "", **limits: Any
) -> tuple[ApiKey, str]:
    """Make a key; the secret is returned here and kept nowhere."""
    prefix = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(PREFIX_LENGTH))
    token = f"{MARK}_{prefix}_{secrets.token_urlsafe(32)}"
    row = ApiKey.objects.create(
        **{"name": name, "prefix": prefix, "digest": digest(token), "owner": owner, "scopes": sorted(scopes)},
        **{"expires_at": expires_at, "open_orders_max": OPEN_ORDERS_MAX, **limits},
    )
    log.warning("API key made", key=prefix, owner=str(owner), scopes=row.scopes, by=by)
    transaction.on_commit(keys_changed)
    return row, token


def revoke(rows: Collection[ApiKey], by: str) -> None:
    """End keys, within a second, on every server; sockets opened with them are closed."""
    now = timezone.now()
    for row in rows:
        if row.revoked_at is None:
            row.revoked_at = now
            row.save(update_fields=["revoked_at"])
            log.warning("API key revoked", key=row.prefix, by=by)
    transaction.on_commit(keys_changed)


def webhooks_left(rows: Collection[ApiKey]) -> str:
    """Say which webhooks of these keys' accounts still send events; an empty text if none does.

    A webhook is an account's and outlives the key that made it: who revokes a stolen key must look at these, too.
    """
    left = Webhook.objects.filter(owner__in={row.owner_id for row in rows}, state=WebhookState.ACTIVE)
    named = [f"{webhook.url} ({webhook.owner})" for webhook in left.select_related("owner").order_by("created_at")]
    if not named:
        return ""
    return f"Events still go to {', '.join(named)}; stop those you do not know in the admin under Webhooks."


class Ended(Exception):
    """The key has been revoked or has expired."""


def rotate(row: ApiKey, overlap_s: int, by: str) -> tuple[ApiKey, str]:
    """Make a key that takes the place of another, which goes on for `overlap_s` seconds.

    Raises Ended.
    """
    if row.revoked_at or (row.expires_at and row.expires_at <= timezone.now()):
        raise Ended(f"the API key {row} has ended; make another")
    with transaction.atomic():
        limits = {name: getattr(row, name) for name in LIMITS}
        made = issue(row.name, row.owner, [Scope(scope) for scope in row.scopes], row.expires_at, by, **limits)
        ends = timezone.now() + timedelta(seconds=overlap_s)
        if row.expires_at is None or row.expires_at > ends:
            row.expires_at = ends
            row.save(update_fields=["expires_at"])
    return made


def keys_changed() -> None:
    """Have every process read the keys anew."""
    keys.forget()
    announce("keys.changed")
