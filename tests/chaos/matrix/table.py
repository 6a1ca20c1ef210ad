"""The matrix as a table: a block for each life, a row for each step, a column for each blow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from routing.crashpoints import STEPS
from tests.chaos.matrix.blows import Blow
from tests.chaos.matrix.cells import UNKNOWN_TO_ALL, Cell, is_unknown_to_all
from tests.chaos.matrix.chain import Outcome
from tests.chaos.matrix.lives import LIVES, PATH, Life, post

HEADS = {
    Blow.DIES: "dies",
    Blow.TAKEN_OVER: "wakes, taken over",
    Blow.ENDED: "wakes, all over",
    Blow.AUDITED: "wakes, audited",
    Blow.CANCELLED: "wakes, cancelled",
    Blow.FORGOTTEN: "wakes, emptied, cancelled",
    Blow.AMENDED: "wakes, amended",
    Blow.EXPIRED: "wakes, expired",
    Blow.LOST: "reply lost",
    Blow.TWICE: "run twice",
    Blow.TWICE_LATE: "twice, late",
    Blow.EMPTIED: "emptied",
    Blow.BACK: "back before it",
    Blow.FAR_BACK: "back to the start",
}


@dataclass(frozen=True)
class Played:
    """A cell, and what is wrong with it."""

    cell: Cell
    wrong: tuple[str, ...] = ()


def markdown(played: Sequence[Played], seconds: float) -> str:
    """Write everything as a document."""
    wrong = [one for one in played if one.wrong]
    parts = [INTRODUCTION.format(cells=len(played), right=len(played) - len(wrong), minutes=f"{seconds / 60:.0f}")]
    parts += [described("column", {HEADS[blow]: text for blow, text in ABOUT_BLOWS.items()})]
    parts += [described("the chain", {str(outcome): ABOUT_OUTCOMES[outcome] for outcome in Outcome})]
    parts += [outcomes_by_blow(played), "## Lives\n"]
    parts += [block(life, those) for life in LIVES if (those := [one for one in played if one.cell.life is life])]
    parts += ["## Steps\n", described("step", {name: step.about for name, step in STEPS.items()})]
    cells = [one.cell for one in played]
    parts += ["## Left out\n", *(f"* {line}" for line in left_out(cells)), ""]
    if unjudged := [one for one in cells if is_unknown_to_all(one)]:
        parts += ["## Clients' stories that are not judged\n", f"{UNKNOWN_TO_ALL}\n"]
        parts += [f"* {title(one.life)}: {one.moment} `{one.step}`, {HEADS[one.blow]}" for one in unjudged]
        parts += [""]
    return "\n".join(parts)


def block(life: Life, played: Sequence[Played]) -> str:
    """Write the table of one life."""
    blows = [blow for blow in Blow if any(one.cell.blow is blow for one in played)]
    steps = list(dict.fromkeys(one.cell.step for one in played))
    lines = [f"### {title(life)}\n", f"{about(life)}\n", row("step", (HEADS[blow] for blow in blows))]
    lines.append("|---" * (len(blows) + 1) + "|")
    for step in steps:
        here = [[one for one in played if (one.cell.step, one.cell.blow) == (step, blow)] for blow in blows]
        lines.append(row(f"`{step}`", map(count, here)))
    return "\n".join(lines) + "\n"


def about(life: Life) -> str:
    """Say what happens in a life."""
    if life.name == PATH:
        return "From the post to the archive."
    if life.prepare is post:
        return "Its transactions are rejected until it has no try left."
    return " ".join((life.prepare.__doc__ or "").split())


def title(life: Life) -> str:
    """Name a life."""
    return f"{life.kind} order: {life.name}"


def outcomes_by_blow(played: Sequence[Played]) -> str:
    """Write how many cells there are of each outcome and blow."""
    lines = [row("the chain", HEADS.values()), "|---" * (len(HEADS) + 1) + "|"]
    for outcome in Outcome:
        here = [[p for p in played if (p.cell.outcome, p.cell.blow) == (outcome, blow)] for blow in HEADS]
        lines.append(row(outcome, map(count, here)))
    return "\n".join(lines) + "\n"


def count(played: Sequence[Played]) -> str:
    """Write how many cells are right, and how many are not."""
    wrong = sum(bool(one.wrong) for one in played)
    return f"**{wrong} of {len(played)} wrong**" if wrong else str(len(played) or "")


def described(what: str, texts: dict[str, str]) -> str:
    """Write a table of names and what they mean."""
    return (
        "\n".join([row(what, ["means"]), "|---|---|", *(row(f"`{name}`", [text]) for name, text in texts.items())])
        + "\n"
    )


def row(head: str, columns: Iterable[str]) -> str:
    """Write one line of a table."""
    return f"| {' | '.join([head, *columns])} |"


def left_out(cells: Sequence[Cell]) -> list[str]:
    """Say which cells there are not: those of some blows, and of steps to which an order on its path never comes."""
    lines = list(NOT_PLAYED)
    for life in (life for life in LIVES if life.name == PATH):
        for outcome in life.outcomes:
            reached = {cell.step for cell in cells if cell.life is life and cell.outcome is outcome}
            if reached:
                missing = ", ".join(f"`{step}`" for step in STEPS if step not in reached)
                lines.append(f"{title(life)}, {outcome}: never comes to {missing}")
    return lines


def unreached(cells: Iterable[Cell]) -> list[str]:
    """Return the steps that no cell is about."""
    return [step for step in STEPS if step not in {cell.step for cell in cells}]


NOT_PLAYED = (
    "A worker is struck at the first crossing of a step; of what it does all the time (`due`, `look-up`, `overdue`, "
    "`take-over`, `audit`), at the first that leads to anything.",
    "Cancelled, amended or expired while a worker is frozen is a limit order on its path alone: a market order does "
    "not wait. Audited is either kind on its path. The lives beside the path are struck at the steps they are about.",
    "A commit is not run twice: nobody repeats one without looking first whether it was made.",
)
ABOUT_BLOWS = {
    Blow.DIES: "The worker is killed.",
    Blow.TAKEN_OVER: "It freezes beyond its lease, and wakes when others have gone one round.",
    Blow.AUDITED: "It wakes when the audit alone has come by: nobody has taken its order over.",
    Blow.ENDED: "It wakes when the order has come to its end.",
    Blow.CANCELLED: "While it is frozen the price goes, the order rests again if it can, and its client cancels it.",
    Blow.FORGOTTEN: "The same, and Redis loses everything before the price goes.",
    Blow.AMENDED: "The price goes, the client amends price and amount, and a price comes that the new terms allow.",
    Blow.EXPIRED: "The price goes, and the order's time passes.",
    Blow.LOST: "The store does not answer; before the step the request is lost, after it the reply.",
    Blow.TWICE: "The reply is lost and the client library sends again: the step is taken twice.",
    Blow.TWICE_LATE: "The second time comes when the order has come to its end.",
    Blow.EMPTIED: "Redis loses everything; the worker goes on.",
    Blow.BACK: "Redis is started again and is as it was before this step; the worker goes on.",
    Blow.FAR_BACK: "Redis is as it was when the order had just been placed.",
}
ABOUT_OUTCOMES = {
    Outcome.LANDS: "The first transaction lands at once.",
    Outcome.DROPPED: "It never lands, however often it is sent; its blockhash expires.",
    Outcome.LATE: "It lands when the worker's lease has run out, and before its blockhash has.",
    Outcome.REJECTED: "The chain executes it and the program fails; another try may help.",
    Outcome.SLIPS: "The chain refuses it for its minimum; a limit order goes back to the book.",
    Outcome.TIMES_OUT: "The node takes it and does not answer; it lands.",
}
INTRODUCTION = """# The crash matrix

