"""compose.yml: sound by the specification's schema, a service per role, and closed but for one door."""

import json
import os
import re
import stat
import subprocess

import pytest
import yaml

from config.env import ROOT, SECRETS, load
from config.settings import OWN, POOL_SIZES
from deploy import make_secrets, postgres, redis_rights, rights, role
from tests.deploy.test_image import tool

FOLDER = ROOT / "deploy"
COMPOSE = yaml.safe_load((FOLDER / "compose.yml").read_text())
CADDY = (FOLDER / "compose" / "Caddyfile").read_text()
SERVICES = COMPOSE["services"]
ROLES = {name: service for name, service in SERVICES.items() if name in role.ROLES}


def test_the_file_is_sound():
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "deploy/compose.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_role_is_a_service_of_its_own_and_its_command_is_its_name():
    assert {name: service["command"][0] for name, service in ROLES.items()} == {name: name for name in role.ROLES}
    # A name of its own, or a port of the machine, could be had by one container only.
    scaled = [name for name in ROLES if name not in ("flower", "migrate")]
    assert not [name for name in scaled if "container_name" in ROLES[name] or "ports" in ROLES[name]]


def published(service):
    """Name the addresses a service's ports are published on; 0.0.0.0 for all of this machine's."""
    return {
        re.sub(r"\$\{([A-Z_]+):-([^}]*)\}", r"\2", port).rpartition(":")[0].rpartition(":")[0]
        for port in service.get("ports", [])
    }


def test_nothing_is_reached_from_outside_until_the_proxy_is_told_to_listen():
    assert {address for service in SERVICES.values() for address in published(service)} == {"127.0.0.1"}
    opened = {name for name, service in SERVICES.items() for port in service.get("ports", []) if "LISTEN" in port}
    assert opened == {"proxy"}


def test_the_stores_and_the_workers_are_on_the_closed_network_alone():
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    apart = {name: service["networks"] for name, service in SERVICES.items() if service["networks"] != ["inside"]}
    assert apart == {
        "api": ["inside", "edge"],
        "dlq": ["inside", "outside"],
        "proxy": ["edge"],
        "tunnel": ["edge"],
        "flower": ["inside", "operators"],
        "grafana": ["inside", "operators"],
        "alertmanager": ["inside", "operators"],
    }


def test_roles_begin_after_the_migration_and_the_stores():
    wanted = {"migrate": "service_completed_successfully", "postgres": "service_healthy", "valkey": "service_healthy"}
    for name, service in ROLES.items():
        ordered = {on: rule["condition"] for on, rule in service["depends_on"].items()}
        assert ordered == (wanted if name != "migrate" else {k: v for k, v in wanted.items() if k != "migrate"})
    assert SERVICES["proxy"]["depends_on"]["api"]["condition"] == "service_healthy"
    assert all("healthcheck" in SERVICES[store] for store in ("postgres", "valkey"))


def test_every_service_is_limited_and_gives_up_what_it_does_not_need():
    for name, service in SERVICES.items():
        limits = service["deploy"]["resources"]["limits"]
        assert limits["cpus"] and limits["memory"], name
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
    assert all(service["read_only"] is True for service in ROLES.values())


def secrets(service):
    """The file that each of a service's secrets lies in, and the secret's name."""
    return {
        one if isinstance(one, str) else one["target"]: one if isinstance(one, str) else one["source"]
        for one in service.get("secrets", [])
    }


def given(name):
    """The settings that a role gets as files, and the file's name of each."""
    told = ROLES[name]["environment"]
    return {key.removesuffix("_FILE"): path.rpartition("/")[2] for key, path in told.items() if key.endswith("_FILE")}


@pytest.mark.parametrize("name", role.ROLES)
def test_a_role_has_the_secrets_it_needs_and_no_other(name):
    files, mounted = given(name), set(secrets(ROLES[name]))
    wanted = set(role.NEEDS.get(name, role.STORES))
    # The user of the admin is made by the migration.
    assert set(files) == wanted | ({"ENGINE_ADMIN_PASSWORD"} if name == "migrate" else set())
    rest = {f"database_url_{user}" for user in make_secrets.USERS} & mounted if name == "migrate" else set()
    assert mounted - set(files.values()) == rest


