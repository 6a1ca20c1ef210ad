"""What a browser is told about every response, and what Django's own check finds in production."""

import os
import secrets
import subprocess
import sys

import pytest

from config.env import ROOT
from config.headers import POLICIES, STRICT

PATHS = {
    "/": None,
    "/api/pairs": STRICT,
    "/api/docs/ws/": None,
    "/api/docs/": POLICIES["/api/docs/"],
    "/api/redoc/": POLICIES["/api/redoc/"],
    "/admin/": POLICIES["/admin/"],
    "/admin/login/": POLICIES["/admin/"],
    "/static/desk/main.js": STRICT,
    "/nothing/here": STRICT,
}
"""The policy by path; two pages have their own: the desk names its sockets, and the other runs nothing at all."""


def parsed(policy):
    return {name: sources.split() for name, _, sources in (part.strip().partition(" ") for part in policy.split(";"))}


@pytest.mark.parametrize("path", PATHS)
def test_every_response_has_its_policy_and_none_lets_a_script_in_that_is_not_a_file_of_ours(bench, client, path):
    answer = client.get(path)
    policy = answer["Content-Security-Policy"]
    assert PATHS[path] in (policy, None)
    sources = parsed(policy)
    assert set(sources.get("script-src", sources["default-src"])) <= {"'self'", "'unsafe-eval'", "'none'"}
    assert sources["frame-ancestors"] == sources["base-uri"] == ["'none'"]
    assert set(sources["form-action"]) <= {"'self'", "'none'"}
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in answer["Permissions-Policy"]


def test_only_pages_of_other_peoples_making_get_more_than_ours():
    more = {path: {name for name, sources in parsed(policy).items() if sources != parsed(STRICT).get(name)}
            for path, policy in POLICIES.items()}  # fmt: skip
    assert more == {
        "/api/docs/": {"style-src"},
        "/api/redoc/": {"style-src", "worker-src"},
        "/admin/": {"script-src", "style-src"},
    }


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
def test_a_browser_that_came_over_tls_is_told_to_stay_with_it(bench, client, secure):
    assert (client.get("/api/pairs", secure=secure).get("Strict-Transport-Security") == "max-age=31536000") is secure


def check(**settings):
    """Run Django's check as a deployment would."""
    environment = {**os.environ, "ENGINE_NO_VENV": "1", "ENGINE_ALLOWED_HOSTS": "engine.example", **settings}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_djangos_check_for_deployments_finds_nothing():
    done = check(ENGINE_SECRET_KEY=secrets.token_urlsafe(50))
    assert done.returncode == 0, done.stderr


def test_djangos_check_for_deployments_finds_what_is_wrong():
    done = check(ENGINE_SECRET_KEY="weak", ENGINE_DEBUG="1")
    assert done.returncode == 1
    assert {"security.W009", "security.W018"} <= {word.strip("()?:") for word in done.stderr.split()}
