"""Ask the launcher of this machine, `manage.py up`, to restart a role: each process ends what it has in hand before.

A request is a file in the data directory, which the launcher removes once the role is running again: nothing listens
for it, and only the engine's own account can write it. Where containers run, their orchestrator restarts them.
"""

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from django.conf import settings

STORES = ("postgres", "valkey")
ELSEWHERE = (
    "In Compose: docker compose -f deploy/compose.yml restart ROLE",
    "In Kubernetes: kubectl -n order-engine rollout restart deployment/ROLE",
)


class NoLauncher(Exception):
    """No launcher runs on this data directory; the message says what to use instead."""


class CannotRestart(ValueError):
    """There is no such role here; the message says which there are."""


def processes() -> dict[str, list[int]]:
    """Return the ids of the processes that the launcher runs, by role.

    Raises NoLauncher.
    """
    found: dict[str, list[int]] = defaultdict(list)
    for name, pid in launched().items():
        role, _, number = name.rpartition("-")
        if name not in STORES:
            found[role if number.isdigit() else name].append(pid)
    return dict(found)


def launched() -> dict[str, int]:
    """Return the launcher's processes, stores too, by name.

    Raises NoLauncher.
    """
    try:
        told: dict[str, Any] = json.loads((settings.DATA_DIR / "run.json").read_text())
        os.kill(told["pid"], 0)
        return dict(told["processes"])
    except (OSError, ValueError, KeyError, TypeError):
        gone = f"`manage.py up` does not run on {settings.DATA_DIR}, so nothing here restarts a role."
        raise NoLauncher("\n".join([gone, *ELSEWHERE])) from None


def ask(role: str) -> None:
    """Ask for a restart; it begins within a second, one process after another.

    Raises NoLauncher, CannotRestart, OSError.
    """
    known = processes()
    if role not in known:
        raise CannotRestart(f"no role {role!r} runs here; there are {', '.join(sorted(known))}")
    if is_asked(role):
        raise CannotRestart(f"{role} is being restarted already")
    request(role).touch(mode=0o600)


def is_asked(role: str) -> bool:
    """Return whether a restart was asked for and is not over."""
    return request(role).exists()


def request(role: str) -> Path:
    return Path(settings.DATA_DIR) / "restarts" / role
