"""`manage.py limits`: set, list and remove trading limits."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from orders.management import asking, operator
from orders.management.commands.deadletters import table
from orders.models import LimitKind, LimitScope, TradingLimit, TradingLimitUse
from orders.operations import trading_limits
from orders.operations.trading_limits import CannotSet, wanted

SCOPES = tuple(scope for scope in LimitScope if scope is not LimitScope.EVERYTHING)


class Command(asking.StoresCommand):
    """Sets, lists and removes trading limits."""

    help = "Set, list and remove trading limits. Exit codes: 0 done; 2 refused or unreachable."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        listing = what.add_parser("list", help="list the limits in force, and what is used of the daily ones")
        listing.set_defaults(act=self.show)
        put = what.add_parser("set", help="set a limit, or change it")
        put.add_argument("terms", nargs="+", metavar="VALUE", help="a whole number in the kind's unit; tokens; venues")
        operator.add_reason(put)
        put.set_defaults(act=self.put)
        gone = what.add_parser("remove", help="end a limit")
        gone.set_defaults(act=self.remove)
        for one in (put, gone):
            self.add_which(one)
            operator.add_by(one)

    def add_which(self, parser: CommandParser) -> None:
        """Declare what is limited, and whose."""
        kinds = "; ".join(f"{kind}: {kind.label}" for kind in LimitKind)
        parser.add_argument("--kind", required=True, type=LimitKind, choices=list(LimitKind), help=kinds)
        whose = parser.add_mutually_exclusive_group()
        for scope in SCOPES:
            whose.add_argument(f"--{scope}", metavar="NAME", help=f"of one {scope.label} (default: of everything)")

    def handle(self, **options: Any) -> None:
        """Do what is asked."""
        try:
            options["act"](**options)
        except CannotSet as reason:
            raise CommandError(str(reason), returncode=2) from None

    def put(self, *, kind: LimitKind, terms: list[str], reason: str, by: str, **options: Any) -> None:
        scope, name = whose(options)
        row = trading_limits.put(wanted(scope, name, kind, terms), reason, by)
        operator.record(by, "set trading limit", row, row.terms, reason)
        self.stdout.write(f"{row}: {row.terms}")

    def remove(self, *, kind: LimitKind, by: str, **options: Any) -> None:
        scope, name = whose(options)
        row = trading_limits.find(scope, name, kind)
        if row is None:
            raise CannotSet(f"{name or scope} has no limit {kind}; `manage.py limits list` shows all")
        trading_limits.remove(row, by)
        operator.record(by, "remove trading limit", row, f"it was {row.terms}")
        self.stdout.write(f"{row} is removed")

    def show(self, **_: Any) -> None:
        rows = list(TradingLimit.objects.order_by("pk"))
        if not rows:
            self.stdout.write("There are no trading limits.")
            return
        used = dict(TradingLimitUse.objects.filter(day=timezone.now().date()).values_list("limit_id", "used"))
        head = ("kind", "of", "limit", "used today", "by", "reason")
        cells = [(row.kind, row.name or row.scope, row.terms, usage(row, used), row.by, row.reason) for row in rows]
        self.stdout.write(table([head, *cells]))


def whose(options: dict[str, Any]) -> tuple[LimitScope, str]:
    """Return the scope that was given, and its name."""
    given = ((scope, options[scope]) for scope in SCOPES if options[scope])
    return next(given, (LimitScope.EVERYTHING, ""))


def usage(row: TradingLimit, used: dict[int, Any]) -> str:
    return f"{used.get(row.pk, 0):,.2f}" if row.kind == LimitKind.DAY_VALUE else "-"
