"""Who runs a command and what it stops, for commands that act as an operator."""

import getpass
from argparse import ArgumentParser

from orders.models import Scope
from routing.venues import VENUES


def add_by(parser: ArgumentParser) -> None:
    """Declare --by."""
    parser.add_argument("--by", default=user(), help="name for the record (default: %(default)s)")


def add_what(parser: ArgumentParser) -> None:
    """Declare WHAT."""
    parser.add_argument("what", type=scope_and_name, metavar="WHAT", help="`everything`, a pair or a venue")


def scope_and_name(text: str) -> tuple[Scope, str]:
    """Parse WHAT; whether there is such a pair is checked later."""
    if text == Scope.EVERYTHING:
        return Scope.EVERYTHING, ""
    return (Scope.VENUE if text in VENUES else Scope.PAIR), text


def user() -> str:
    """Return the name of the user who runs the command."""
    try:
        return getpass.getuser()
    # A container may run under a user id that has no account.
    except (OSError, KeyError):
        return "command"
