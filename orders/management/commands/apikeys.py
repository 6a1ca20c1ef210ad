"""`manage.py apikeys`: make, list, rotate and revoke API keys."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from orders.access import keys
from orders.access.callers import OPEN_ORDERS_MAX, Scope
from orders.management import asking, operator
from orders.management.commands.deadletters import table
from orders.models import ApiKey

DAY_S = 86_400


class Command(asking.StoresCommand):
    """Makes, lists, rotates and revokes API keys."""

    help = "Make, list, rotate and revoke API keys; a key is shown once, when made. Exit codes: 0 done; 2 refused."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        create = what.add_parser("create", help="make a key and print it")
        create.add_argument("name", help="who or what uses it")
        create.add_argument("--owner", required=True, metavar="USER", help="account whose orders it places and sees")
        create.add_argument(
            "--scopes",
            nargs="+",
            choices=list(Scope),
            default=["read", "trade", "cancel"],
            metavar="SCOPE",
            help=f"what it may do: {', '.join(Scope)} (default: read trade cancel)",
        )
        create.add_argument("--orders-per-minute", type=int, help="orders it may place per minute (default: no limit)")
        create.add_argument(
            "--open-orders", type=int, default=OPEN_ORDERS_MAX, help="orders that may rest (default: %(default)s)"
        )
        create.add_argument(
            "--cancel-on-disconnect",
            action="store_true",
            help="cancel what rests and was placed with it when the last of its WebSockets is gone",
        )
        create.add_argument("--days", type=int, help="days until it expires (default: never)")
        listing = what.add_parser("list", help="list the keys that hold")
        listing.add_argument("--all", action="store_true", dest="every", help="also those that have ended")
        rotate = what.add_parser("rotate", help="make a key in the place of another, which goes on for a while")
        rotate.add_argument("prefix", help="the part of the old key that `list` shows")
        rotate.add_argument("--overlap", type=int, default=DAY_S, metavar="SECONDS", help="(default: a day)")
        revoke = what.add_parser("revoke", help="end keys within a second, and close their sockets")
        revoke.add_argument("prefix", nargs="+", help="the part of a key that `list` shows")
        for act in (create, rotate, revoke):
            operator.add_by(act)

    def handle(self, *, what: str, **options: Any) -> None:
        """Do what is asked."""
        does: dict[str, Callable[..., None]] = {
            "create": self.create,
            "list": self.show,
            "rotate": self.rotate,
            "revoke": self.revoke,
        }
        does[what](**options)

    def create(self, *, name: str, owner: str, scopes: list[str], days: int | None, by: str, **limits: Any) -> None:
        account = get_user_model().objects.filter(username=owner, is_active=True).first()
        if account is None:
            raise CommandError(f"there is no active account {owner!r}; add it in the admin under Users", returncode=2)
        ends = None if days is None else timezone.now() + timedelta(days=days)
        made, token = keys.issue(name, account, [Scope(scope) for scope in scopes], ends, by, **limited(limits))
        operator.record(by, "make API key", made, f"for {owner}: {' '.join(scopes)}")
        self.tell(made, token)

    def show(self, *, every: bool, **_: Any) -> None:
        rows = ApiKey.objects.select_related("owner").order_by("pk")
        if not every:
            rows = rows.filter(revoked_at=None).exclude(expires_at__lte=timezone.now())
        if not rows:
            self.stdout.write("There are no API keys.")
            return
        head = ("prefix", "name", "owner", "scopes", "per minute", "may rest", "last used (UTC)", "ends (UTC)")
        self.stdout.write(table([head, *(described(key) for key in rows)]))

    def rotate(self, *, prefix: str, overlap: int, by: str, **_: Any) -> None:
        row = found(prefix)
        try:
            made, token = keys.rotate(row, overlap, by)
        except keys.Ended as reason:
            raise CommandError(str(reason), returncode=2) from None
        operator.record(by, "rotate API key", row, f"{made} takes its place; it ends in {overlap} s")
        self.tell(made, token)

    def revoke(self, *, prefix: list[str], by: str, **_: Any) -> None:
        rows = [found(one) for one in prefix]
        keys.revoke(rows, by)
        for row in rows:
            operator.record(by, "revoke API key", row, "revoked")
        self.stdout.write(f"Revoked: {', '.join(map(str, rows))}.")
        if left := keys.webhooks_left(rows):
            self.stdout.write(left)

    def tell(self, made: ApiKey, token: str) -> None:
        self.stderr.write(f"The key {made} is shown once; keep it where only its user can read it.")
        self.stdout.write(token)


def limited(options: Mapping[str, Any]) -> dict[str, int | bool | None]:
    return {
        "orders_per_minute": options["orders_per_minute"],
        "open_orders_max": options["open_orders"],
        "cancels_on_disconnect": options["cancel_on_disconnect"],
    }


def found(prefix: str) -> ApiKey:
    row = ApiKey.objects.select_related("owner").filter(prefix=prefix).first()
    if row is None:
        raise CommandError(f"there is no API key {prefix!r}; `manage.py apikeys list` shows them", returncode=2)
    return row


def described(row: ApiKey) -> tuple[str, ...]:
    ends = min(filter(None, (row.revoked_at, row.expires_at)), default=None)
    times = (f"{at:%Y-%m-%d %H:%M}" if at else "-" for at in (row.last_used_at, ends))
    limits = ("no limit" if most is None else f"{most:,}" for most in (row.orders_per_minute, row.open_orders_max))
    return (row.prefix, row.name, str(row.owner), " ".join(row.scopes), *limits, *times)
