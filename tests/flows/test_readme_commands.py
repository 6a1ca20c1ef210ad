"""Every command of every README is run: by this file, or by what HOW names for it.

What needs a cloud, a cluster or a container engine goes as far as it can without: its files, names and options exist.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import httpx
import pytest
import yaml
from solders.keypair import Keypair

from config.env import ROOT
from tests.bearer import API_KEY
from tests.deploy.test_aws import STACK
from tests.deploy.test_compose import COMPOSE
from tests.deploy.test_kubernetes import FOLDER, kustomize
from tests.flows.readme import README
from tests.flows.tides import tide
from tests.system import NO_DELAYS, eventually, outside, system

BEGIN = (
    *("python3 ", "python -m ", "manage.py ", ".venv/bin/python ", ".venv/bin/locust ", "sudo ", "docker ", "kubectl "),
    *("aws ", "tar ", "grep ", "order ", "sandbox ", "deadletters", "replay --", "up --"),
)
VARIABLE = re.compile(r"[A-Z_]+=\S+ ")


def commands() -> list[str]:
    """Return the README's commands, without prompts and remarks: of its console blocks, and those between words."""
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
    shown = [re.split(r"\s+#\s", line.removeprefix("$ "))[0] for line in blocks.splitlines() if line.startswith("$ ")]
    told = [one for one in re.findall(r"`([^`\n]+)`", README) if VARIABLE.sub("", one).startswith(BEGIN)]
    return list(dict.fromkeys(" ".join(one.split()) for one in (*shown, *told)))


COMMANDS = commands()
HOW = {
    "python3 manage.py up": ("tests/system.py", '"manage.py", "up"'),
    "python3 manage.py test": (".ci/run", "manage.py test"),
    "python3 manage.py backup engine.dump": ("tests/deploy/test_backups.py", 'manage(data, "backup"'),
    "python3 manage.py restore engine.dump": ("tests/deploy/test_backups.py", 'manage(other, "restore"'),
    "python3 manage.py test -m long": ("pyproject.toml", "not long"),
    "python3 manage.py test tests/chaos": (".ci/run", "manage.py test"),
    "python3 manage.py test -m long tests/orders/test_replayed_book.py": ("pyproject.toml", "not long"),
    "python3 manage.py test --version": (".ci/run", "manage.py test"),
    "TEST_BROKER=rabbitmq python3 manage.py test tests/flows": ("tests/stands/__init__.py", '"TEST_BROKER"'),
    "TEST_REDIS=redis python3 manage.py test tests/flows": ("tests/stands/__init__.py", '"TEST_REDIS"'),
    'python3 manage.py halt everything --reason "wrong prices"': (
        "tests/orders/test_halts.py",
        'run("halt", "everything"',
    ),
    'python3 manage.py cancelall --pair SOL-USDC --older-than 2h --reason "the pool moves"': (
        "tests/orders/test_bulk_cancels.py",
        'CLI = ("cancelall"',
    ),
    'python3 manage.py restart order --reason "it hangs"': (
        "tests/deploy/test_up.py",
        '"manage.py", "restart"',
    ),
    'python3 manage.py reduce everything --reason "closing positions"': (
        "tests/orders/test_trading_states.py",
        'run("reduce", "everything"',
    ),
    'python3 manage.py limits set --kind day-value --user admin --reason "a new bot" 50000': (
        "tests/orders/test_trading_limits.py",
        'said("set"',
    ),
    'python3 manage.py limits set --kind order-value --reason "fat fingers" 5000': (
        "tests/orders/test_trading_limits.py",
        'said("set"',
    ),
    'python3 manage.py limits set --kind tokens --user admin --reason "majors only" SOL USDC': (
        "tests/orders/test_trading_limits.py",
        'said("set"',
    ),
    "python3 manage.py limits list": ("tests/orders/test_trading_limits.py", 'said("list"'),
    "python3 manage.py limits remove --kind tokens --user admin": (
        "tests/orders/test_trading_limits.py",
        'said("remove"',
    ),
    "manage.py balances": ("tests/orders/test_balances.py", 'run("balances")'),
    "python3 manage.py balances": ("tests/orders/test_balances.py", 'run("balances")'),
    'python3 manage.py balances --user admin --repair "after the upgrade"': (
        "tests/orders/test_balances.py",
        'run("balances", "--user", "alice", "--repair", "after the upgrade"',
    ),
    "python3 manage.py resume everything": ("tests/orders/test_halts.py", 'run("resume", "everything")'),
    'python3 manage.py pause everything --reason "checking"': (
        "tests/orders/test_halts.py",
        'run("pause", "everything"',
    ),
    "python3 manage.py changepassword admin": ("tests/config/test_cookies.py", '"changepassword", "admin"'),
    "python3 manage.py axes_reset_username admin": ("tests/config/test_logins.py", '"axes_reset_username", "admin"'),
    "python3 manage.py secondfactor admin": ("tests/config/test_logins.py", 'call_command("secondfactor", "admin"'),
    ".venv/bin/python -m deploy.role order": ("tests/deploy/test_role.py", '"-m", "deploy.role"'),
    "python3 -m deploy.redis_rights": ("tests/deploy/test_redis_rights.py", '"deploy.redis_rights"'),
    "sudo .venv/bin/python -m tests.deploy.image --try": ("tests/deploy/test_image.py", '"tests.deploy.image"'),
    "python3 -m pip install ./orders/client": ("tests/client/test_wheel.py", "order_engine_client"),
    "openapi-python-client generate --url http://127.0.0.1:8000/api/schema": (
        "tests/client/test_generated.py",
        '"openapi_python_client"',
    ),
    "npx openapi-typescript http://127.0.0.1:8000/api/schema -o schema.d.ts": (
        "tests/client/test_generated.py",
        '"openapi-typescript"',
    ),
    ".venv/bin/python -m orders.api.client_kinds": ("tests/client/test_event_kinds.py", "client_kinds.written()"),
    ".venv/bin/python -m tests.fuzz.run --seed 1 --cases 100000": ("tests/fuzz/test_fuzz.py", "run.fuzz("),
    ".venv/bin/python -m tests.browser.screenshots": ("tests/browser/screenshots.py", "def main"),
}
"""What runs a command that no test of this file runs: a file, and what of it does."""
SMALL = 200
"""Orders, seconds or requests of a figure that is only to be seen to come about."""


