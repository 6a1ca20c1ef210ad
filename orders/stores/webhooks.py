"""Webhooks in Postgres: who may deliver one, how far it is delivered, and its secrets.

One process at a time delivers a webhook: whoever holds its lease.  The cursor moves by a statement that names the lease
and the cursor as it was, so a process that was frozen and wakes after another took over moves nothing.  Who changes a
webhook (its address, state or cursor) takes the lease away in the same statement.
"""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Case, F, QuerySet, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Least, Now

from orders.models import Webhook, WebhookState
from orders.stores import journal
from orders.stores.ids import new_id
from orders.stores.pepper import pepper
from orders.stores.rows import fetch, fetch_as

LEASE_S = 30
OVERLAP_S = 86_400
"""How long a secret that was rotated still signs, in seconds."""
SLOW_MS = 1_000
"""Time that a call took from which the webhook counts as slow."""
ERROR_MAX = 300
LOCK = 0x776562
"""The advisory lock's first number, "web"; the second is the account."""
FREED: dict[str, Any] = {"lease": None, "leased_until": None}


class TooManyWebhooks(Exception):
    """The account has as many webhooks as it may."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A webhook to be delivered by the holder of `lease`.

    `account` is whose it is, and `owner` whose events it gets: None for every account's.
    """

    id: UUID
    lease: UUID
    account: int
    owner: int | None
    url: str
    cursor: int
    replays: int
    failures: int
    secret_ids: list[UUID]
    entitled: bool


def claim(limit: int, *, slow: bool, busy: Sequence[UUID] = (), sated: Sequence[int] = ()) -> list[Claim]:
    """Take the lease of webhooks that have something to deliver, those first that have waited longest.

    `slow` chooses between those that failed or were slow last time and all others.  Without the webhooks `busy` and
    those of the accounts `sated`.  Raises DatabaseError.
    """
    sql = """
        WITH due AS (
            SELECT w.id FROM orders_webhook w
            WHERE w.state = 'active' AND w.next_at <= now() AND (w.leased_until IS NULL OR w.leased_until <= now())
              AND (w.failures > 0 OR w.last_ms > %s) = %s
              AND w.id <> ALL (%s::uuid[]) AND w.owner_id <> ALL (%s::bigint[])
              AND CASE WHEN w.all_accounts THEN w.cursor < (SELECT max(position) FROM orders_journalrow)
                       ELSE EXISTS (SELECT FROM orders_journalrow j
                                    WHERE j.owner_id = w.owner_id AND j.position > w.cursor) END
            ORDER BY w.next_at LIMIT %s FOR UPDATE SKIP LOCKED
        )
        UPDATE orders_webhook w SET lease = gen_random_uuid(), leased_until = now() + %s * interval '1 second'
        FROM due WHERE due.id = w.id
        RETURNING w.id, w.lease, w.owner_id AS account, CASE WHEN NOT w.all_accounts THEN w.owner_id END AS owner,
                  w.url, w.cursor, w.replays, w.failures, array_remove(ARRAY[w.secret_id,
                      CASE WHEN w.old_secret_until > now() THEN w.old_secret_id END], NULL) AS secret_ids,
                  EXISTS (SELECT FROM auth_user u WHERE u.id = w.owner_id AND u.is_active)
                  AND (NOT w.all_accounts OR EXISTS (
                      SELECT FROM orders_apikey k WHERE k.owner_id = w.owner_id AND k.scopes @> '"admin"'
                      AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()))) AS entitled
    """
    return fetch_as(Claim, sql, SLOW_MS, slow, list(busy), list(sated), limit, LEASE_S)


def advance(held: Claim, position: int, status: int | None, ms: int) -> bool:
    """Move the cursor past what was delivered, and free the webhook; return False if another has taken over.

    Raises DatabaseError.
    """
    sql = """
        UPDATE orders_webhook SET cursor = %s, lease = NULL, leased_until = NULL, next_at = now(), failures = 0,
               failing_since = NULL, last_at = now(), last_ms = %s, last_status = %s, last_error = ''
        WHERE id = %s AND lease = %s AND cursor = %s RETURNING 1
    """
    return bool(fetch(sql, position, ms, status, held.id, held.lease, held.cursor))


def fail(held: Claim, error: str, status: int | None, ms: int, wait_ms: int, give_up_h: int) -> str | None:
    """Note a failure and free the webhook for `wait_ms`; return its state, None if another has taken over.

    After `give_up_h` hours of failures it is `failed`.  Raises DatabaseError.
    """
    sql = """
        UPDATE orders_webhook SET lease = NULL, leased_until = NULL, next_at = now() + %s * interval '1 millisecond',
               failures = failures + 1, failing_since = coalesce(failing_since, now()), last_at = now(), last_ms = %s,
               last_status = %s, last_error = %s,
               state = CASE WHEN failing_since <= now() - %s * interval '1 hour' THEN 'failed' ELSE state END
        WHERE id = %s AND lease = %s RETURNING state
    """
    rows = fetch(sql, wait_ms, ms, status, error[:ERROR_MAX], give_up_h, held.id, held.lease)
    return str(rows[0][0]) if rows else None


def close(held: Claim, error: str) -> None:
    """End a webhook whose owner may not have it any more.

    Raises DatabaseError.
    """
    Webhook.objects.filter(pk=held.id, lease=held.lease).update(
        **FREED, state=WebhookState.FAILED, last_error=error[:ERROR_MAX]
    )


