"""The cells: which blows fit which steps of which lives, by what each life crosses when nothing befalls it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine.orders import OrderType
from routing.crashpoints import STEPS, Moment, Store
from tests.chaos.matrix import world
from tests.chaos.matrix.blows import Blow
from tests.chaos.matrix.chain import Outcome
from tests.chaos.matrix.lives import LIVES, PATH, Life
from tests.chaos.matrix.worker import Worker
from tests.chaos.matrix.world import Crossing, World

POLLS = frozenset({"due", "look-up", "overdue", "take-over", "audit"})
"""They are taken all the time, mostly for nothing."""
EITHER = (Moment.BEFORE, Moment.AFTER)
WHENEVER = {
    Blow.DIES: EITHER,
    Blow.TAKEN_OVER: EITHER,
    Blow.ENDED: EITHER,
    Blow.AUDITED: EITHER,
    Blow.LOST: EITHER,
    Blow.TWICE: (Moment.TWICE,),
    Blow.TWICE_LATE: (Moment.TWICE,),
    Blow.EMPTIED: EITHER,
    Blow.BACK: (Moment.AFTER,),
    Blow.FAR_BACK: (Moment.AFTER,),
    Blow.CANCELLED: EITHER,
    Blow.FORGOTTEN: EITHER,
    Blow.AMENDED: EITHER,
    Blow.EXPIRED: EITHER,
}
MEANWHILE = {Blow.CANCELLED, Blow.FORGOTTEN, Blow.AMENDED, Blow.EXPIRED}


@dataclass(frozen=True)
class Cell:
    """A life, what the chain makes of its transaction, and a blow at the `nth` crossing of a step."""

    life: Life
    outcome: Outcome
    step: str
    nth: int
    blow: Blow
    moment: Moment

    def __str__(self) -> str:
        return f"{self.life.kind} {self.life.name} / {self.outcome} / {self.moment} {self.step} / {self.blow}"


UNKNOWN_TO_ALL = (
    "Redis came back as it was before the order's end, unnoticed and so in the same epoch, and told its clients more;"
    " it is emptied before Postgres has the correction. Nobody is left who knows what they were told: who looks then"
    " hears that the order has ended, and not how. REST shows how. All else is judged in these cells, too:"
)


def is_unknown_to_all(cell: Cell) -> bool:
    """Tell whether what clients were told is lost before anybody could correct it; all else is judged as ever."""
    is_corrected = cell.step not in ("compare", "epoch-next") and (cell.step, cell.moment) != ("anew", Moment.BEFORE)
    return cell.life.contradicts and cell.blow is Blow.EMPTIED and not is_corrected


def all_cells() -> list[Cell]:
    """Return every cell there is."""
    return [cell for life in LIVES for outcome in life.outcomes for cell in cells_of(life, outcome)]


def cells_of(life: Life, outcome: Outcome) -> Iterator[Cell]:
    """Yield the cells of a life and an outcome."""
    for step, nth in crossed(life, outcome).items():
        if life.is_about(step):
            for blow, moments in WHENEVER.items():
                if fits(life, step, blow):
                    yield from (Cell(life, outcome, step, nth, blow, moment) for moment in moments)


def fits(life: Life, step: str, blow: Blow) -> bool:
    """Tell whether a blow can be struck at a step."""
    if blow in (Blow.TWICE, Blow.TWICE_LATE):
        # Nobody repeats a commit whose answer was lost without looking first.
        return STEPS[step].store is not Store.POSTGRES
    if blow is Blow.AUDITED:
        return life.name == PATH
    if blow in MEANWHILE:
        return life.name == PATH and life.kind is OrderType.LIMIT
    return True


def crossed(life: Life, outcome: Outcome) -> dict[str, int]:
    """Return the steps that a life crosses, each with its first crossing at which there was something to do."""
    played = begun(life, outcome)
    worker = Worker(played)
    worker.start()
    world.end()
    assert not played.complaints, f"{life.kind} {life.name}, {outcome}: {played.complaints}"
    return first_of_each(played.crossed)


def first_of_each(taken: list[Crossing]) -> dict[str, int]:
    """Return the first crossing of each step, counted from 1; of one that polls, the first that led to anything."""
    came: dict[str, int] = {}
    first: dict[str, int] = {}
    for place, one in enumerate(taken):
        came[one.step] = came.get(one.step, 0) + 1
        if one.step not in first and (one.step not in POLLS or leads_on(one, taken[place + 1 :])):
            first[one.step] = came[one.step]
    return first


def leads_on(poll: Crossing, further: Iterable[Crossing]) -> bool:
    """Tell whether anything else was done in the same act."""
    return any(one.act == poll.act and one.step not in POLLS for one in further)


def begun(life: Life, outcome: Outcome) -> World:
    """Make the world of a life, and bring it to where the worker A takes over."""
    made = world.begin([*life.before, outcome])
    made.arm()
    life.prepare(made, life)
    return made


def sample() -> list[Cell]:
    """Return few cells that have between them every trait that any cell has; always the same."""
    played = [(life, outcome) for place, life in enumerate(LIVES) for outcome in some_of(life, place)]
    cells = {cell: traits(cell) for life, outcome in played for cell in cells_of(life, outcome)}
    missing, often = set[object]().union(*cells.values()), Counter[object]()
    chosen = []
    while missing:
        # Of those that bring as much, one whose step and whose blow are rare so far.
        best = max(cells, key=lambda cell: (len(cells[cell] & missing), -often[cell.step] - often[cell.blow]))
        missing -= cells[best]
        often.update((best.step, best.blow))
        chosen.append(best)
    return chosen


def some_of(life: Life, place: int) -> list[Outcome]:
    """Return every outcome for the path; for what is beside it one, a different one from life to life."""
    return list(life.outcomes) if life.name == PATH else [life.outcomes[place % len(life.outcomes)]]


def traits(cell: Cell) -> set[object]:
    """Return what a sample has all of: steps with their moments, lives, and blows with chain, type and store."""
    return {
        (cell.step, cell.moment),
        (cell.life.kind, cell.life.name),
        (cell.blow, cell.outcome),
        (cell.blow, cell.life.kind),
        (cell.blow, STEPS[cell.step].store),
        (cell.blow, cell.moment),
    }
