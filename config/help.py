"""Help with a command, which prints whatever the settings are."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from config import env


def asks_help(words: Sequence[str]) -> bool:
    """Tell whether a command line asks `manage.py` to explain a command, which must not need sound settings."""
    return words[0].endswith("manage.py") and (words[1:2] == ["help"] or not {"-h", "--help"}.isdisjoint(words[2:]))


def settings() -> dict[str, Any]:
    """Return every setting's default, whatever is given, and files of nobody."""
    return env.load({"ENGINE_SECRET_KEY": "only explains commands"}, Path(os.devnull))
