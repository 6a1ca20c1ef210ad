#!/usr/bin/env python3
"""The one command: `up` starts everything, `test` runs the tests, anything else is a Django command.

Needs nothing but Python 3.11: the first call builds `.venv` from hash-pinned requirements and goes on in there.
"""

import os
import sys

# Nothing above or in this file may be syntax that an older Python cannot read.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        f"The engine needs Python 3.11 or newer; this is {sys.version.split()[0]} ({sys.executable}).\n"
        "Install a newer one and name it, for example: python3.12 manage.py up",
    )

from pathlib import Path

ASK_THE_STORES = (
    "cancelall",
    "halt",
    "reduce",
    "pause",
    "resume",
    "limits",
    "balances",
    "apikeys",
    "deadletters",
    "replay",
    "sandbox",
    "secondfactor",
    "audit",
)
"""Commands that do not go through the API: without an engine they would find whatever listens on the usual ports."""
ROOT = Path(__file__).resolve().parent
HELP = """\
usage: python3 manage.py COMMAND [options]

  up           start the whole engine on this machine; Ctrl-C stops it
  backup       write all of Postgres to a file
  restore      fill an empty database from a backup
  test         run the tests, with stores of their own; -m long runs those that take minutes each
  order        place a market, limit or sniper order and watch its stages live
  orders       list orders: what rests, and how far its price is
  watch        follow an order that is there already
  amend        change an order that rests
  cancel       cancel an order that rests, or all of a pair
  cancelall    as an operator: cancel what rests, of any account, by owner, pair, type and age
  halt         stop trading: what is accepted and not sent is not sent
  pause        take no new orders; what is accepted still executes
  reduce       take only orders that sell for the quote token
  resume       end a halt, a pause or a reduction
  limits       bound what may be traded: the value of an order or a day, tokens, venues
  balances     list what accounts have and have made, and whether it agrees with the ledger
  apikeys      make, list, rotate and revoke API keys
  deadletters  list what failed for good, and whether a replay is safe
  replay       place the order of a dead letter anew
  restart      restart a role of the engine that runs on this machine
  sandbox      take a venue down, launch a token, have it traded
  audit        list what operators did; verify that no history was changed
  secondfactor ask a user of the admin for a code at every login

COMMAND --help explains one.  `python3 manage.py help --commands` lists Django's own commands too."""


def main() -> None:
    """Run the command in the project's own environment, which is built first when it is missing or outdated.

    ENGINE_NO_VENV=1 uses the current interpreter as it is: for containers and for those who bring their own.
    """
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    if command in ("help", "--help", "-h") and len(sys.argv) <= 2:
        # Before the environment is built: who asks what there is need not wait for it.
        print(HELP)
        return
    if os.environ.get("ENGINE_NO_VENV") != "1":
        enter_venv(dev=command == "test")
    if command == "up":
        from deploy import launcher

        sys.exit(launcher.main(sys.argv[2:]))
    if command in ("backup", "restore"):
        from deploy import backups

        sys.exit(backups.main(command, sys.argv[2:]))
    if command == "test":
        os.chdir(ROOT)
        # All of them on two cores at once, each with stores of its own; what is named, one after the other.
        asked = sys.argv[2:] or ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *asked])
    run_django()


def enter_venv(*, dev: bool) -> None:
    """Go on inside `.venv`, in this process; returns only when already there."""
    from deploy import bootstrap

    try:
        python = bootstrap.ensure(ROOT, dev=dev)
    except bootstrap.BootstrapFailed as failure:
        sys.exit(f"\n{failure}")
    except KeyboardInterrupt:
        sys.exit("\nstopped; the next start does it again")
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        os.execv(python, [str(python), str(ROOT / "manage.py"), *sys.argv[1:]])


def run_django() -> None:
    """Hand the command line to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config import help

    if not help.asks_help(sys.argv):
        check(sys.argv[1])
    from django.core.management import execute_from_command_line

    try:
        try:
            execute_from_command_line(sys.argv)
        finally:
            # What is still buffered meets a closed pipe here and not in the interpreter's last moments.
            sys.stdout.flush()
    except BrokenPipeError:
        leave_quietly()


def check(command: str) -> None:
    """Exit with one sentence, not a traceback, where a setting is wrong or a command would find no engine."""
    from config import env, values

    try:
        settings = env.load()
    except values.BadSetting as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)
    if command in ASK_THE_STORES and not (settings["DATABASE_URL"] and settings["REDIS_URL"]):
        print(
            f"No engine runs on {settings['ENGINE_DATA_DIR']}, and DATABASE_URL and REDIS_URL are not both given.\n"
            "Start one with `python3 manage.py up`, or name the stores of the one that is meant.",
            file=sys.stderr,
        )
        sys.exit(2)


def leave_quietly() -> None:
    """End as a program does whose reader, such as `head`, has seen enough: killed by SIGPIPE, without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + 13)


if __name__ == "__main__":
    main()
