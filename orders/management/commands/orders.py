"""`manage.py orders`: list orders, newest first, through the public API only."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
from django.core.management.base import BaseCommand, CommandError, CommandParser

from engine.lifecycle import FINAL, Status
from engine.orders import OrderType
from orders.client import Refused
from orders.management import engine
from orders.management.commands.deadletters import table
from orders.management.commands.watch import as_json, command
from orders.management.engine import Json

ROWS = 20
WIDTH = 120
GAP = 2
TERMS = 4
"""The column that is truncated to the width the others leave."""
HEAD = ("order", "type", "pair", "amount", "limit or trigger", "status", "bps away", "expires")

EXIT_CODES = "Exit codes: 0 listed, even if there are none; 2 refused or unreachable; 130 Ctrl-C."


class Command(BaseCommand):
    """Lists orders."""

    help = f"List orders, newest first. {EXIT_CODES}"
    # A client command uses neither store, so no system check may require one.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        statuses = [str(status) for status in Status]
        parser.add_argument(
            "--status",
            nargs="+",
            action="extend",
            choices=statuses,
            metavar="STATUS",
            help=f"only orders with this status: {', '.join(statuses)}",
        )
        parser.add_argument("--type", choices=[str(kind) for kind in OrderType], help="only orders of this type")
        parser.add_argument("--pair", help="only orders of this pair, such as SOL-USDC")
        parser.add_argument("--limit", type=int, default=ROWS, help="number of rows (default: %(default)s)")
        parser.add_argument("--cursor", help="continue where the previous page ended")
        parser.add_argument("--json", action="store_true", help="write each order as one line of JSON and nothing else")
        engine.add_url(parser)

    def handle(self, *, url: str, **options: Any) -> None:
        """Write one page, and the command for the next."""
        try:
            page = engine.ask(url, lambda client: client.page(filters(options)), doubt="ask again.")
        except Refused as reason:
            raise CommandError(str(reason), returncode=2) from None
        orders = [order.raw for order in page.results]
        if options["json"]:
            for order in orders:
                self.stdout.write(as_json(order))
        else:
            self.stdout.write(listing(orders, datetime.now(UTC)) or none_of(options))
        if page.next:
            # Not on standard output with --json: a script reads that.
            stream = self.stderr if options["json"] else self.stdout
            stream.write(f"There are more: {further(page.next, url, options)}")


def filters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the query parameters for the API."""
    asked = {name: options[name] for name in ("status", "type", "pair", "limit", "cursor")}
    return {name: value for name, value in asked.items() if value is not None}


def further(following: str, url: str, options: Mapping[str, Any]) -> str:
    """Return the command that lists the next page: this one, with the next cursor."""
    words = [] if options["status"] is None else ["--status", *options["status"]]
    for name in ("type", "pair"):
        words += [] if options[name] is None else [f"--{name}", options[name]]
    words += [] if options["limit"] == ROWS else ["--limit", str(options["limit"])]
    words += ["--json"] if options["json"] else []
    return command("orders", *words, "--cursor", httpx.URL(following).params["cursor"], *engine.at(url))


def none_of(options: Mapping[str, Any]) -> str:
    """Say that the list is empty, and whether a filter may be why."""
    narrowed = any(options[name] for name in ("status", "type", "pair", "cursor"))
    return "There are no such orders." if narrowed else "There are no orders."


def listing(orders: list[Json], now: datetime) -> str:
    """Format the table; empty when there are no orders."""
    return table(fitted([HEAD, *(row(order, now) for order in orders)])) if orders else ""


def fitted(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Truncate the terms to the remaining width. Ids must stay whole, because users copy them."""
    others = sum(max(map(len, cells)) + GAP for place, cells in enumerate(zip(*rows, strict=True)) if place != TERMS)
    return [(*cells[:TERMS], cut(cells[TERMS], WIDTH - others), *cells[TERMS + 1 :]) for cells in rows]


def row(order: Json, now: datetime) -> tuple[str, ...]:
    return (
        order["orderId"],
        order["type"],
        "-".join(map(short, order["pair"].split("-"))),
        cut(order["amount"], 12),
        terms(order),
        order["status"],
        away(order),
        patience(order, now),
    )


def short(token: str) -> str:
    """Shorten a mint as wallets do; a symbol stays as it is."""
    return f"{token[:4]}…{token[-4:]}" if len(token) > 9 else token


def cut(text: str, width: int) -> str:
    """Truncate a text to a width, with an ellipsis."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def terms(order: Json) -> str:
    """Return the limit price, or a sniper order's conditions; "-" for a market order."""
    if order.get("limitPrice"):
        return str(order["limitPrice"])
    asked = order.get("trigger") or []
    return ", ".join(map(condition, [asked] if isinstance(asked, dict) else asked)) or "-"


def condition(one: Json) -> str:
    """Format one condition as briefly as it is typed."""
    window = f"/{one['windowS']}" if one.get("windowS") else ""
    return f"{one['kind']} {one.get('atLeast') or ''}{window}".strip()


def away(order: Json) -> str:
    """Return how far the price is from a resting order's limit, in bps."""
    resting = order.get("resting")
    if not resting or order["type"] != OrderType.LIMIT:
        return "-"
    return cut(str(resting.get("awayBps") or "unknown"), 9)


def patience(order: Json, now: datetime) -> str:
    """Return how much longer an order may rest, in its two largest units."""
    if order["status"] in FINAL or not order.get("expiresAt"):
        return "-"
    seconds = int((datetime.fromisoformat(order["expiresAt"]) - now).total_seconds())
    if seconds <= 0:
        return "now"
    for unit, smaller, size, part in (("d", "h", 86_400, 3_600), ("h", "m", 3_600, 60), ("m", "s", 60, 1)):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // part}{smaller}"
    return f"{seconds}s"
