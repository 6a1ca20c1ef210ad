"""Builds the image where there is no container engine.

Debian's packages buildah and mmdebstrap do the work, as root, by chroot: no daemon, no namespace of the network, no
registry.  An image built by a registry's base and any builder is the same but for the base.
"""

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from packaging.markers import Marker

from config.env import ROOT

SUITE = "bookworm"
PYTHON = "3.11.2"
"""The suite's own Python: what its wheels are fetched for."""
BASE = f"order-engine-base:{SUITE}"
TAG = "order-engine:dev"
MB = 1_000_000


class CannotBuild(Exception):
    """The image cannot be built; the message says why and what to do."""


def check_tools() -> None:
    """Raise CannotBuild when something is missing that only the machine's owner can provide."""
    missing = [tool for tool in ("buildah", "mmdebstrap") if shutil.which(tool) is None]
    if missing:
        raise CannotBuild(f"{' and '.join(missing)} not found. On Debian: apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        raise CannotBuild("only root may change root directories, which is how this builds; start it as root")


def build(tag: str, work: Path) -> None:
    """Build the image on a base made here, from wheels fetched by this machine's pip and its settings."""
    make_base(work / f"{SUITE}.tar")
    fetch_wheels(work / "wheels")
    buildah(
        *(
            "build",
            "--layers",
            "--isolation",
            "chroot",
            "--format",
            "docker",
            "--file",
            "deploy/Dockerfile",
            "--tag",
            tag,
        ),
        *("--build-arg", f"BASE={BASE}", "--build-arg", f"REVISION={revision()}"),
        *("--build-arg", f"CREATED={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"),
        *("--build-arg", "PIP_NO_INDEX=1", "--build-arg", "PIP_FIND_LINKS=/wheels"),
        *("--volume", f"{(work / 'wheels').resolve()}:/wheels:ro", str(ROOT)),
    )


def make_base(archive: Path) -> None:
    """Make Debian's smallest system an image, once; delete the archive to have it made anew."""
    if not archive.exists():
        making = archive.with_suffix(".new.tar")
        subprocess.run(["mmdebstrap", "--variant=minbase", SUITE, making], check=True)
        making.replace(archive)
    container = asked("from", "scratch")
    try:
        buildah("add", "--quiet", container, str(archive), "/")
        buildah("commit", "--quiet", container, BASE)
    finally:
        buildah("rm", container)


def fetch_wheels(folder: Path) -> None:
    """Fetch the pinned wheels, checked by hash, for the base's Python; pip asks wherever this machine has it ask."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    command += ["--no-deps", "--only-binary", ":all:", "--python-version", PYTHON, "--dest", str(folder)]
    wanted = folder.with_suffix(".txt")
    wanted.write_text(for_python((ROOT / "deploy" / "requirements.txt").read_text(), PYTHON))
    subprocess.run([*command, "--requirement", str(wanted)], check=True)


def for_python(requirements: str, version: str) -> str:
    """Keep the pins that hold for that Python: pip goes by the Python it runs on, whatever it fetches for."""
    target = {"python_full_version": version, "python_version": version.rpartition(".")[0]}
    kept = []
    for entry in re.findall(r"^[^#\s].*(?:\n[ \t].*)*", requirements, re.MULTILINE):
        first, _, rest = entry.partition("\n")
        pin, semicolon, marker = first.removesuffix("\\").partition(";")
        if not semicolon or Marker(marker).evaluate(target):
            kept.append(f"{pin.strip()} \\\n{rest}")
    return "\n".join(kept) + "\n"


def revision() -> str:
    """The commit this is built from, `+` when files differ from it; `unknown` outside a clone."""
    told = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty=+"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def sizes(tag: str) -> str:
    """Say how large the image is, and how much of that is not the base."""
    whole, base = size(tag), size(BASE)
    return f"{tag}: {whole / MB:.0f} MB, {(whole - base) / MB:.0f} MB beyond the base of {base / MB:.0f} MB"


def size(image: str) -> int:
    """Bytes of an image's files, as they lie on a disk."""
    container = asked("from", "--pull-never", image)
    try:
        found = subprocess.run(
            ["du", "--summarize", "--bytes", asked("mount", container)], check=True, capture_output=True, text=True
        )
        return int(found.stdout.split()[0])
    finally:
        buildah("rm", container)


def buildah(*arguments: str) -> None:
    """Run buildah; its output is the user's."""
    subprocess.run(["buildah", *arguments], check=True, stdout=sys.stderr, cwd=ROOT)


def asked(*arguments: str) -> str:
    """Run buildah for its answer."""
    return subprocess.run(["buildah", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
