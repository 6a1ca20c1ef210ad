"""The image's recipe: sound by its linter, and, where it can be built, a place in which every role runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config.env import ROOT
from deploy import role
from tests.deploy.image import build

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
MOST_MB = 250


def tool(name):
    """Find a linter beside this Python or on the PATH; skips the test where it is not installed."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: it comes with deploy/requirements-dev.txt")
    return found


def test_the_recipe_is_sound():
    done = subprocess.run(
        [tool("hadolint"), "deploy/Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_runtime_stage_installs_nothing_and_runs_as_nobody():
    stage = DOCKERFILE.rpartition("FROM python AS runtime")[2]
    assert stage
    assert "apt-get" not in stage and "pip " not in stage
    assert "USER 10001:10001" in stage and "STOPSIGNAL SIGTERM" in stage and "HEALTHCHECK" in stage


def test_every_package_is_checked_by_hash_and_none_is_compiled():
    (command,) = re.findall(r"pip --python /opt/engine/bin/python install [^&]*", DOCKERFILE)
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(command.split())


def test_the_base_is_an_argument():
    assert re.search(r"^ARG BASE=\S+\n\nFROM \$\{BASE\} AS python$", DOCKERFILE, re.MULTILINE)


def test_every_role_is_named_where_the_image_describes_itself():
    (told,) = re.findall(r'description="[^"]*: ([^"]*)"', DOCKERFILE)
    assert set(told.split(", ")) == set(role.ROLES)


def test_what_goes_to_the_build_is_what_is_named(tmp_path):
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in rules
    named = {rule[1:] for rule in rules if rule.startswith("!")}
    assert all(list(ROOT.glob(name)) for name in named)
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert rooms - {"deploy"} | {"templates", "manage.py"} <= named


PINS = """\
async-timeout==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:aa
    # via redis
django==5.2.19 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via -r requirements.in
later==1 ; python_full_version >= '3.12' \\
    --hash=sha256:dd
"""


def test_wheels_are_fetched_for_the_images_python_not_for_ours():
    wanted = build.for_python(PINS, "3.11.2")
    assert re.findall(r"^\S+==\S+", wanted, re.MULTILINE) == ["async-timeout==5.0.1", "django==5.2.19"]
    assert re.findall(r"--hash=\S+", wanted) == ["--hash=sha256:aa", "--hash=sha256:bb", "--hash=sha256:cc"]
    assert ";" not in wanted
    assert "async-timeout" not in build.for_python(PINS, "3.11.3")


def test_a_missing_tool_is_named(monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None if name == "buildah" else f"/usr/bin/{name}")
    with pytest.raises(build.CannotBuild, match=r"buildah not found\. On Debian: apt-get install buildah"):
        build.check_tools()


@pytest.mark.system
@pytest.mark.skipif(
    "TEST_IMAGE" not in os.environ, reason="building the image takes minutes: TEST_IMAGE=1 has it built"
)
def test_the_image_builds_small_and_every_role_runs_in_it():
    try:
        build.check_tools()
    except build.CannotBuild as reason:
        pytest.skip(str(reason))
    done = subprocess.run(
        [sys.executable, "-m", "tests.deploy.image", "--try"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    (beyond,) = re.findall(r"(\d+) MB beyond the base", done.stdout)
    assert int(beyond) < MOST_MB
    assert all(re.search(rf"^  {name} +ready", done.stdout, re.MULTILINE) for name in role.ROLES if name != "migrate")
