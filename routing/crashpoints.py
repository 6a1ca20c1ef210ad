"""Crash points: the boundaries of an order's path, by name, at which a test can stop whoever crosses them.

A step is one commit, one script on Redis, one publication, one call of the chain.  Before and after each a test can
raise, end the process, or wait for as long as it likes; after it, raise what a lost reply raises; or have it done
twice, as a client library does that sends again.  While nothing is armed a step costs one look at an empty dictionary.
"""

from collections.abc import Callable, Sized
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Store(StrEnum):
    """With whom a step is taken."""

    REDIS = "redis"
    POSTGRES = "postgres"
    CHAIN = "chain"
    BROKER = "broker"


class Moment(StrEnum):
    """Where a step is stopped."""

    BEFORE = "before"
    AFTER = "after"
    TWICE = "twice"
    """It is taken twice, with the same arguments; what is armed is done in between."""


@dataclass(frozen=True, slots=True)
class Step:
    """A boundary: its name, with whom it is taken, and what has happened once it is."""

    name: str
    store: Store
    about: str


STEPS: dict[str, Step] = {}
"""Every step that can be armed, in the order in which their modules are loaded."""

armed: dict[tuple[str, Moment], Callable[[], None]] = {}
"""What to do where; empty but in tests."""


def arm(name: str, moment: Moment, act: Callable[[], None]) -> None:
    """Do something at a boundary from now on.

    Raises KeyError when there is no such step.
    """
    armed[STEPS[name].name, moment] = act


def disarm() -> None:
    """Do nothing any more."""
    armed.clear()


def step(
    name: str, store: Store, about: str, *kinds: str, kind: Callable[..., str] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a step; one that is several has `kinds`, and `kind` tells by its arguments which it is.

    Taken with nothing, an empty first argument or a kind of "", it is none.
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
    """Do what is armed here."""
    if act := armed.get((name, moment)):
        act()
