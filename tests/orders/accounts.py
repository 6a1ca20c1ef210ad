"""Accounts with API keys of their own, as rows, and what they may do."""

from contextlib import contextmanager
from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from orders.access import keys
from orders.access.callers import TRADER, Scope
from orders.models import ApiKey

READ_ROWS = keys.read


def account(name, **more):
    """Return the account of that name, made if need be; nobody logs in with its password."""
    return User.objects.get_or_create(username=name, defaults=more)[0]


def bearer(owner, scopes=TRADER, **more):
    """Make a key for an account; return the header that sends it."""
    _, token = keys.issue(f"{owner.username}'s", owner, list(scopes), **more)
    return {"authorization": f"Bearer {token}"}


def row_of(header):
    """Return the row of the key that a header sends."""
    return ApiKey.objects.get(prefix=header["authorization"].split("_")[1])


def bad_headers(owner):
    """Return what does not let an account in, by what is wrong with it."""
    revoked = bearer(owner)
    keys.revoke([row_of(revoked)], "test")
    return {
        "none": {},
        "unknown": {"authorization": "Bearer oek_abcdefgh_never-made"},
        "another scheme": {"authorization": "Basic YWRtaW46YWRtaW4="},
        "expired": bearer(owner, expires_at=timezone.now() - timedelta(seconds=1)),
        "revoked": revoked,
    }


@contextmanager
def rows_of_keys(patch):
    """Look keys up in their table, as servers do."""
    patch.setattr(keys.keys, "read", READ_ROWS)
    keys.keys.forget()
    yield
    keys.keys.forget()


EVERY_SCOPE = frozenset(Scope)
