"""What a process is told so that a bug is planted in it."""

import os
from pathlib import Path

from config.env import ROOT
from tests.chaos.planted.bugs import BUGS
from tests.chaos.planted.planting import check

SITE = Path(__file__).parent / "site"


def planted(name: str) -> dict[str, str]:
    """Return the variables; the project is on the path because nothing else is yet when the bug is planted.

    Raises Misplaced.
    """
    check(BUGS[name])
    return {"PLANTED_BUG": name, "PYTHONPATH": os.pathsep.join((str(SITE), str(ROOT)))}
