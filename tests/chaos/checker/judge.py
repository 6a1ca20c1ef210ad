"""All checks, one after the other."""

from tests.chaos.checker import ends, executions, promises, readings, stories
from tests.chaos.checker.verdict import Verdict
from tests.chaos.checker.world import World


def judge(world: World) -> Verdict:
    """Return all that is wrong with a world."""
    verdict = Verdict()
    for check in (ends.check, executions.check, promises.check, stories.check, readings.check):
        check(world, verdict)
    return verdict
