"""The command: plays cells, prints what is wrong, and a table."""

import argparse
import logging
import os
import sys
import time
from collections import Counter


def main() -> int:
    """Play the cells that are asked for; return 1 if any is wrong."""
    asked = arguments()
    set_up()
    from tests.chaos.matrix import cells, play, stage

    with stage.set_up():
        begin = time.monotonic()
        every = [c for c in cells.all_cells() if chosen(c, asked)]
        print(len(every), "cells", round(time.monotonic() - begin, 1))
        wrong = Counter()
        begin = time.monotonic()
        for n, cell in enumerate(every):
            if n % asked.every:
                continue
            try:
                found = play.play(cell)
            except AssertionError as e:
                found = [repr(e)]
            if found:
                print("WRONG", cell, *found, sep="\n    ", flush=True)
                wrong[cell.step] += 1
        print(wrong, round(time.monotonic() - begin, 1))
    return 0


def chosen(cell, asked) -> bool:
    return (
        (not asked.only or cell.step == asked.only)
        and (not asked.type or cell.life.kind == asked.type)
        and (not asked.life or cell.life.name == asked.life)
        and (not asked.blow or cell.blow.name == asked.blow)
        and (not asked.outcome or cell.outcome.name == asked.outcome)
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only")
    parser.add_argument("--type")
    parser.add_argument("--life")
    parser.add_argument("--blow")
    parser.add_argument("--outcome")
    parser.add_argument("--markdown")
    parser.add_argument("--every", type=int, default=1)
    return parser.parse_args()


def set_up() -> None:
    from tests import stores

    stores.prepare()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django
    import structlog
    from django.core.management import call_command

    django.setup()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    call_command("migrate", verbosity=0)
    from tests.orders.bench import seed_catalogue

    seed_catalogue()


if __name__ == "__main__":
    sys.exit(main())
