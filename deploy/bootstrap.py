"""Builds `.venv` beside manage.py from the hash-pinned requirements.  Standard library only."""

import compileall
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from deploy.servers import die_with_parent

REQUIREMENTS = {False: "requirements.txt", True: "requirements-dev.txt"}
FOUND = ("Collecting ", "Processing ", "Requirement already satisfied: ")
"""How pip begins its line about one package, whether it comes from an index, a folder or is already there."""
TAIL = 15
"""Lines of pip's own words shown when it fails."""
EVERY = 20
"""Packages from one line of progress to the next."""


class BootstrapFailed(Exception):
    """The environment cannot be built; the message says why and what to do."""


def ensure(root: Path, *, dev: bool) -> Path:
    """Return the interpreter of `root/.venv`, building or updating that environment first when needed.

    Raises BootstrapFailed.  Safe to call from several processes at once: one builds, the others wait.
    """
    home = root / ".venv"
    python = home / "bin" / "python"
    if is_current(home, wanted(root), dev=dev):
        return python
    try:
        home.mkdir(exist_ok=True)
        with only_one(home):
            if not is_current(home, wanted(root), dev=dev):
                build(root, home, dev=dev)
    except PermissionError as problem:
        raise BootstrapFailed(
            f"{problem.filename} cannot be written by this account: {home} was made by another one.\n"
            "Use that account, remove the folder, or work in your own copy of the project.",
        ) from problem
    return python


def wanted(root: Path) -> dict[str, str]:
    """What a current environment was built from: Python's minor version and the requirement files' hashes."""
    stamp = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in REQUIREMENTS.values():
        stamp[name] = hashlib.sha256((root / "deploy" / name).read_bytes()).hexdigest()
    return stamp


def is_current(home: Path, stamp: dict[str, str], *, dev: bool) -> bool:
    """Whether the environment was finished for this Python and these requirements; dev includes runtime."""
    built = read_stamp(home)
    if built.get("python") != stamp["python"] or not (home / "bin" / "python").exists():
        return False
    return all(built.get(name) == stamp[name] for name in {REQUIREMENTS[False], REQUIREMENTS[dev]})


