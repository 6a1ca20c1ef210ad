"""`manage.py backup` and `restore`: all of Postgres in one file, and from it into an empty database.

Redis is not in it: the engine rebuilds it.  Nor are the secrets of the data dir, without which API keys do not hold.
"""

import argparse
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from deploy.installation import find_binaries
from deploy.servers import PRIVATE, StoreFailed
from deploy.stores import Stores

REASON = "restored from a backup: compare open orders with the wallet before you resume"
HALT = """
INSERT INTO orders_pause (scope, name, state, reason, by, cancels_resting)
VALUES ('everything', '', 'halted', %s, 'restore', false)
ON CONFLICT (scope, name) DO UPDATE SET state = 'halted', reason = excluded.reason, by = excluded.by
"""


class Failed(Exception):
    """It was not done; the message says why, and what to do."""


def main(command: str, arguments: list[str]) -> int:
    """Run the command; returns the exit code: 0 done, 2 not done."""
    parser = argparse.ArgumentParser(prog=f"manage.py {command}", description=ABOUT[command])
    parser.add_argument("file", type=Path, metavar="FILE")
    if command == "restore":
        parser.add_argument("--replace", action="store_true", help="delete what the embedded stores hold now")
    options = parser.parse_args(arguments)
    os.umask(PRIVATE)
    from config import env, values

    try:
        settings, is_given = env.load(), bool(env.given().get("DATABASE_URL"))
        if command == "backup":
            backup(options.file, settings["DATABASE_URL"], settings["ENGINE_DATA_DIR"])
        else:
            restore(options.file, settings["DATABASE_URL"] if is_given else None, settings["ENGINE_DATA_DIR"], **replaces(options))
    except (Failed, StoreFailed, values.BadSetting) as reason:
        print(reason, file=sys.stderr)
        return 2
    return 0
