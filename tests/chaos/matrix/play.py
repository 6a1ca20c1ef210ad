"""Playing a cell."""

from tests.chaos.matrix import checks, memory, world
from tests.chaos.matrix.blows import Blow, Strike, meanwhile
from tests.chaos.matrix.cells import Cell, begun
from tests.chaos.matrix.worker import Worker


def play(cell: Cell) -> list[str]:
    """Play a cell; return what is wrong with it."""
    played = begun(cell.life, cell.outcome)
    try:
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
        return checks.wrong(played, cell)
    finally:
        world.end()
