"""The READMEs' examples, and what runs those in JavaScript."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from config.env import ROOT
from tests.browser.watched import CHROMIUM

NODE_WITH_SOCKETS = 22
"""The first Node that has WebSocket by itself."""
DOCUMENTS = [
    "README.md",
    *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("[a-z]*/**/README.md") if ".venv" not in p.parts),
]
README = "\n".join((ROOT / name).read_text() for name in DOCUMENTS)
"""All of them, as one text."""


def block(language: str, containing: str) -> str:
    """Return the README's first code block in that language that contains this."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in blocks if containing in text)


def node() -> list[str]:
    """Return the command that runs the module it is given next; skip the test where there is none."""
    found = shutil.which("node")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout if found else "v0"
    if int(version.removeprefix("v").partition(".")[0]) < NODE_WITH_SOCKETS:
        pytest.skip(f"no Node {NODE_WITH_SOCKETS} or newer here: {version.strip()}")
    return [str(found), "--input-type=module", "--eval"]


@contextmanager
def browser() -> Iterator[Any]:
    """Run Chromium; skip the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield running
        finally:
            running.close()
