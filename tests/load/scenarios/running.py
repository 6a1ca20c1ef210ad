"""A run from its start to its verdict: Locust's events, and what is done at each."""

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from locust import events
from locust.env import Environment
from locust.runners import LocalRunner

from tests.load.scenarios.options import add_options, profile_of, thresholds_of
from tests.load.scenarios.tally import Tally
from tests.load.scenarios.thresholds import Figures, Thresholds, broken
from tests.load.scenarios.truth import ARCHIVED_WITHIN_S, disagreements

UNTIL_THE_END: list[Callable[[Tally], None]] = []
"""What a scenario has to check itself once all orders have ended."""


def scenario(name: str, must: Thresholds) -> None:
    """Have the locustfile that calls this be a scenario: with its options, a tally, and a verdict."""

    @events.init_command_line_parser.add_listener
    def declare(parser: Any, **_: Any) -> None:
        add_options(parser, name, must)

    @events.init.add_listener
    def check(environment: Environment, runner: Any, **_: Any) -> None:
        environment.tally = None
        # A line for each page that is read at the end would hide the verdict.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        refuse(environment.parsed_options, runner)

    @events.test_start.add_listener
    def begin(environment: Environment, **_: Any) -> None:
        environment.tally = Tally(profile_of(environment.parsed_options))

    @events.test_stop.add_listener
    def end(environment: Environment, **_: Any) -> None:
        environment.process_exit_code = judge(name, environment)


def refuse(options: Namespace, runner: Any) -> None:
    """End at once what cannot be run as asked."""
    try:
        profile_of(options)
    except ValueError as reason:
        sys.exit(str(reason))
    if not isinstance(runner, LocalRunner):
        sys.exit("these scenarios run in one process, since they compare what all clients received: no --master")


def judge(name: str, environment: Environment) -> int:
    """Compare what was told with what is kept, tell what the run came to, and return the exit code."""
    tally, options = environment.tally, environment.parsed_options
    for check in UNTIL_THE_END:
        check(tally)
    found = disagreements(environment.host, options.database_url, tally.stories, tally.began_at, ARCHIVED_WITHIN_S)
    tally.complaints += found
    figures = tally.figures()
    verdicts = broken(figures, thresholds_of(options)) + defects(environment)
    if options.figures:
        Path(options.figures).write_text(json.dumps(asdict(figures) | {"broken": verdicts}, indent=2))
    print(told(name, figures, verdicts, options.database_url is not None), flush=True)
    return 1 if verdicts else 0


def defects(environment: Environment) -> list[str]:
    """Say what went wrong in the scenario itself: a run in which it did proves nothing."""
    raised = environment.runner.exceptions.values()
    return [f"the scenario failed {one['count']} times: {one['msg']}\n{one['traceback']}" for one in raised]


def told(name: str, of: Figures, verdicts: list[str], in_postgres: bool) -> str:
    """Write the figures and the verdict."""
    ends = ", ".join(f"{count} {status}" for status, count in sorted(of.ends.items()))
    where = "in the API's archive and in Postgres" if in_postgres else "in the API's archive"
    lines = [
        f"{name}: {of.accepted} of {of.asked} orders at {of.per_minute:.1f} per minute, "
        f"at most {of.most_at_once} on their way at once",
        f"  {ends or 'none final'}; lost {of.lost}, wrong {of.wrong}; each compared {where}",
        f"  POST p95 {of.post_p95_ms:.0f} ms, accepted or fired to final p95 {of.final_p95_ms:.0f} ms, "
        f"{of.messages} status messages" + (f", lag p95 {of.lag_p95_ms:.0f} ms" if of.lag_p95_ms else ""),
        *(f"  wrong: {one}" for one in of.what_was_wrong),
        *(f"  FAILED by {one}" for one in verdicts),
        f"  {'FAILED' if verdicts else 'PASSED'}",
    ]
    return "\n".join(lines)