LAG_S = """
    coalesce(extract(epoch FROM now() - CASE WHEN orders_webhook.all_accounts THEN (
        SELECT j.at FROM orders_journalrow j WHERE j.position > orders_webhook.cursor ORDER BY j.position LIMIT 1
    ) ELSE (
        SELECT j.at FROM orders_journalrow j
        WHERE j.owner_id = orders_webhook.owner_id AND j.position > orders_webhook.cursor ORDER BY j.position LIMIT 1
    ) END), 0)::float
"""
"""Age of the oldest event that is not delivered, in seconds; 0 for none."""


def with_lag(rows: "QuerySet[Webhook]") -> "QuerySet[Webhook]":
    """Add `lag_s` to webhooks: the age of the oldest event that is not delivered, in seconds; 0 for none."""
    return rows.annotate(lag_s=RawSQL(LAG_S, ()))  # noqa: S611 - a constant of this module


def longest_lag_s() -> float:
    """Return the longest lag of an active webhook, in seconds.

    Raises DatabaseError.
    """
    ((longest,),) = fetch(f"SELECT max({LAG_S}) FROM orders_webhook WHERE state = 'active'")  # noqa: S608
    return longest or 0.0


def make(owner: int, url: str, *, all_accounts: bool, most: int) -> Webhook:
    """Make a webhook that begins with what happens next.

    Raises TooManyWebhooks, DatabaseError.
    """
    with transaction.atomic():
        # One at a time for an account: two could each see room for the last.
        fetch("SELECT pg_advisory_xact_lock(%s, %s)", LOCK, owner)
        if Webhook.objects.filter(owner=owner).count() >= most:
            raise TooManyWebhooks(f"this account has {most} webhooks, of at most {most}; delete one")
        _, newest = journal.bounds()
        given = {"url": url, "all_accounts": all_accounts, "secret_id": uuid4(), "cursor": newest}
        row = Webhook.objects.create(id=new_id(), owner_id=owner, **given)
        row.refresh_from_db()
        return row


def rotate(rows: "QuerySet[Webhook]") -> None:
    """Give a webhook a new secret; the one before signs beside it for OVERLAP_S, and one before that no more.

    Raises DatabaseError.
    """
    with transaction.atomic():
        for row in rows.select_for_update():
            row.old_secret_id, row.secret_id = row.secret_id, uuid4()
            row.old_secret_until = Now() + timedelta(seconds=OVERLAP_S)
            row.save(update_fields=["secret_id", "old_secret_id", "old_secret_until"])


def switch(rows: "QuerySet[Webhook]", *, on: bool) -> None:
    """Enable webhooks, which then go on where they stopped, or disable them; those that an operator stopped stay so.

    Raises DatabaseError.
    """
    state = WebhookState.ACTIVE if on else WebhookState.DISABLED
    theirs(rows).exclude(state=state).update(**afresh(), state=state)


def move(rows: "QuerySet[Webhook]", url: str) -> None:
    """Have webhooks go to another address from now on, but for those that an operator stopped.

    Raises DatabaseError.
    """
    theirs(rows).update(**afresh(), url=url)


def delete(rows: "QuerySet[Webhook]") -> None:
    """Delete webhooks, but for those that an operator stopped.

    Raises DatabaseError.
    """
    theirs(rows).delete()


def theirs(rows: "QuerySet[Webhook]") -> "QuerySet[Webhook]":
    """Return those that their owner may switch, move and delete."""
    return rows.exclude(state=WebhookState.STOPPED)


def stop(rows: "QuerySet[Webhook]", by: str, why: str) -> None:
    """Stop webhooks until an operator lifts that; their owner reads who stopped them and why.

    Raises DatabaseError.
    """
    told = f"stopped by the operator {by}: {why}"
    rows.update(**afresh(), state=WebhookState.STOPPED, last_error=told[:ERROR_MAX])


def lift(rows: "QuerySet[Webhook]") -> None:
    """Enable webhooks whoever stopped them; they go on where they stopped.

    Raises DatabaseError.
    """
    rows.exclude(state=WebhookState.ACTIVE).update(**afresh(), state=WebhookState.ACTIVE, last_error="")


def afresh() -> dict[str, Any]:
    """Return the fields that forget failures, and overtake whatever is under way.

    One that was slow stays among the slow until a call shows otherwise.
    """
    return {**FREED, "next_at": Now(), "failures": 0, "failing_since": None}


def replay(rows: "QuerySet[Webhook]", after: int) -> None:
    """Have webhooks deliver again what follows a position; one that is not as far goes on where it is.

    Raises DatabaseError.
    """
    rows.update(**afresh(), cursor=Least("cursor", after), replays=F("replays") + 1)


def with_old_secret(rows: "QuerySet[Webhook]") -> "QuerySet[Webhook]":
    """Add `signs_until` to webhooks: until when the old secret signs, by Postgres' clock; None if it does not."""
    return rows.annotate(signs_until=Case(When(old_secret_until__gt=Now(), then="old_secret_until")))


def secret(secret_id: UUID) -> bytes:
    """Derive a secret: 32 bytes that nobody knows who lacks the pepper."""
    return hmac.digest(pepper(), b"webhook:" + secret_id.bytes, "sha256")


def shown(secret_id: UUID) -> str:
    """Write a secret as Standard Webhooks has it."""
    return f"whsec_{base64.b64encode(secret(secret_id)).decode()}"


def signature(secret_ids: Sequence[UUID], message_id: str, at_s: int, body: bytes) -> str:
    """Sign a message with each secret.

    Source: Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    signed = f"{message_id}.{at_s}.".encode() + body
    made = (base64.b64encode(hmac.digest(secret(one), signed, "sha256")).decode() for one in secret_ids)
    return " ".join(f"v1,{one}" for one in made)