def test_every_role_works_as_its_own_user_of_both_stores_and_migrate_knows_those_of_postgres():
    users = {served: name for name, roles in rights.USERS.items() for served in roles}
    assert {name: given(name).get("DATABASE_URL") for name in ROLES} == {
        **{name: user.replace("engine_", "database_url_") for name, user in users.items()},
        "migrate": "database_url",
        "flower": None,
    }
    assert {name: secrets(ROLES[name]).get("redis_url") for name in ROLES} == {
        **{name: f"redis_url_{name}" for name in ROLES},
        "migrate": None,
    }
    named = role.parse(ROLES["migrate"]["command"]).users
    assert {file.name for file in named} == {f"database_url_{user}" for user in make_secrets.USERS}
    assert {f"engine_{user}" for user in make_secrets.USERS} == set(rights.USERS)


def test_settings_are_known_and_secrets_are_files():
    for name, service in ROLES.items():
        told = service["environment"]
        assert not set(SECRETS) & set(told), name
        load({key: value for key, value in told.items() if not key.endswith("_FILE")})
    told = [name for service in SERVICES.values() for name in service.get("environment", {})]
    assert [name for name in told if re.search("PASSWORD|KEY|TOKEN", name) and not name.endswith("_FILE")] == []


def test_data_is_kept_and_redis_refuses_rather_than_forgets():
    assert SERVICES["postgres"]["volumes"][:2] == [
        "${POSTGRES_DATA:-postgres}:/var/lib/postgresql",
        "${POSTGRES_ARCHIVE:-archive}:/archive",
    ]
    assert {"-carchive_mode=on", "-carchive_command=/bin/sh /etc/archive wal %p %f"} < set(
        SERVICES["postgres"]["command"]
    )
    assert SERVICES["valkey"]["volumes"] == ["${VALKEY_DATA:-valkey}:/data"]
    command = SERVICES["valkey"]["command"]
    assert "--appendonly yes" in command and "--maxmemory-policy noeviction" in command
    assert "--aclfile /run/secrets/redis_users" in command


def test_postgres_takes_the_connections_of_every_role_four_times():
    (most,) = (int(word.partition("=")[2]) for word in SERVICES["postgres"]["command"] if "max_connections" in word)
    pools = sum(POOL_SIZES.get(name, 6) + OWN.get(name, 0) for name in ROLES)
    assert 4 * pools <= most
    assert 4 * pools <= int(postgres.LAPTOP["max_connections"])


def test_what_it_mounts_is_there():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert not source.startswith("./") or (FOLDER / source).exists(), volume
    rules = yaml.safe_load((FOLDER / "compose" / "prometheus.yml").read_text())
    (names,) = (found["names"] for found in rules["scrape_configs"][0]["dns_sd_configs"])
    assert set(names) == set(role.ROLES) - {"migrate"}


def site(address):
    """The part of the Caddyfile for one address."""
    (found,) = re.findall(rf"^{re.escape(address)} \{{\n(.*?)^\}}", CADDY, re.MULTILINE | re.DOTALL)
    return " ".join(found.split())


def test_strangers_do_not_get_past_the_proxy():
    assert "@strangers not remote_ip {$DIRECT} respond @strangers 403" in site("{$DOMAIN:localhost}")


def test_strangers_do_not_come_through_the_tunnel_either():
    assert "@strangers not client_ip {$TUNNELLED} respond @strangers 403" in site(":8080")
    assert "@unnamed header !X-Forwarded-For respond @unnamed 403" in site(":8080")
    # Without it, the first address counts, which a client writes itself.
    assert "trusted_proxies_strict" in CADDY.partition("servers :8080 {")[2].partition("}")[0]


