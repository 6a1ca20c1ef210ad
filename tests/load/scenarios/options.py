"""What may be asked of a scenario on the command line, on top of Locust's own options."""

from argparse import Namespace
from dataclasses import fields, replace
from typing import Any

from tests.load.scenarios.pace import PROFILES, Profile
from tests.load.scenarios.thresholds import Thresholds

DESCRIBED = {
    "post_p95_ms": "most that nineteen in twenty POSTs may take",
    "final_p95_ms": "most that nineteen in twenty orders may take from being accepted, or fired, to their end",
    "error_share": "most orders with which something may be wrong, as a share",
    "lost": "most orders that may be accepted and never seen final",
    "throughput_share": "least of the rate asked for that must be accepted, as a share",
    "messages": "least status messages that must be received",
    "lag_p95_ms": "most that nineteen in twenty copies of a message may come after the first",
}


def add_options(parser: Any, scenario: str, must: Thresholds) -> None:
    """Add the options of a scenario; `--host`, `--html` and `--profile` are Locust's."""
    # Locust's own --profile only names a run; here it chooses one.
    parser.set_defaults(profile="brief", host="http://127.0.0.1:8000", html_file=f".data/load/{scenario}.html")
    group = parser.add_argument_group(f"the {scenario} scenario")
    group.add_argument("--orders-per-minute", type=float, help="instead of the profile's")
    group.add_argument("--concurrent", type=int, help="orders on their way at a time, instead of the profile's")
    group.add_argument("--seconds", type=float, help="how long orders are placed, instead of the profile's")
    group.add_argument("--patience", type=float, default=60.0, help="seconds without a message that fail an order")
    group.add_argument("--pairs", default="SOL-USDC,USDC-SOL", help="what market and limit orders trade")
    group.add_argument("--sockets", type=int, default=100, help="sockets that follow every order, in `sockets`")
    group.add_argument("--launch", help="in `sniper`: a command that launches {mint}, so that orders wait for launches")
    group.add_argument("--database-url", env_var="LOAD_DATABASE_URL", help="Postgres to look into as well")
    group.add_argument("--figures", metavar="FILE", help="write the figures there as JSON")
    for one in fields(Thresholds):
        flag = f"--{one.name.replace('_', '-')}"
        group.add_argument(flag, type=float, default=getattr(must, one.name), help=DESCRIBED[one.name])


def profile_of(options: Namespace) -> Profile:
    """Return the load asked for.

    Raises ValueError for one that cannot be.
    """
    if options.profile not in PROFILES:
        raise ValueError(f"--profile {options.profile}: there is no such load; take one of {', '.join(PROFILES)}")
    asked = {one.name: getattr(options, one.name) for one in fields(Profile)}
    for name, value in asked.items():
        if value is not None and value <= 0:
            raise ValueError(f"--{name.replace('_', '-')} {value:g}: give a number above 0")
    return replace(PROFILES[options.profile], **{name: value for name, value in asked.items() if value is not None})


def thresholds_of(options: Namespace) -> Thresholds:
    """Return what the run must keep to."""
    return Thresholds(**{one.name: getattr(options, one.name) for one in fields(Thresholds)})
