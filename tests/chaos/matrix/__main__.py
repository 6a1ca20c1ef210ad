"""The command: plays cells, prints what is wrong, and writes the table.  Ends with 1 if any cell is wrong."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.matrix import cells, table

PROGRESS_S = 10.0


def main() -> int:
    """Play the cells that are asked for."""
    asked = arguments()
    with stores():
        from tests.chaos.matrix import cells, stage, table

        begun = time.monotonic()
        with stage.set_up():
            every = cells.sample() if asked.sample else cells.all_cells()
            chosen = [cell for cell in every if is_asked(cell, asked)]
            print(f"{len(chosen)} of {len(every)} cells", flush=True)
            played = list(all_of(chosen))
        document = table.markdown(played, time.monotonic() - begun)
        print(document)
        if asked.markdown:
            Path(asked.markdown).write_text(document)
        wrong = [one for one in played if one.wrong]
        # Those of a choice need not come to every step.
        missing = table.unreached(chosen) if len(chosen) == len(every) else []
        print(f"{len(wrong)} of {len(played)} cells wrong; steps that no cell reaches: {', '.join(missing) or 'none'}")
        return 1 if wrong or missing else 0


def all_of(chosen: "Sequence[cells.Cell]") -> "Iterator[table.Played]":
    """Play cells, and say how far this is and what is wrong."""
    from tests.chaos.matrix import play, table

    begun = said = time.monotonic()
    for number, cell in enumerate(chosen, 1):
        wrong = play.play(cell)
        if wrong:
            print("WRONG", cell, *wrong, sep="\n    ", flush=True)
        if time.monotonic() - said > PROGRESS_S or number == len(chosen):
            said = time.monotonic()
            print(f"{number} of {len(chosen)} after {said - begun:.0f} s", file=sys.stderr, flush=True)
        yield table.Played(cell, tuple(wrong))


def is_asked(cell: "cells.Cell", asked: argparse.Namespace) -> bool:
    """Tell whether a cell is to be played."""
    facts = {
        "only": cell.step,
        "type": cell.life.kind,
        "life": cell.life.name,
        "blow": cell.blow,
        "outcome": cell.outcome,
        "moment": cell.moment,
    }
    return all(getattr(asked, name) in (None, fact) for name, fact in facts.items())


def arguments() -> argparse.Namespace:
    """Read what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.matrix", description=__doc__)
    parser.add_argument("--only", metavar="STEP", help="cells of this step alone")
    parser.add_argument("--type", choices=("market", "limit", "sniper"))
    parser.add_argument("--life", help="such as path, amendment")
    parser.add_argument("--blow", help="such as dies, 'reply lost'")
    parser.add_argument("--outcome", help="such as lands, 'lands late'")
    parser.add_argument("--moment", choices=("before", "after", "twice"))
    parser.add_argument("--sample", action="store_true", help="the cells that the tests play")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there")
    return parser.parse_args()


@contextmanager
def stores() -> Iterator[None]:
    """Have stores of our own, and Django on them."""
    from tests import stores as made

    made.prepare()
    try:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        import django

        django.setup()
        silence()
        from django.core.management import call_command

        from tests.orders.bench import seed_catalogue

        call_command("migrate", verbosity=0)
        seed_catalogue()
        yield
    finally:
        made.finish()


def silence() -> None:
    """Log nothing: what the engine has to say in thousands of accidents nobody reads."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)


if __name__ == "__main__":
    sys.exit(main())
