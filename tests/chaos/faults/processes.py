"""Processes of the engine: killed without warning, frozen and woken, and all of them gone at once."""

import signal
from collections.abc import Callable

from tests.chaos.faults.ground import Ground, Hit
from tests.chaos.grounds.engine import Process
from tests.chaos.plan.faults import Planned


def choose(ground: Ground, planned: Planned, may: Callable[[Process], bool]) -> Process | None:
    """Choose a process of the planned role; where none of that can be hit now, any other but the launcher."""
    known = [one for one in ground.engine.processes() if may(one)]
    of_role = [one for one in known if one.role == planned.role]
    others = [one for one in known if one.role != "launcher"]
    chosen = sorted(of_role or others, key=lambda one: one.name)
    return chosen[int(planned.target * len(chosen))] if chosen else None


def kill(ground: Ground, planned: Planned) -> Hit | None:
    """Kill one; the launcher, which would take all others with it, is `fall`.

    What is frozen is left to wake: that is when it does harm.
    """
    victim = choose(ground, planned, lambda one: one.role != "launcher" and one.moves)
    return Hit(victim.name) if victim and victim.signal(signal.SIGKILL) else None


def freeze(ground: Ground, planned: Planned) -> Hit | None:
    """Freeze one, and wake it if it is still the same by then."""
    victim = choose(ground, planned, lambda one: one.moves)
    if victim is None or not victim.signal(signal.SIGSTOP):
        return None

    def wake() -> None:
        victim.signal(signal.SIGCONT)

    return Hit(victim.name, wake)


def fall(ground: Ground, planned: Planned) -> Hit | None:
    """Kill the launcher and all that it started, as when a machine loses power; then start it again."""
    known = ground.engine.processes()
    if "engine" in ground.busy or len(known) < 2 or not all(one.moves for one in known):
        return None
    ground.busy.add("engine")
    ground.engine.fall()

    def rise() -> None:
        ground.engine.rise()
        ground.busy.discard("engine")

    return Hit("everything", rise)