def of(*beginnings: str) -> list[str]:
    """Return the commands that begin so."""
    found = [one for one in COMMANDS if VARIABLE.sub("", one).startswith(beginnings)]
    assert found, beginnings
    return found


DOCKER, KUBECTL, CLOUD = of("docker "), of("kubectl "), of("tar ", "aws ")
LOCUST, LINES, SECRETS = of(".venv/bin/locust "), of("grep "), of("python3 -m deploy.make_secrets")
FIGURES = of(".venv/bin/python -m tests.load.")
CHAOS = of(".venv/bin/python -m tests.chaos.")
UP = of("python3 manage.py up --", "up --")
LAUNCH = of("order sniper SOL <mint>", "sandbox launch --mint")
WORDS = ("order ", "sandbox ", "deadletters", "replay ", "audit ")
MANAGED = [
    one for one in of(*(f"{start}{word}" for start in ("python3 manage.py ", "manage.py ", "") for word in WORDS))
    if one not in LAUNCH
]  # fmt: skip


def test_every_command_is_run_by_a_test_or_a_script():
    here = {*DOCKER, *KUBECTL, *CLOUD, *LOCUST, *LINES, *SECRETS, *FIGURES, *CHAOS, *UP, *LAUNCH, *MANAGED}
    assert sorted(one for one in COMMANDS if one not in here and one not in HOW) == []
    assert sorted(set(HOW) - set(COMMANDS)) == []
    for place, text in HOW.values():
        assert text in (ROOT / place).read_text(), (place, text)


