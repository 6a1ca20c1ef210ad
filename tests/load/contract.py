"""The running server against its published description: generated requests, right and wrong, to every operation.

.venv/bin/python -m tests.load.contract --cases 5000 --seed 1
"""

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from tests.bearer import given
from tests.system import NO_DELAYS, eventually, system

SETTINGS = {**NO_DELAYS, "MOCK_LAUNCH_EVERY_S": "0", "ENGINE_WEBHOOKS_MAX": "1000"}
"""No delays, so that an order is no work for long; no launches, so that two runs see the same tokens."""

RESTING = {"type": "limit", "tokenIn": "RAY", "tokenOut": "USDC", "amount": "1.5", "limitPrice": "100000"}
"""Of a pair that the values below do not name, so that cancelling a pair leaves it."""
NAME = "rests-here"
"""The client order id of one of them."""
WEBHOOK = {"url": "https://receiver.invalid/events"}
WEBHOOKS = 20
"""Webhooks made before each round, for the generated requests to change and delete."""
RESTING_ORDERS = 40
"""Orders placed before each round, for the generated requests to amend and cancel."""
ORDER = {
    "tokenIn": ["SOL"],
    "tokenOut": ["USDC"],
    "amount": ["1.5", "0.25", 2],
    "limitPrice": ["160", "155.2", 100_000],
    "clientOrderId": ["mine", "another"],
}
PAIRS = ["SOL-USDC", "USDC-SOL", "SOL-WIF"]
HINTS: dict[str, list[Any]] = {
    **{f"body.{name}": values for name, values in ORDER.items()},
    **{f"body.orders[*].{name}": values for name, values in ORDER.items()},
    "path.pair": PAIRS,
    "path.client_order_id": [NAME],
    "body.url": [WEBHOOK["url"]],
    "body.after": ["0"],
    "query.pair": PAIRS,
    "query.after": [0],
    "header.If-Match": ['"1"'],
}
"""Values that mean something to this engine; without them nearly every order would be of tokens nobody knows."""
OFTEN = 0.7

ONLY_STATE_DECIDES = re.compile(
    "|".join(
        (
            "is not a (token|pair) this engine trades",
            "is the same token as tokenIn",
            "cannot be bought with",
            "to buy a token that is not listed",
            "is not on the tick",
            "has [0-9]+ decimals;",
            "has too many digits",
            "must have at most [0-9]+ decimals",
            "must be (at most|less than)",
            "exceeds the maximum of",
            "is not a decimal number",
            "must be later than now",
            "days ahead",
            "is not a valid time",
            "is outside the range of dates",
            "names one kind twice",
            "differs from clientOrderId",
            "is not a cursor of this engine",
            "does not apply to a",
            "is not accepted",
            "is not a URL",
            "is at the address",
            "must begin with https",
            "must have a host",
            "needs an API key",
        )
    )
)
"""Why a request that fits the description may still be refused: the catalogue, the clock, or another field decides."""


class RefusedWithoutCause(Failure):
    """A request that fits the description was refused for something the description could have said."""


class AcceptedAsAWhole(Failure):
    """A batch that does not fit the description was accepted without a word."""


@schemathesis.check
def refused_for_a_cause(ctx: Any, response: Any, case: Any) -> None:
    """Fail when what fits the description is refused, but for a cause that no description can hold."""
    if sent_otherwise(case) or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    told = response.json()["error"]
    unexplained = [one for one in told["fields"] if not ONLY_STATE_DECIDES.search(one["message"])]
    if unexplained or not told["fields"]:
        raise RefusedWithoutCause(
            operation=case.operation.label, title="Refused without cause", message=told["message"]
        )


@schemathesis.check
def a_wrong_batch_is_not_accepted_whole(ctx: Any, response: Any, case: Any) -> None:
    """Fail when a batch with an order that does not fit the description has no order refused."""
    if case.operation.label != "POST /api/orders/batch" or sent_otherwise(case):
        return
    wrong = case.meta.generation.mode.is_negative and "body" in {place.value for place in case.meta.components}
    if wrong and response.status_code == 200 and not response.json()["refused"]:
        raise AcceptedAsAWhole(
            operation=case.operation.label, title="A wrong batch was accepted", message=response.text[:500]
        )


def sent_otherwise(case: Any) -> bool:
    """Tell whether a case is not to be judged as a request of its operation: another method, or no generated one."""
    return case.meta is None or case.method.upper() != case.operation.method.upper()


@dataclass
class Tally:
    """What was sent, and what was wrong with the answers."""

    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    other_methods: Counter[str] = field(default_factory=Counter)
    """Requests by a method an address does not have."""
    statuses: Counter[str] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    """Each with the case and the curl that repeats it."""

    @property
    def cases(self) -> int:
        """How many requests were answered."""
        return self.accepted.total() + self.refused.total() + self.other_methods.total()

    def add(self, recorder: ScenarioRecorder) -> None:
        """Count the cases of one scenario."""
        for case_id, interaction in recorder.interactions.items():
            case = recorder.cases[case_id].value
            if interaction.response is None:
                self.wrong.append(f"{case.operation.label}: no answer to {case.as_curl_command()}")
                continue
            status = interaction.response.status_code
            counted = self.other_methods if sent_otherwise(case) else self.accepted if status < 400 else self.refused
            counted[case.operation.label] += 1
            self.statuses[f"{case.operation.label} {status}"] += counted is not self.other_methods
        self.wrong.extend(complaints(recorder))