def read_stamp(home: Path) -> dict[str, str]:
    """Read what the last finished build was made from; empty when none finished."""
    try:
        stamp = json.loads((home / "stamp.json").read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the build lock; the operating system lets go of it however the holder ends."""
    with (home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another manage.py is preparing .venv; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(root: Path, home: Path, *, dev: bool) -> None:
    """Make or update the environment; the stamp is written last, so an interrupted build is done again."""
    started = time.monotonic()
    stamp = wanted(root)
    clean = read_stamp(home).get("python") != stamp["python"]
    (home / "stamp.json").unlink(missing_ok=True)
    if clean:
        print("preparing .venv (first start only)", flush=True)
        empty(home)
        make_venv(home)
    install(home, root / "deploy" / REQUIREMENTS[dev])
    print("compiling", flush=True)
    compile_all(home)
    done = {"python": stamp["python"], REQUIREMENTS[False]: stamp[REQUIREMENTS[False]]}
    if dev:
        done[REQUIREMENTS[True]] = stamp[REQUIREMENTS[True]]
    (home / "stamp.json").write_text(json.dumps(done))
    print(f".venv is ready ({time.monotonic() - started:.0f} s)", flush=True)


def empty(home: Path) -> None:
    """Remove what an unfinished or foreign build left, but not the lock that we hold."""
    for entry in home.iterdir():
        if entry.name == ".lock":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def make_venv(home: Path) -> None:
    """Create the bare environment, with pip of its own where this Python can provide it."""
    has_pip = importlib.util.find_spec("ensurepip") is not None
    try:
        venv.EnvBuilder(with_pip=has_pip, symlinks=True).create(home)
    except subprocess.CalledProcessError:
        # Some distributions ship ensurepip as an empty shell; the environment itself stands by then.
        has_pip = False
    if not has_pip and host_pip() is None:
        raise BootstrapFailed(
            f"This Python ({sys.executable}) comes without pip, and none is installed beside it.\n"
            "Install it and start again: on Debian and Ubuntu `apt install python3-venv`, elsewhere `python3-pip`.",
        )


def host_pip() -> list[str] | None:
    """The command for a pip outside the environment that can install into it (pip 22.3 or newer)."""
    base = getattr(sys, "_base_executable", sys.executable)
    probe = subprocess.run([base, "-m", "pip", "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"pip (\d+)\.(\d+)", probe.stdout)
    if version is None or tuple(map(int, version.groups())) < (22, 3):
        return None
    return [base, "-m", "pip"]


def pip_command(home: Path) -> list[str]:
    """The pip that installs into the environment: its own, else the host's."""
    python = str(home / "bin" / "python")
    if any(home.glob("lib/python*/site-packages/pip")):
        return [python, "-m", "pip"]
    return [*(host_pip() or []), "--python", python]


def install(home: Path, requirements: Path) -> None:
    """Install exactly the pinned files, checked by hash; raises BootstrapFailed with pip's last words.

    A package that would have to be built is refused: building runs its code.
    """
    command = [
        *pip_command(home),
        *("install", "--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile"),
        *("--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-r", str(requirements)),
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_NO_COLOR": "1"}
    parent = os.getpid()
    # One process group with us, so Ctrl-C reaches pip too; and no pip that goes on alone when we are killed.
    pip = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        preexec_fn=lambda: die_with_parent(parent, signal.SIGKILL),  # noqa: PLW1509 (one thread)
    )
    assert pip.stdout
    lines = follow(pip.stdout, len(names_in(requirements)))
    if pip.wait() != 0:
        raise BootstrapFailed(explain(lines))


def follow(output: IO[str], total: int) -> list[str]:
    """Show what pip has found so far and when it installs; returns its lines."""
    lines: list[str] = []
    fetched = 0
    for line in output:
        lines.append(line.rstrip())
        if line.startswith(FOUND):
            fetched += 1
            if fetched % EVERY == 0:
                print(f"fetched {fetched} of {total} packages", flush=True)
        elif line.startswith("Installing collected packages: "):
            print(f"installing {line.count(',') + 1} packages", flush=True)
    return lines


def names_in(requirements: Path) -> list[str]:
    """The packages a compiled requirements file pins."""
    return re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==", requirements.read_text(), flags=re.MULTILINE)


def site_packages(home: Path) -> Path:
    """Where packages land in the environment."""
    return home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def compile_all(home: Path) -> None:
    """Compile every module on all cores: faster than pip's own one-core compile, and the next start needs it."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        compileall.compile_dir(site_packages(home), quiet=2, workers=0)


def explain(lines: list[str]) -> str:
    """Say what failed, in a sentence, with pip's own last lines under it."""
    said = "\n".join(lines)
    telling = [line for line in lines if not line.startswith(("WARNING: Location", "Looking in"))]
    words = "\n".join(f"  pip: {line}" for line in telling[-TAIL:])
    return f"{words}\n\nThe packages could not be installed: {reason(said)}\nNothing is broken: start again afterwards."


def reason(said: str) -> str:
    """The likely cause of pip's failure and what to do about it."""
    if "No space left on device" in said:
        return "the disk is full. About 700 MB are needed; free some space."
    if "DO NOT MATCH THE HASHES" in said:
        return "a package differs from the one that was pinned. Do not work around this; tell the maintainers."
    if re.search(r"from versions: none|Connection|Temporary failure|resolve|timed out|SSLError|ProxyError", said):
        return (
            "the package index could not be reached. Check the network; behind a proxy set HTTPS_PROXY,\n"
            "with an index of your own set PIP_INDEX_URL."
        )
    if "No matching distribution found" in said:
        return "the package index does not have one of them for this Python and platform (named above)."
    return "see pip's words above."
