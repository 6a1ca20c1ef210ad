"""Whose account PostgreSQL runs under, and where its data lives."""

import hashlib
import os
import pwd
import subprocess
from pathlib import Path

from deploy.servers import Account, StoreFailed, as_account

SYSTEM_HOME = Path("/var/lib/order-engine")
"""Where root's data goes when the account PostgreSQL runs under cannot reach the project."""


def account_for(data_dir: Path) -> Account | None:
    """Whom the server runs as: ourselves, or for root, whom it refuses, the owner of existing data, else nobody."""
    if os.geteuid() != 0:
        return None
    for home in (data_dir, fallback_home(data_dir)):
        pgdata = home / "postgres"
        if pgdata.is_dir() and pgdata.stat().st_uid != 0:
            return Account.of(pgdata.stat().st_uid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise StoreFailed(
            "PostgreSQL does not run as root, and there is no account `nobody` to run it as.\n"
            "Start as an ordinary user, or set DATABASE_URL.",
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid, "nobody")


def home_for(data_dir: Path, account: Account | None) -> Path:
    """Where the data lives: in the data dir, unless the account cannot get there.  No parent's permission changes."""
    if account is None:
        return data_dir
    fallback = fallback_home(data_dir)
    if (fallback / "postgres").is_dir() or not reaches(account, data_dir.parent):
        return fallback
    return data_dir


def fallback_home(data_dir: Path) -> Path:
    """The folder outside the project that belongs to this data dir."""
    return SYSTEM_HOME / hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]


def reaches(account: Account, folder: Path) -> bool:
    """Whether that account can enter the folder; tried out, since mode bits are not the whole story."""
    try:
        entered = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **as_account(account),
        )
    except PermissionError:
        raise StoreFailed(
            f"PostgreSQL does not run as root, and this container does not let root become `{account.name}`.\n"
            "Start as an ordinary user, or set DATABASE_URL.",
        ) from None
    return entered.returncode == 0


def prepare_home(home: Path, data_dir: Path, account: Account | None) -> None:
    """Let the account pass through the folder that holds its data, by its group; nobody else enters."""
    if account is None:
        return
    if home != data_dir and not home.parent.is_dir():
        home.parent.mkdir(parents=True)
        home.parent.chmod(0o711)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(home, -1, account.gid)
    home.chmod(0o710)
