"""Who runs a command, what it stops and why, for commands that act as an operator; and the record of it."""

import getpass
import socket
import sys
from argparse import ArgumentParser

import structlog
from django.conf import settings
from django.db import DatabaseError

from orders.models import Scope
from orders.stores import acts
from routing.venues import VENUES

log = structlog.get_logger(__name__)


def add_by(parser: ArgumentParser) -> None:
    """Declare --operator."""
    parser.add_argument(
        "--operator", dest="by", default=user(), help="operator name for the audit log (default: %(default)s)"
    )


def add_reason(parser: ArgumentParser) -> None:
    """Declare --reason, without which a dangerous command does nothing."""
    parser.add_argument("--reason", required=True, help="for the audit log")


def add_what(parser: ArgumentParser) -> None:
    """Declare WHAT."""
    parser.add_argument(
        "what",
        type=scope_and_name,
        metavar="WHAT",
        help="`everything`, a pair, a venue, user:NAME, or key:PREFIX of an API key",
    )


def scope_and_name(text: str) -> tuple[Scope, str]:
    """Parse WHAT; whether there is such a pair is checked later."""
    if text == Scope.EVERYTHING:
        return Scope.EVERYTHING, ""
    scope, colon, name = text.partition(":")
    if colon and scope in (Scope.USER, Scope.KEY):
        return Scope(scope), name
    return (Scope.VENUE if text in VENUES else Scope.PAIR), text


def user() -> str:
    """Return the name of the operator: ENGINE_OPERATOR, or the user who runs the command."""
    if given := settings.ENV["ENGINE_OPERATOR"]:
        return str(given)
    try:
        return getpass.getuser()
    # A container may run under a user id that has no account.
    except (OSError, KeyError):
        return "command"


def record(by: str, what: str, subject: object, outcome: str, reason: str = "") -> None:
    """Put an act on record.  It has been done by now: if the record cannot be written, say so and go on."""
    try:
        acts.record(by, f"cli {socket.gethostname()}", what, subject, outcome, reason=reason)
    except DatabaseError as away:
        log.error("act not on record", who=by, what=what, subject=str(subject), outcome=outcome, reason=str(away))
        sys.stderr.write(f"Done, but not in the audit log: {away}\n")