def words_after(command: str, word: str) -> list[str]:
    """Return what a command is told after this word; all of it when the word is left out."""
    words = shlex.split(command)
    return words[words.index(word) + 1 :] if word in words else words


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """An engine that was started with everything that any `up` of the README is told."""
    settings = tide(tmp_path_factory.mktemp("market"), ["160"])
    given = [word for command in UP if "--help" not in command for word in words_after(command, "up")]
    prices = settings.pop("MARKET_REPLAY")
    settings.pop("MARKET_REPLAY_SPEED")
    # A store that is somebody else's is never emptied.
    kept = {"--fresh"} if os.environ.get("TEST_REDIS") else set()
    told = [word if word != "prices.csv" else prices for word in given if word not in kept]
    with system({**NO_DELAYS, **settings}, *told) as running:
        eventually(lambda: running.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        yield running


@pytest.fixture(scope="module")
def failed(engine):
    """Return the id of an order that failed, once it is kept as a dead letter."""
    order = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1000000000"}
    order_id = httpx.post(f"{engine.url}/api/orders/execute", json=order, headers=engine.headers).json()["orderId"]

    def kept():
        with engine.postgres() as db:
            return db.execute("SELECT 1 FROM orders_deadletter WHERE order_id = %s", [order_id]).fetchone()

    eventually(kept, 60, "the failed order is kept as a dead letter")
    return order_id


@pytest.mark.system
def test_an_engine_is_started_as_told(engine):
    assert {"order-1", "order-2"} <= set(engine.pids())
    told = httpx.get(f"{engine.url}/api/quotes/SOL-USDC", headers=engine.headers)
    assert 155 < float(told.json()["best"]["price"]) < 165
    assert any("--help" in command for command in UP)
    assert "--replay-speed" in engine.manage("up", "--help").stdout


@pytest.mark.system
@pytest.mark.parametrize("command", MANAGED)
def test_a_command_of_management_answers(engine, failed, command):
    words = words_after(command.replace("<orderId>", failed), "manage.py")
    done = engine.manage(*words)
    # This order failed for its own size: a replay would fail again, and the command says so.
    refused = words[0] == "replay" and failed in words
    assert done.returncode == refused, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and (done.stdout or done.stderr)
    if "venue" in words:
        assert engine.manage(*(word.replace("down", "up") for word in words)).returncode == 0


@pytest.mark.system
def test_a_snipe_is_seen(engine):
    (snipe,), (launch,) = ([one for one in LAUNCH if word in one] for word in ("order ", "sandbox "))
    mint = str(Keypair().pubkey())
    told: list[subprocess.CompletedProcess[str]] = []
    buyer = threading.Thread(target=lambda: told.append(engine.manage(*shlex.split(snipe.replace("<mint>", mint)))))
    buyer.start()
    waiting = f"{engine.url}/api/orders?type=sniper"
    eventually(lambda: mint in httpx.get(waiting, headers=engine.headers).text, 60, "the order waits for its token")
    assert engine.manage(*shlex.split(launch.replace("<mint>", mint))).returncode == 0
    buyer.join(60)
    # What the token checks find depends on the token.
    assert "triggered" in told[0].stdout and re.search("confirmed|failed", told[0].stdout)


@pytest.mark.system
@pytest.mark.parametrize("command", LINES)
def test_an_orders_lines_are_found_in_every_process(engine, failed, command):
    told = command.replace("<orderId>", failed).replace(".data", str(engine.data_dir))
    done = subprocess.run(["sh", "-c", told], capture_output=True, text=True, check=True)
    named = {json.loads(line)["worker"].partition("-")[0] for line in done.stdout.splitlines()}
    assert {"api", "order", "dlq"} <= named


@pytest.mark.system
@pytest.mark.parametrize("command", LOCUST)
def test_a_load_test_passes(engine, command, tmp_path):
    program, *words = shlex.split(command.replace("https://engine.example", engine.url))
    few = ["--seconds", "3", "--post-p95-ms", "60000", "--final-p95-ms", "60000", "--throughput-share", "0.01"]
    place = ["--html", str(tmp_path / "report.html")]
    done = subprocess.run(
        [sys.executable, "-m", Path(program).name, *words, *few, *place],
        env={**os.environ, API_KEY: engine.api_key},
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "report.html").stat().st_size > 0


@pytest.mark.parametrize("command", SECRETS)
def test_secrets_are_made(command, tmp_path):
    _, *words = shlex.split(command)
    done = subprocess.run([sys.executable, *words, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "database_url" in done.stdout and (tmp_path / "database_url").stat().st_size > 0


@pytest.mark.system
@pytest.mark.long
@pytest.mark.parametrize("command", FIGURES)
def test_a_command_of_the_figures_runs(command):
    _, *words = shlex.split(command)
    small = [re.sub(r"^\d+$", lambda number: str(min(int(number[0]), SMALL)), word) for word in words]
    done = subprocess.run(
        [sys.executable, *small], cwd=ROOT, env=outside(), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# What an engine, a cluster and a cloud would be told


@pytest.mark.parametrize("command", DOCKER)
def test_what_docker_is_told_exists(command):
    words = shlex.split(command)
    variables = [word.partition("=")[0] for word in words[: words.index("docker")]]
    files = [words[at + 1] for at, word in enumerate(words) if word == "-f"]
    assert files and all((ROOT / path).is_file() for path in files)
    text = (ROOT / "deploy" / "compose.yml").read_text()
    assert all(f"${{{name}" in text for name in variables)
    told = {word: words[at + 1] for at, word in enumerate(words) if word.startswith("--") and at + 1 < len(words)}
    profiles = {profile for service in COMPOSE["services"].values() for profile in service.get("profiles", [])}
    assert told.get("--profile") in {None, *profiles}
    assert told.get("--scale", "order=1").partition("=")[0] in COMPOSE["services"]


@pytest.mark.parametrize("command", KUBECTL)
def test_what_kubectl_is_told_is_what_the_manifests_ask_for(command):
    words = shlex.split(command)
    production = list(yaml.safe_load_all(kustomize(FOLDER / "overlays" / "production")))
    if "apply" in words:
        assert production and (ROOT / words[-1] / "kustomization.yaml").is_file()
    elif "delete" in words:
        name = words[words.index("job") + 1]
        assert [one["kind"] for one in production if one["metadata"]["name"] == name] == ["Job"]
    else:
        kubectl = shutil.which("kubectl") or pytest.skip("kubectl is not installed")
        done = subprocess.run([kubectl, *words[1:], "--dry-run=client", "-o", "yaml"], capture_output=True, check=True)
        made = yaml.safe_load(done.stdout)
        if made["kind"] == "Namespace":
            assert {made["metadata"]["name"]} == {one["metadata"].get("namespace") for one in production} - {None}
        else:
            assert (made["kind"], made["metadata"]["name"]) == ("Secret", "order-engine")
            assert set(made["data"]) == set(asked_of_the_secret(production))


def asked_of_the_secret(manifests):
    """Yield the keys that manifests take from the Secret."""
    for one in manifests:
        for volume in one.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", []):
            yield from (item["key"] for item in volume.get("secret", {}).get("items", []))
        yield from (target["key"] for target in one.get("spec", {}).get("secretTargetRef", []))


@pytest.mark.parametrize("command", CLOUD)
def test_what_the_cloud_is_told_is_what_the_template_asks_for(command, tmp_path):
    words = shlex.split(command)
    if words[0] == "tar":
        words = words[: words.index("&&")]
        archive = tmp_path / "engine.tar.gz"
        words[words.index("engine.tar.gz")] = str(archive)
        subprocess.run(words, cwd=ROOT, check=True, timeout=120)
        with tarfile.open(archive) as packed:
            names = packed.getnames()
        assert {"deploy/compose.yml", "deploy/make_secrets.py", "deploy/compose/Caddyfile"} <= set(names)
        assert not [name for name in names if name.startswith("deploy/compose/secrets")]
    else:
        assert (ROOT / words[words.index("--template-file") + 1]).is_file()
        given = {word.partition("=")[0] for word in words[words.index("--parameter-overrides") + 1 :]}
        needed = {name for name, one in STACK["Parameters"].items() if "Default" not in one}
        assert needed <= given <= set(STACK["Parameters"])


CHAOS_TESTS = {"run": "test_run.py", "planted": "test_planted.py", "matrix": "test_matrix.py"}
"""Where the tests do what these programs do, on a smaller scale."""


@pytest.mark.parametrize("command", CHAOS)
def test_a_command_that_breaks_things_knows_its_options(command):
    program = re.search(r"-m tests\.chaos\.(\w+)", command)[1]
    assert f"tests.chaos.{program}" in (ROOT / "tests/chaos" / CHAOS_TESTS[program]).read_text().replace(
        " import ", "."
    )
    told = subprocess.run(
        [sys.executable, "-m", f"tests.chaos.{program}", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert [word for word in shlex.split(command) if word.startswith("--") and word not in told] == []
