"""`python3 -m deploy.make_secrets [FOLDER]`: makes the passwords and keys that deploy/compose.yml hands out as files.

Files that exist stay as they are: a password that Postgres was initialised with cannot be replaced by another.  Only
`redis_users` is made again if what the Redis users may do has changed; Valkey reads it when it is restarted.
"""

import argparse
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy import redis_rights

FOLDER = Path(__file__).resolve().parent / "compose" / "secrets"
Known = Mapping[str, str]
USERS = ("api", "workers", "dbsync", "dlq")
"""The database users besides the owner, who alone changes tables; their rights are in rights.sql."""
ROLES = tuple(role for role in redis_rights.USERS if role != "keda")
"""The roles that have a Redis user each; what it may do is in redis_rights.py."""
MADE: dict[str, Callable[[Known], str]] = {
    # Letters, digits, - and _: they stand in addresses as they are.
    "postgres_password": lambda _: secrets.token_urlsafe(32),
    "redis_password": lambda _: secrets.token_urlsafe(32),
    "secret_key": lambda _: secrets.token_urlsafe(50),
    # 32 random bytes, with which the digests of API keys are made; without it no key is valid.
    "key_pepper": lambda _: secrets.token_urlsafe(32),
    "admin_password": lambda _: secrets.token_urlsafe(18),
    "database_url": lambda known: f"postgresql://engine:{known['postgres_password']}@postgres:5432/engine",
    **{
        f"database_url_{user}": lambda _, user=user: (  # type: ignore[misc]
            f"postgresql://engine_{user}:{secrets.token_urlsafe(32)}@postgres:5432/engine"
        )
        for user in USERS
    },
    **{
        f"redis_url_{role}": lambda _, role=role: (  # type: ignore[misc]
            f"redis://{redis_rights.name_of(role)}:{secrets.token_urlsafe(32)}@valkey:6379/0"
        )
        for role in ROLES
    },
}
REDIS_USERS = "redis_users"
"""Valkey's ACL file, made of these each time: what a role may do changes with versions."""


def make(folder: Path) -> list[str]:
    """Make what is missing; returns the names of that."""
    folder.mkdir(parents=True, exist_ok=True)
    # Nobody else enters the folder; the files themselves are read in the containers, by another account.
    folder.chmod(0o700)
    # What Alertmanager sends with is the operator's to put here.
    (folder / "alerts").mkdir(exist_ok=True)
    known: dict[str, str] = {}
    made = []
    for name, value in MADE.items():
        path = folder / name
        if not path.exists():
            write(path, value(known))
            made.append(name)
        known[name] = path.read_text().strip()
    users = redis_users(folder)
    path = folder / REDIS_USERS
    if not path.exists() or path.read_text() != users:
        write(path, users)
        made.append(REDIS_USERS)
    return made


def redis_users(folder: Path) -> str:
    """Return Valkey's ACL file."""
    known = redis_rights.read([folder / "redis_password", *(folder / f"redis_url_{role}" for role in ROLES)])
    return redis_rights.acl(known, ROLES)


def write(path: Path, text: str) -> None:
    """Write a file that is complete from the moment it has its name."""
    making = path.with_name(f".{path.name}.new")
    making.write_text(f"{text.rstrip()}\n")
    making.chmod(0o444)
    making.replace(path)


def main(arguments: list[str]) -> int:
    """Make them and say where."""
    what = str(__doc__).partition(": ")[2]
    options = argparse.ArgumentParser(prog="python3 -m deploy.make_secrets", description=what)
    options.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="default: %(default)s")
    folder: Path = options.parse_args(arguments).folder
    made = make(folder)
    print(f"made in {folder}: {', '.join(made)}" if made else f"all there already in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
