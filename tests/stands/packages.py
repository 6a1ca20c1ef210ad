"""Debian's packages: as they are installed, or below TEST_PACKAGES, where `dpkg -x` has unpacked them."""

import os
import shutil
from pathlib import Path

ROOT = Path(os.environ.get("TEST_PACKAGES", "/"))
PLACES = ("usr/lib/rabbitmq/bin", "usr/bin")
"""Not usr/sbin: RabbitMQ's script there changes to an account of its own."""


class Absent(Exception):
    """The package is not there; the message says how to get it."""


def program(name: str, package: str) -> Path:
    """Find a program of a package.

    Raises Absent.
    """
    found = shutil.which(name, path=os.pathsep.join(str(ROOT / place) for place in PLACES))
    if found is None:
        raise Absent(
            f"{name} is neither installed nor in TEST_PACKAGES: apt-get install {package}, "
            f"or apt-get download it with what it needs and dpkg -x each into that folder"
        )
    return Path(found)


def libraries() -> str:
    """Return where the libraries of packages are that have been unpacked where they were not meant to be."""
    return os.pathsep.join(str(path) for path in (ROOT / "usr/lib").glob("*-linux-gnu"))


def script(path: Path, command: Path, **variables: str | Path) -> Path:
    """Make a script that becomes a program of a package, with these variables besides its libraries."""
    told = " ".join(f'{name}="{value}"' for name, value in {"LD_LIBRARY_PATH": libraries(), **variables}.items())
    path.write_text(f'#!/bin/sh\nexport {told}\nexec "{command}" "$@"\n')
    path.chmod(0o700)
    return path
