"""`manage.py backup` and `restore`: all of Postgres in one file, and from it into an empty database.

Redis is not in it: the engine rebuilds it. Nor are the secrets of the data dir, without which no API key holds.
"""

import argparse
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from config import env, values
from deploy.installation import find_binaries
from deploy.replacing import replaced
from deploy.servers import PRIVATE, StoreFailed
from deploy.stores import Stores

ABOUT = {
    "backup": "Write all of Postgres to a file, while the engine runs or not. Exit codes: 0 written; 2 not written.",
    "restore": "Fill an empty database from a backup, and halt everything, while no role of the engine runs. "
    "Exit codes: 0 restored; 2 not restored.",
}
REASON = "restored from a backup: compare open orders with the wallet before you resume"
HALT = "INSERT INTO orders_pause (scope, name, state, reason, by) VALUES ('everything', '', 'halted', %s, 'restore')"


class Failed(Exception):
    """It was not done; the message says why, and what to do."""


def main(command: str, arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"manage.py {command}", description=ABOUT[command])
    parser.add_argument("file", type=Path, metavar="FILE")
    if command == "restore":
        parser.add_argument("--replace", action="store_true", help="delete what the embedded stores hold now")
    options = parser.parse_args(arguments)
    os.umask(PRIVATE)
    try:
        settings = env.load()
        own = None if env.given().get("DATABASE_URL") else settings["ENGINE_DATA_DIR"]
        if command == "backup":
            backup(options.file, settings["DATABASE_URL"], own)
        elif own:
            restore_embedded(options.file, own, replace=options.replace)
        else:
            restore(options.file, settings["DATABASE_URL"])
    except (Failed, StoreFailed, values.BadSetting) as reason:
        print(reason, file=sys.stderr)
        return 2
    return 0


def backup(file: Path, url: str | None, own: Path | None) -> None:
    """Write a dump beside the file, then give it its name: what has the name is whole.

    `url` is that of the server, `own` the data dir whose embedded server is started if it does not run. Raises Failed,
    StoreFailed.
    """
    if file.exists():
        raise Failed(f"{file} is there already; name a new file")
    making = file.with_name(f"{file.name}.partial")
    with ExitStack() as stack:
        url = url or stack.enter_context(Stores(existing(own))).urls["DATABASE_URL"]
        run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", "--file", str(making))
    making.rename(file)
    print(f"{file}: {file.stat().st_size:,} bytes. Keep the secrets beside it, see deploy/README.md.")


def existing(own: Path | None) -> Path:
    """Return the data dir.

    Raises Failed if it holds nothing to back up.
    """
    if own is None or not (own / "postgres-password").exists():
        raise Failed(f"there is no database in {own}; set DATABASE_URL, or ENGINE_DATA_DIR to a folder that has one")
    return own


def restore_embedded(file: Path, own: Path, *, replace: bool) -> None:
    """Fill the embedded server's empty database, or a new one instead of what the stores hold; Redis is then empty.

    Raises Failed, StoreFailed; while the engine runs, too.
    """
    readable(file)
    stores = Stores(own)
    stores.open()
    try:
        with replaced(stores) if replace else nullcontext():
            url = stores.begin()["DATABASE_URL"]
            stores.finish()
            restore(file, url, otherwise="--replace deletes it")
    finally:
        stores.stop()
    print("`manage.py up` starts the engine on it; `manage.py resume everything` ends the halt.")


def restore(file: Path, url: str, *, otherwise: str = "make a new one, and let DATABASE_URL name it") -> None:
    """Fill an empty database in one transaction, then halt everything.

    Raises Failed.
    """
    readable(file)
    try:
        with psycopg.connect(url, autocommit=True) as db:
            tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            if (found := db.execute(tables).fetchone()) and found[0]:
                raise Failed(f"the database has {found[0]} tables already; {otherwise}")
            run("pg_restore", url, "--no-owner", "--no-privileges", "--single-transaction", str(file))
            with db.transaction():
                db.execute("DELETE FROM orders_pause WHERE scope = 'everything'")
                db.execute(HALT, (REASON,))
    except psycopg.Error as reason:
        raise Failed(f"Postgres refused it: {reason}") from None
    print("Restored, and everything is halted. Before a role starts: empty Redis, and run `manage.py migrate`.")


def readable(file: Path) -> None:
    """Raise Failed for a file that is not there, or whose table of contents PostgreSQL cannot read."""
    if not file.is_file():
        raise Failed(f"{file} is no file; `manage.py backup FILE` writes one")
    execute("pg_restore", {}, "--list", str(file))


def run(program: str, url: str, *options: str) -> None:
    """Run one of PostgreSQL's programs on a server, without showing its password to others of this machine.

    Raises Failed, with what the program said.
    """
    parts = conninfo_to_dict(url)
    password = {"PGPASSWORD": str(parts.pop("password"))} if "password" in parts else {}
    at = make_conninfo(**{name: value for name, value in parts.items() if value is not None})  # type: ignore[arg-type]
    execute(program, password, "--dbname", at, *options)


def execute(program: str, environ: dict[str, str], *options: str) -> None:
    """Run one of PostgreSQL's programs.

    Raises Failed, with what the program said.
    """
    command = [found(program), *options]
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{program} failed:\n{done.stderr.strip()}")


def found(program: str) -> str:
    """Return where one of PostgreSQL's programs is: the embedded one, else on PATH.

    Raises Failed.
    """
    try:
        embedded = find_binaries().bin / program
    except StoreFailed:
        embedded = Path()
    there = str(embedded) if embedded.is_file() else shutil.which(program)
    if there is None:
        raise Failed(f"{program} was not found: install PostgreSQL's client programs, of the server's version or newer")
    return there
