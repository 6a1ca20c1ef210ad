"""Playing a cell."""

from tests.chaos.matrix import checks, memory, world
from tests.chaos.matrix.blows import Blow, Strike, meanwhile
from tests.chaos.matrix.cells import Cell, begun, is_unknown_to_all
from tests.chaos.matrix.worker import Worker
from tests.chaos.matrix.world import World


def play(cell: Cell) -> list[str]:
    """Play a cell; return what is wrong with it."""
    played = begun(cell.life, cell.outcome)
    try:
        return ended(played, cell)
    except Exception as reason:
        return [*played.complaints, f"it cannot be judged: {reason!r}"]
    finally:
        world.end()


def ended(played: World, cell: Cell) -> list[str]:
    """Strike, have everything come to rest, and judge."""
    strike = Strike(played, cell.blow, cell.step, cell.moment, cell.nth)
    if cell.blow is Blow.FAR_BACK and played.followers:
        strike.copy = memory.copied()
    worker = Worker(played, strike)
    worker.start()
    if worker.is_frozen:
        meanwhile(played, cell.blow)
        worker.wake()
    if not worker.struck:
        played.complain(f"it never comes to {cell.step}, {cell.moment}")
    played.come_to_rest()
    found = checks.wrong(played, cell)
    return [one for one in found if not (is_unknown_to_all(cell) and one.startswith("a client"))]