Written by `python -m tests.chaos.matrix --markdown tests/chaos/MATRIX.md`: {right} of {cells} cells right,
in {minutes} min.

An order passes through *steps*: each is one commit, one script on Redis, one message to a worker, or one broadcast to
the chain.  In each *cell* one thing goes wrong at one step, before it or after it, while the chain does one thing with
the order's first transaction.  Worker A is the one it befalls; afterwards the rest of the engine (other workers, the
sweep, the audit, recovery, DBSync) and the clients go on until nothing moves any more.

A number in a table is how many cells there are of that step and that column: before and after the step, for each thing
the chain can do.  All of them are right unless it says otherwise.  An empty field is a cell that cannot be.  What is
not played, and what is not judged in a few cells, is at the end.

A cell is right when

* the chain executed at most one transaction of the order, and the order is confirmed exactly if one landed, with the
  amounts of the chain's record;
* an order whose cancellation was answered has executed nothing; one whose amendment was answered has executed nothing
  but its new terms; none was filled below its limit;
* no attempt is left prepared or sent, and no try was used up by what was nobody's fault;
* Postgres has every event without a gap, and Redis, REST and every client say the same: one that looked at each step,
  one whose socket was closed with the first end it was told, and one that left at each step and came back at the end;
* nothing is left for reconciliation to repair, and nothing was set aside.
"""