def complaints(recorder: ScenarioRecorder) -> Iterator[str]:
    """Say what the checks found, with the case and the curl that repeats it."""
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if found := check.failure_info:
                yield (
                    f"{recorder.cases[case_id].value.operation.label}: {check.name}: {found.failure.title}\n"
                    f"{found.failure.message}\n{found.code_sample}"
                )


def configuration(
    seed: int, examples: int, known: Mapping[str, list[Any]], headers: Mapping[str, str], later: bool
) -> schemathesis.Config:
    """Say what is generated and checked; `later` rounds leave out what would be the same again.

    `known` are more hints, of what was made for this round.
    """
    hints = {**HINTS, **known}
    statuses = {"missing_required_header": {"expected-statuses": ["400", "406", "415", "428"]}}
    return schemathesis.Config.from_dict(
        {
            "seed": seed,
            "headers": dict(headers),
            "continue-on-failure": True,
            "request-timeout": 30,
            "dictionaries": {name: {"values": values} for name, values in hints.items()},
            "parameters": {name: {"dictionary": name, "probability": OFTEN} for name in hints},
            "output": {"sanitization": {"enabled": False}, "truncation": {"enabled": False}},
            "generation": {"max-examples": examples, "database": "none", "no-shrink": False},
            "phases": {"examples": {"enabled": not later}, "coverage": {"enabled": not later}},
            # Instead of it: refused_for_a_cause.
            "checks": {
                "positive_data_acceptance": {"enabled": False},
                # What is deleted is an order's rest: the order itself stays to be seen.
                "use_after_free": {"enabled": False},
                **statuses,
            },
            # An order of a batch is judged by itself. Instead of it: a_wrong_batch_is_not_accepted_whole.
            "operations": [
                {
                    "include-operation-id": "execute_batch",
                    "checks": {"negative_data_rejection": {"enabled": False}},
                }
            ],
        }
    )


def resting_orders(url: str, headers: Mapping[str, str]) -> list[str]:
    """Place orders that rest; return their ids."""
    orders = [{**RESTING, "clientOrderId": NAME}, *[RESTING] * (RESTING_ORDERS - 1)]
    placed = httpx.post(f"{url}/api/orders/batch", json={"orders": orders}, headers=headers)
    assert placed.status_code == 200, placed.text
    return [one["order"]["orderId"] for one in placed.json()["results"]]


def webhooks(url: str, headers: Mapping[str, str]) -> list[str]:
    """Make webhooks; return their ids."""
    made = [httpx.post(f"{url}/api/webhooks", json=WEBHOOK, headers=headers) for _ in range(WEBHOOKS)]
    return [answer.raise_for_status().json()["webhookId"] for answer in made]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Have no request cancel what others are to amend: `*` is every pair."""
    if case.method == "DELETE" and (case.query or {}).get("pair") == "*":
        case.query["pair"] = PAIRS[0]


def round_of(url: str, tally: Tally, config: schemathesis.Config) -> None:
    """Run one round."""
    schema = schemathesis.openapi.from_url(f"{url}/api/schema", config=config)
    tally.operations = {found.ok().label for found in schema.get_all_operations()}
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            tally.add(event.recorder)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            tally.wrong.append(str(event))


def run(url: str, headers: Mapping[str, str], cases: int, seed: int, examples: int = 60) -> Tally:
    """Send at least so many generated requests to a running engine, over all operations."""
    tally = Tally()
    for number in range(100):
        known = {"path.order_id": resting_orders(url, headers), "path.webhook_id": webhooks(url, headers)}
        round_of(url, tally, configuration(seed + number, examples, known, headers, later=number > 0))
        if tally.cases >= cases or tally.wrong:
            break
    return tally


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cases", type=int, default=5_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument(
        "--url", help="an engine that runs already; its stores are written to, its key is in ENGINE_API_KEY"
    )
    chosen = options.parse_args()
    begun = time.monotonic()
    if chosen.url:
        tally = run(chosen.url, given(), chosen.cases, chosen.seed)
    else:
        with system(SETTINGS) as engine:
            eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 30, "the first quotes")
            begun = time.monotonic()
            tally = run(engine.url, engine.headers, chosen.cases, chosen.seed)
    print(
        json.dumps(
            {
                "cases": tally.cases,
                "seconds": round(time.monotonic() - begun, 1),
                "accepted, refused, by another method": {
                    name: [tally.accepted[name], tally.refused[name], tally.other_methods[name]]
                    for name in sorted(tally.operations)
                },
                "statuses": dict(sorted(tally.statuses.items())),
                "wrong": len(tally.wrong),
            },
            indent=2,
        )
    )
    for one in tally.wrong:
        print(one, end="\n\n")
    raise SystemExit(bool(tally.wrong))


if __name__ == "__main__":
    main()
