"""The engine's database users and their rights: nobody but `migrate` can change a table's definition."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deploy.options import CannotStart

USERS: Mapping[str, tuple[str, ...]] = {
    "engine_api": ("api",),
    "engine_workers": ("order", "limit", "sniper", "stream", "beat"),
    "engine_dbsync": ("dbsync",),
    "engine_dlq": ("dlq",),
}
"""The roles that each user works for; what it may do is in rights.sql."""
SCRIPT = Path(__file__).with_name("rights.sql")
LOCK = 0x7269_6768_7473
"""The advisory lock's number, "rights": two at once would change the same rows of the catalogue."""


def grant(addresses: Iterable[str]) -> str:
    """Make the users whom these addresses name, with their passwords, and give each exactly its rights.

    A login that may not make users expects to find them there.  Raises CannotStart.
    """
    from django.db import connection, transaction

    parts = [urlsplit(address) for address in addresses]
    passwords = {unquote(one.username or ""): unquote(one.password or "") for one in parts}
    if passwords.keys() != USERS.keys():
        raise CannotStart(f"--users: needs an address for each of {', '.join(USERS)} and no other")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor.execute("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
        if cursor.fetchone()[0]:
            make(cursor, passwords)
        elif missing := passwords.keys() - existing(cursor):
            raise CannotStart(
                f"--users: DATABASE_URL's user cannot make users; make {', '.join(sorted(missing))} first"
            )
        cursor.execute(SCRIPT.read_text())
    return f"rights of {', '.join(USERS)} given"


def existing(cursor: object) -> set[str]:
    """Return which of the users there are."""
    cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(USERS)])  # type: ignore[attr-defined]
    return {name for (name,) in cursor.fetchall()}  # type: ignore[attr-defined]


def make(cursor: object, passwords: Mapping[str, str]) -> None:
    """Make the users that are missing, and set the password of each: of it the server only sees a digest."""
    from psycopg import sql

    there = existing(cursor)
    encrypt = cursor.connection.pgconn.encrypt_password  # type: ignore[attr-defined]
    for name, password in passwords.items():
        digest = encrypt(password.encode(), name.encode(), b"scram-sha-256").decode()
        verb = sql.SQL("ALTER" if name in there else "CREATE")
        statement = "{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD {}"
        cursor.execute(sql.SQL(statement).format(verb, sql.Identifier(name), sql.Literal(digest)))  # type: ignore[attr-defined]
