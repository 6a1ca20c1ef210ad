"""Debian's packages: as they are installed, or below TEST_PACKAGES, where `dpkg -x` has unpacked them."""

import os
import shutil
from collections.abc import Mapping
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


def environment() -> Mapping[str, str]:
    """Return the environment for a program that may have been unpacked where it was not meant to be."""
    libraries = [str(path) for path in (ROOT / "usr/lib").glob("*-linux-gnu")]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)} if str(ROOT) != "/" else dict(os.environ)
