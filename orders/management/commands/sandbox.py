"""`manage.py sandbox`: change the sandbox while the engine runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from engine.triggers import usd
from orders.management import asking, operator
from routing import outages
from routing.sandbox import stage
from routing.store import StoreError, redis
from routing.venues import VENUES

USD_MAX = 1_000_000_000_000
HUNDREDTH = Decimal("0.01")


class Command(BaseCommand):
    """Takes sandbox venues down and up again, launches tokens, and publishes liquidity and trades."""

    help = "Change the sandbox while the engine runs."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands and their arguments."""
        what = parser.add_subparsers(dest="what", required=True)
        venue = what.add_parser("venue", help="take a venue down or bring it back, for every process")
        venue.add_argument("venue", metavar="VENUE", help=f"one of {', '.join(VENUES)}")
        venue.add_argument("state", choices=["up", "down"])
        add_launch(what.add_parser("launch", help="launch a token: list it and create its first pool"))
        liquidity = what.add_parser("liquidity", help="set the total value of a token's pools")
        volume = what.add_parser("volume", help="trade this volume of a token now")
        for told in (liquidity, volume):
            told.add_argument("token", metavar="TOKEN", help="symbol or mint")
            told.add_argument("amount", metavar="USD", help="such as 25000")
        for act in what.choices.values():
            operator.add_by(act)

    def handle(self, *, what: str, **options: Any) -> None:
        """Run the subcommand."""
        doors: dict[str, Callable[..., None]] = {
            "venue": self.venue,
            "launch": self.launch,
            "liquidity": self.liquidity,
            "volume": self.volume,
        }
        with explained():
            doors[what](**options)

    def done(self, by: str, what: str, subject: str, outcome: str, more: str = "") -> None:
        """Say what was done, and put it on record."""
        self.stdout.write(outcome + more)
        operator.record(by, f"sandbox {what}", subject, outcome)

    def venue(self, *, venue: str, state: str, by: str, **_: Any) -> None:
        """Take a venue down or bring it up."""
        venue = venue.upper()
        outages.put(venue, state)
        self.done(by, "venue", venue, f"{venue} is now {state} for every process.")

    def launch(self, *, unknown_facts: bool, by: str, **options: Any) -> None:
        """Launch a token; facts not given are harmless, or unknown with `--unknown-facts`."""
        facts = {"mint_authority": options["mint_authority"], "freeze_authority": options["freeze_authority"]}
        if options["top_holder_pct"] is not None:
            facts["top_holder_bps"] = hundredths(options["top_holder_pct"], 100, "--top-holder-pct")
        elif unknown_facts:
            facts["top_holder_bps"] = None
        said = {name: value for name, value in facts.items() if value is not None or unknown_facts}
        cents = hundredths(options["liquidity"], USD_MAX, "--liquidity")
        reach()
        launched = stage.launch(mint=options["mint"], symbol=options["symbol"], liquidity=cents, **said)
        listed = f"{launched.token.symbol} is listed, with a pool of {usd(cents)} USD; servers notice within seconds."
        more = f"\nmint   {launched.token.mint}\npairs  {', '.join(launched.pairs)}"
        self.done(by, "launch", launched.token.mint, listed, more)

    def liquidity(self, *, token: str, amount: str, by: str, **_: Any) -> None:
        """Set the liquidity of a token's pools."""
        cents = hundredths(amount, USD_MAX, "USD")
        reach()
        stage.liquidity(token, cents)
        self.done(by, "liquidity", token, f"All pools of {token} together are worth {usd(cents)} USD.")

    def volume(self, *, token: str, amount: str, by: str, **_: Any) -> None:
        """Publish a trade of a token."""
        cents = hundredths(amount, USD_MAX, "USD")
        reach()
        stage.volume(token, cents)
        self.done(by, "volume", token, f"{usd(cents)} USD of {token} were traded.")


def add_launch(launch: CommandParser) -> None:
    """Declare the arguments of `launch`."""
    launch.add_argument("--symbol", help="1 to 16 letters and digits; generated if omitted")
    launch.add_argument("--mint", metavar="ADDRESS", help="generated if omitted; the same mint is launched once")
    launch.add_argument("--liquidity", metavar="USD", default=usd(stage.LIQUIDITY), help="value of its first pool")
    launch.add_argument("--mint-authority", metavar="ADDRESS", help="who may mint more; nobody if omitted")
    launch.add_argument("--freeze-authority", metavar="ADDRESS", help="who may freeze holdings; nobody if omitted")
    launch.add_argument("--top-holder-pct", metavar="P", help="share of the largest holder; 5 if omitted")
    launch.add_argument("--unknown-facts", action="store_true", help="facts that are not given are unknown")


@contextmanager
def explained() -> Iterator[None]:
    """Convert a refusal or an unavailable store into a one-sentence error.

    Raises CommandError.
    """
    try:
        yield
    except (outages.UnknownVenue, stage.NotStaged) as reason:
        raise CommandError(str(reason), returncode=2) from None
    except (StoreError, DatabaseError) as reason:
        raise asking.explained(reason) or reason from None


def reach() -> None:
    """Check both stores before any change: otherwise a token could be listed without its pool being published.

    Raises CommandError and StoreError.
    """
    redis().ping()
    asking.reach()


def hundredths(text: str, most: int, name: str) -> int:
    """Parse a number above 0 with at most two decimals into hundredths: dollars into cents, percent into basis points.

    Raises CommandError.
    """
    wrong = CommandError(
        f"{name} is {text!r}: must be a number above 0, at most {most}, with at most two decimals", returncode=2
    )
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise wrong from None
    if not number.is_finite() or not 0 < number <= most or number != number.quantize(HUNDREDTH):
        raise wrong
    return int(number.scaleb(2))
