"""`manage.py balances`: list balances and positions, compare them with the ledger, and put them right."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser

from engine.money import Token, shown
from orders.management import asking, operator
from orders.management.commands.deadletters import table
from orders.stores import balances, positions
from orders.stores.balances import Difference
from routing.catalogue import catalogue


class Command(asking.StoresCommand):
    """Lists balances and positions, and compares them with the ledger."""

    help = (
        "List what each account has, what its open orders reserve, what its fills have come to in each market, and "
        "whether all of it agrees with the transactions that have landed and the orders that are open. "
        "Exit codes: 0 they agree; 1 some differ; 2 refused or unreachable."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", metavar="NAME", help="of one user (default: of all that have traded)")
        parser.add_argument(
            "--repair", metavar="REASON", help="set those that differ to what they should be; why, for the audit log"
        )
        operator.add_by(parser)

    def handle(self, *, user: str | None, repair: str | None, by: str, **_: Any) -> None:
        """List, compare, and repair if asked to."""
        names = dict(get_user_model().objects.values_list("pk", "username"))
        if user is not None and user not in names.values():
            raise CommandError(f"there is no user {user!r}", returncode=2)
        rows = [one for one in balances.compared() if user in (None, names.get(one.owner))]
        markets = [one for one in positions.compared() if user in (None, names.get(one.owner))]
        self.show(rows, markets, names)
        wrong = [one for one in rows if one.differs]
        wrong_markets = [one for one in markets if one.differs]
        if repair:
            self.repair(wrong, wrong_markets, names, repair, by)
        elif count := len(wrong) + len(wrong_markets):
            raise CommandError(f"{count} differ; --repair REASON sets them right", returncode=1)

    def show(self, rows: list[Difference], markets: list[positions.Difference], names: dict[int, str]) -> None:
        if not rows:
            self.stdout.write("No account has traded.")
            return
        head = ("user", "token", "total", "reserved", "available", "ledger")
        cells = [(name_of(one, names), one.token, *amounts(one), agreement(one)) for one in rows]
        self.stdout.write(table([head, *cells]))
        if markets:
            head = ("user", "position", "held", "cost", "realised", "ledger")
            cells = [(name_of(one, names), *figures(one)) for one in markets]
            self.stdout.write("\n" + table([head, *cells]))

    def repair(
        self,
        wrong: list[Difference],
        markets: list[positions.Difference],
        names: dict[int, str],
        reason: str,
        by: str,
    ) -> None:
        for one in wrong:
            balances.repair(one.owner, one.token)
            operator.record(by, "repair balance", f"{one.token} of {name_of(one, names)}", agreement(one), reason)
        for market in markets:
            positions.repair(market.owner, market.base, market.quote)
            what = f"{market.base}-{market.quote} of {name_of(market, names)}"
            operator.record(by, "repair position", what, figures(market)[-1], reason)
        self.stdout.write(f"{len(wrong) + len(markets)} repaired")


def name_of(one: Difference | positions.Difference, names: dict[int, str]) -> str:
    return names.get(one.owner, f"user {one.owner}")


def token_of(symbol: str) -> Token:
    return catalogue().tokens.get(symbol) or Token(symbol, symbol, 0, listed=False)


def amounts(one: Difference) -> tuple[str, ...]:
    token = token_of(one.token)
    return tuple(shown(units, token) for units in (one.total, one.reserved, one.total - one.reserved))


def agreement(one: Difference) -> str:
    """Say whether a balance is what it should be, and by how much it is not."""
    token = token_of(one.token)
    off = {"total": one.total - one.total_due, "reserved": one.reserved - one.reserved_due}
    said = [f"{name} is {shown(abs(by), token)} too {'high' if by > 0 else 'low'}" for name, by in off.items() if by]
    return "; ".join(said) or "agrees"


def figures(one: positions.Difference) -> tuple[str, str, str, str, str]:
    """Return a position's market, what is held, its cost, what is realised, and whether all agrees."""
    tokens = {name: token_of(one.base if name in positions.IN_BASE else one.quote) for name in positions.AMOUNTS}
    now = dict(zip(positions.AMOUNTS, one.amounts, strict=True))
    due = dict(zip(positions.AMOUNTS, one.due or one.amounts, strict=True))
    off = [
        f"{name} is {shown(now[name], tokens[name])}, should be {shown(due[name], tokens[name])}"
        for name in positions.AMOUNTS
        if now[name] != due[name]
    ]
    said = "; ".join(off) or ("not compared: some of its fills are in the archive" if one.due is None else "agrees")
    held, cost, realised = (shown(now[name], tokens[name]) for name in ("held", "cost", "realised"))
    return f"{one.base}-{one.quote}", held, cost, realised, said
