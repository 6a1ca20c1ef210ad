"""The bootstrap's decisions: what is current, what is shown, what is said when it fails."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import bootstrap

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path):
    """A project with requirement files of its own and an interpreter in `.venv`."""
    (tmp_path / "deploy").mkdir()
    for name in bootstrap.REQUIREMENTS.values():
        (tmp_path / "deploy" / name).write_text(f"# {name}\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    return tmp_path


@pytest.fixture
def builds(monkeypatch):
    """The expensive parts, recorded instead of done."""
    done: list[str] = []
    monkeypatch.setattr(bootstrap, "make_venv", lambda home: (home / "bin").mkdir() or (home / "bin/python").touch())
    monkeypatch.setattr(bootstrap, "install", lambda home, requirements: done.append(requirements.name))
    monkeypatch.setattr(bootstrap, "compile_all", lambda home: None)
    return done


def test_an_environment_is_built_once(project, builds):
    python = bootstrap.ensure(project, dev=False)
    assert python == project / ".venv" / "bin" / "python"
    bootstrap.ensure(project, dev=False)
    assert builds == ["requirements.txt"]


def test_a_development_environment_serves_as_runtime_too(project, builds):
    bootstrap.ensure(project, dev=True)
    bootstrap.ensure(project, dev=False)
    bootstrap.ensure(project, dev=True)
    assert builds == ["requirements-dev.txt"]


def test_a_runtime_environment_grows_for_tests_without_starting_over(project, builds):
    bootstrap.ensure(project, dev=False)
    (project / ".venv" / "kept").touch()
    bootstrap.ensure(project, dev=True)
    assert builds == ["requirements.txt", "requirements-dev.txt"]
    assert (project / ".venv" / "kept").exists()


def test_changed_requirements_are_installed(project, builds):
    bootstrap.ensure(project, dev=False)
    (project / "deploy" / "requirements.txt").write_text("# changed\n")
    bootstrap.ensure(project, dev=False)
    assert builds == ["requirements.txt", "requirements.txt"]


def test_an_interrupted_build_is_done_again_from_nothing(project, builds, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(bootstrap, "compile_all", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bootstrap.ensure(project, dev=False)
    (project / ".venv" / "half").touch()
    bootstrap.ensure(project, dev=False)
    assert builds == ["requirements.txt", "requirements.txt"]
    assert not (project / ".venv" / "half").exists()


def test_another_minor_python_gets_an_environment_of_its_own(project, builds):
    bootstrap.ensure(project, dev=False)
    stamp = project / ".venv" / "stamp.json"
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "python": "3.9"}))
    bootstrap.ensure(project, dev=False)
    assert len(builds) == 2


WAITER = """
import sys
from pathlib import Path
from deploy import bootstrap
bootstrap.build = lambda root, home, dev: print("built")
bootstrap.ensure(Path(sys.argv[1]), dev=False)
print("done")
"""


def test_two_starts_at_once_wait_for_each_other(project, builds):
    with bootstrap.only_one(project / ".venv"):
        other = subprocess.Popen([sys.executable, "-c", WAITER, project], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert "waiting for it" in other.stdout.readline()
        bootstrap.build(project, project / ".venv", dev=False)
    assert other.communicate(timeout=10)[0] == "done\n", "what the first one built is not built again"


def test_no_package_runs_code_of_its_own_to_be_installed(tmp_path):
    ran = tmp_path / "ran"
    source = tmp_path / "odd-1.0"
    source.mkdir()
    (source / "setup.py").write_text(
        f"open({str(ran)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='odd')\n"
    )
    archive = shutil.make_archive(str(source), "gztar", tmp_path, source.name)
    digest = hashlib.sha256(Path(archive).read_bytes()).hexdigest()
    (tmp_path / "odd.txt").write_text(f"--no-index\n--find-links {tmp_path}\nodd==1.0 --hash=sha256:{digest}\n")
    bootstrap.make_venv(tmp_path / "home")
    with pytest.raises(bootstrap.BootstrapFailed, match="odd"):
        bootstrap.install(tmp_path / "home", tmp_path / "odd.txt")
    assert not ran.exists()


def test_progress_counts_what_pip_really_does(capsys):
    output = [
        "Looking in links: /somewhere\n",
        "Ignoring pywin32: markers 'sys_platform == \"win32\"' don't match your environment\n",
        *["Collecting django==5.2.19 (from -r requirements.txt (line 3))\n"] * (bootstrap.EVERY - 2),
        "  Downloading django-5.2.19-py3-none-any.whl (8.3 MB)\n",
        "Processing /somewhere/attrs-26.1.0-py3-none-any.whl (from -r requirements.txt (line 9))\n",
        "Requirement already satisfied: celery==5.6.3 in ./lib (from -r requirements.txt (line 12)) (5.6.3)\n",
        "Collecting vine==5.1.0 (from -r requirements.txt (line 15))\n",
        "Installing collected packages: attrs, django\n",
        "Successfully installed attrs-26.1.0 django-5.2.19\n",
    ]
    lines = bootstrap.follow(iter(output), 40)
    assert capsys.readouterr().out.splitlines() == ["fetched 20 of 40 packages", "installing 2 packages"]
    assert lines == [line.rstrip() for line in output]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("WARNING: Retrying after connection broken by 'NewConnectionError(...)'", "could not be reached"),
        ("ERROR: No matching distribution found for amqp==5.4.2", "does not have one of them"),
        (
            "ERROR: Could not find a version (from versions: none)\nERROR: No matching distribution found",
            "could not be",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "tell the maintainers"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
    ],
)
def test_a_failed_installation_says_what_to_do(said, answer):
    assert answer in bootstrap.explain(said.splitlines())


def test_a_python_without_pip_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(bootstrap, "host_pip", lambda: None)
    with pytest.raises(bootstrap.BootstrapFailed, match="apt install python3-venv"):
        bootstrap.make_venv(tmp_path / ".venv")


def test_an_environment_of_another_account_is_named(project, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(project / ".venv" / ".lock"))

    monkeypatch.setattr(bootstrap, "only_one", refuse)
    with pytest.raises(bootstrap.BootstrapFailed, match="made by another one"):
        bootstrap.ensure(project, dev=False)


def pins(name: str) -> set[str]:
    return set(re.findall(r"^([\w.-]+==\S+)", (ROOT / "deploy" / name).read_text(), flags=re.MULTILINE))


def test_the_development_requirements_contain_the_runtime_ones_at_the_same_versions():
    assert pins("requirements.txt") < pins("requirements-dev.txt")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_by_hash_and_no_place_is_named(name):
    text = (ROOT / "deploy" / name).read_text()
    assert text.count(" \\\n    --hash=sha256:") >= len(pins(name)) > 50
    assert not re.search(r"://|(^|[\s=])/\w", text, flags=re.MULTILINE)


def test_an_old_python_gets_a_sentence():
    source = (ROOT / "manage.py").read_text()
    __import__("ast").parse(source, feature_version=(3, 6))
    assert "needs Python 3.11" in source