def proxied(tmp_path, **variables):
    """Run the proxy's start, with a stand-in for the proxy that says whom it would admit."""
    (tmp_path / "caddy").write_text('#!/bin/sh\necho "$DIRECT; $TUNNELLED"\n')
    (tmp_path / "caddy").chmod(0o755)
    return subprocess.run(
        ["/bin/sh", FOLDER / "compose" / "proxy.sh"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "LISTEN": "127.0.0.1", "CLIENTS": "", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("variables", "admitted"),
    [
        ({}, "private_ranges; 192.0.2.0/32"),
        ({"CLIENTS": "203.0.113.0/24"}, "private_ranges; 203.0.113.0/24"),
        ({"LISTEN": "0.0.0.0", "CLIENTS": "203.0.113.0/24 10.0.0.0/8"}, "203.0.113.0/24 10.0.0.0/8; " * 2),
    ],
)
def test_who_is_admitted_follows_from_where_the_proxy_listens(variables, admitted, tmp_path):
    assert proxied(tmp_path, **variables).stdout.strip() == admitted.strip("; ")


@pytest.mark.parametrize("clients", ["", "private_ranges", "0.0.0.0/0", "203.0.113.0/24 ::/0"])
def test_the_proxy_is_not_opened_to_everybody(clients, tmp_path):
    done = proxied(tmp_path, LISTEN="0.0.0.0", CLIENTS=clients)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the networks that may place orders" in done.stderr


def test_images_can_be_pinned_from_outside():
    assert all(
        re.fullmatch(r"order-engine:\$\{TAG:-dev\}|\$\{[A-Z]+_IMAGE:-\S+\}", s["image"]) for s in SERVICES.values()
    )


def test_profiles_are_what_is_asked_for():
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    watched = {name: ["monitoring"] for name in ("prometheus", "alertmanager", "grafana")}
    assert profiles == {"tunnel": ["tunnel"], **watched}


def test_an_image_is_named_by_an_exact_version():
    named = {name: re.sub(r".*:-(.*)\}", r"\1", s["image"]) for name, s in SERVICES.items() if name not in ROLES}
    loose = [name for name, image in named.items() if not re.search(r":v?\d+\.\d+(\.\d+)?$", image)]
    # ngrok's own tag is of a service that refuses old clients.
    assert loose == ["tunnel"]


def test_prometheus_tells_alertmanager_and_every_severity_reaches_somebody():
    told = yaml.safe_load((FOLDER / "compose" / "prometheus.yml").read_text())["alerting"]["alertmanagers"]
    assert told == [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]
    rules = yaml.safe_load((FOLDER / "compose" / "alertmanager.yml").read_text())
    receivers = {one["name"]: one for one in rules["receivers"]}
    assert all(len(one) > 1 for one in receivers.values())
    by = {(route["matchers"][0], route["receiver"]) for route in rules["route"]["routes"]}
    assert {receiver for _, receiver in by} == set(receivers)
    assert ('severity="critical"', "pager") in by and rules["route"]["receiver"] == "mail"
    text = (FOLDER / "compose" / "alertmanager.yml").read_text()
    assert not re.search(
        r"^\s*(- )?(smtp_auth_password|routing_key|service_key|url|auth_password):", text, re.MULTILINE
    )
    assert set(re.findall(r"_file: (\S+)/", text)) == {"/run/secrets/alerts"}
    assert {kind for one in receivers.values() for kind in one} == {
        *("name", "email_configs", "pagerduty_configs", "webhook_configs"),
    }
    # A webhook has every annotation by itself.
    assert all("Annotations.page" in json.dumps(receivers[name]) for name in ("mail", "pager"))


@pytest.fixture
def folder(tmp_path):
    make_secrets.make(tmp_path / "secrets")
    return tmp_path / "secrets"


def test_help_makes_no_secrets(tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        make_secrets.main(["--help"])
    assert "passwords and keys" in capsys.readouterr().out


def test_secrets_are_made_once_and_belong_together(folder):
    made = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    assert set(made) | {"ngrok"} == set(COMPOSE["secrets"])
    assert made["postgres_password"].strip() in made["database_url"]
    assert redis_rights.digest(made["redis_password"].strip()) in made["redis_users"]
    assert len(set(made.values())) == len(made)
    # What the users of Redis may do changes with versions; their passwords stay.
    (folder / "redis_users").write_text("those of another version\n")
    (folder / "redis_url_beat").unlink()
    assert make_secrets.make(folder) == ["redis_url_beat", "redis_users"]
    again = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    assert {name for name in made if again[name] != made[name]} == {"redis_url_beat", "redis_users"}
    assert make_secrets.make(folder) == []


def test_secrets_are_read_in_containers_and_by_nobody_else(folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()} == {0o444}


def test_made_secrets_are_settings_the_engine_accepts(folder):
    files = {"DATABASE_URL": "database_url", "REDIS_URL": "redis_url_api", "ENGINE_SECRET_KEY": "secret_key"}
    values = load({f"{name}_FILE": str(folder / file) for name, file in files.items()})
    assert values["DATABASE_URL"].endswith("@postgres:5432/engine")
