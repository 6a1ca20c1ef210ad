"""Crash points: named steps on an order's path at which tests inject faults.

A step is one Postgres commit, one Redis script, one published message or one chain call.  Before and after a step, a
test can raise, kill the process, or block for any time; after it, also raise the error of a lost reply.  It can also
run the step twice, like a client library that resends.  While nothing is armed, a step costs one check of an empty
dictionary.
"""

from collections.abc import Callable, Sized
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Store(StrEnum):
    """The external system that a step acts on."""

    REDIS = "redis"
    POSTGRES = "postgres"
    CHAIN = "chain"
    BROKER = "broker"


class Moment(StrEnum):
    """When a fault is injected, relative to the step."""

    BEFORE = "before"
    AFTER = "after"
    TWICE = "twice"
    """The step runs twice with the same arguments; the armed action runs in between."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its name, the system it acts on, and what is true once it has run."""

    name: str
    store: Store
    about: str


STEPS: dict[str, Step] = {}
"""Every step that can be armed, in module load order."""

armed: dict[tuple[str, Moment], Callable[[], None]] = {}
"""Armed actions by step and moment; empty except in tests."""


def arm(name: str, moment: Moment, act: Callable[[], None]) -> None:
    """Run `act` at this step and moment from now on.

    Raises KeyError for an unknown step.
    """
    armed[STEPS[name].name, moment] = act


def disarm() -> None:
    """Remove all armed actions."""
    armed.clear()


def step(
    name: str, store: Store, about: str, *kinds: str, kind: Callable[..., str] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a step.  With `kinds` it is several steps, and `kind` selects one by the arguments.

    A call with an empty first argument, or of kind "", does not count as a step.
    """
    for one in kinds or ("",):
        full = f"{name}.{one}" if one else name
        STEPS[full] = Step(full, store, f"{about} {one}".strip())

    def made(act: Callable[P, R]) -> Callable[P, R]:
        @wraps(act)
        def crossed(*args: P.args, **more: P.kwargs) -> R:
            if not armed or (args and isinstance(args[0], Sized) and len(args[0]) == 0):
                return act(*args, **more)
            full = f"{name}.{kind(*args, **more)}" if kind else name
            reach(full, Moment.BEFORE)
            result = act(*args, **more)
            if (full, Moment.TWICE) in armed:
                reach(full, Moment.TWICE)
                result = act(*args, **more)
            reach(full, Moment.AFTER)
            return result

        return crossed

    return made


def reach(name: str, moment: Moment) -> None:
    """Run the action armed for this step and moment, if any."""
    if act := armed.get((name, moment)):
        act()
