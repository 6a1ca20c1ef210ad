"""The manifests: what Kustomize makes of them is sound, and says what the engine needs of a cluster."""

import re
import shutil
import subprocess
from ipaddress import ip_address, ip_network

import pytest
import yaml

from config.env import PREFIXES, ROOT
from config.settings import OWN, POOL_SIZES
from deploy import make_secrets, rights, role
from orders.telemetry.metrics import READ
from tests.deploy.test_image import tool

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("production", "trial")
OTHERS = ("keda.sh/", "gateway.networking.k8s.io/", "gateway.envoyproxy.io/")
"""Kinds of their own, which the cluster knows and the validator does not."""
KEPT_FREE = 20
"""Connections for operators, backups and the superuser."""


def kustomize(folder):
    """What Kustomize makes of a folder; skips where neither it nor kubectl, which contains it, is installed."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout
    pytest.skip("neither kustomize nor kubectl is installed: either is a single program from its project's releases")


@pytest.fixture(scope="module", params=OVERLAYS)
def made(request):
    """An overlay's manifests."""
    return list(yaml.safe_load_all(kustomize(FOLDER / "overlays" / request.param)))


@pytest.fixture(scope="module")
def production():
    return list(yaml.safe_load_all(kustomize(FOLDER / "overlays" / "production")))


@pytest.fixture(scope="module")
def on_rabbitmq(tmp_path_factory):
    """Production with its queues in RabbitMQ, as the README has it."""
    folder = tmp_path_factory.mktemp("on-rabbitmq") / "kubernetes"
    shutil.copytree(FOLDER, folder)
    listed = folder / "overlays" / "production" / "kustomization.yaml"
    keda = "  - ../../components/keda\n"
    before, _, after = listed.read_text().partition(keda)
    listed.write_text(f"{before}{keda}  - ../../components/rabbitmq\n{after}")
    return list(yaml.safe_load_all(kustomize(listed.parent)))


def of(manifests, kind):
    """Those of a kind, by name."""
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pods(manifests):
    """The pods of the engine's own roles, by name."""
    found = {**of(manifests, "Deployment"), **of(manifests, "Job")}
    return {name: one["spec"]["template"]["spec"] for name, one in found.items()}


@pytest.mark.parametrize("folder", ["base", "overlays/production", "overlays/trial", "on RabbitMQ"])
def test_every_manifest_is_sound(folder, tmp_path, request):
    if folder == "on RabbitMQ":
        found = request.getfixturevalue("on_rabbitmq")
    else:
        found = yaml.safe_load_all(kustomize(FOLDER / folder))
    theirs = [one for one in found if not one["apiVersion"].startswith(OTHERS)]
    (tmp_path / "made.yml").write_text(yaml.safe_dump_all(theirs))
    command = [tool("kubernetes-validate"), "--strict", "--no-warn", str(tmp_path / "made.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("passed") == len(theirs) > 20


def test_every_role_runs_its_own_command(made):
    assert {name: pod["containers"][0]["args"][0] for name, pod in pods(made).items()} == {n: n for n in role.ROLES}


def test_every_pod_is_confined_as_the_strictest_profile_asks(made):
    for name, pod in pods(made).items():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]


def test_no_variable_of_the_clusters_looks_like_a_setting(made):
    # A Service `order` would add ORDER_PORT, which the engine refuses as a setting it does not know.
    assert "ORDER_PORT".startswith(PREFIXES)
    assert all(pod["enableServiceLinks"] is False for pod in pods(made).values())


def mounted(pod):
    """The keys of the Secret that a pod has, by the file each lies in."""
    (container,) = pod["containers"]
    paths = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    volumes = [one for one in pod["volumes"] if "secret" in one]
    return {f"{paths[v['name']]}/{i['path']}": i["key"] for v in volumes for i in v["secret"]["items"]}


def test_a_role_has_the_secrets_it_needs_and_no_other(made):
    for name, pod in pods(made).items():
        (container,) = pod["containers"]
        files = mounted(pod)
        given = {one["name"].removesuffix("_FILE"): files.pop(one["value"]) for one in container["env"]}
        # The user of the admin is made by the migration.
        assert set(given) == {*role.NEEDS.get(name, role.STORES), *(["ENGINE_ADMIN_PASSWORD"] * (name == "migrate"))}
        rest = {"migrate": {f"database-url-{user}" for user in make_secrets.USERS}}
        assert set(files.values()) == rest.get(name, set()), name


def test_every_role_works_as_its_own_user_of_both_stores_and_migrate_knows_those_of_postgres(made):
    found = pods(made)
    for user, names in rights.USERS.items():
        for name in names:
            assert mounted(found[name])["/run/secrets/engine/database-url"] == user.replace("engine_", "database-url-")
    for name in set(role.ROLES) - {"migrate"}:
        assert mounted(found[name])["/run/secrets/engine/redis-url"] == f"redis-url-{name}"
    named = role.parse(found["migrate"]["containers"][0]["args"]).users
    keys = mounted(found["migrate"])
    assert {keys[str(file)] for file in named} == {f"database-url-{user}" for user in make_secrets.USERS}


def test_probes_tell_a_wait_from_an_illness(made):
    for name in set(role.ROLES) - {"migrate"}:
        (container,) = pods(made)[name]["containers"]
        asked = {
            probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
        assert min(container[probe]["timeoutSeconds"] for probe in asked) > role.ASKED_WITHIN_S


def test_a_pod_has_the_time_to_end_by_itself(made):
    found = pods(made)
    leave = found["api"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    # uvicorn is told to give requests 3 s.
    assert found["api"]["terminationGracePeriodSeconds"] >= leave + 3 + 5
    assert all(found[name]["terminationGracePeriodSeconds"] >= 30 for name in role.ROLES if name != "api")


def test_there_are_two_beats_of_which_one_is_active(made):
    assert of(made, "Deployment")["beat"]["spec"]["replicas"] == 2


def test_replicas_that_are_scaled_are_not_set_besides(production):
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in production if "scaleTargetRef" in one.get("spec", {})}
    assert scaled == set(role.ROLES) - {"migrate", "beat", "flower"}
    assert not [name for name in scaled if "replicas" in of(production, "Deployment")[name]["spec"]]


def test_each_worker_grows_by_the_length_and_the_age_of_its_own_queue(production):
    for name, scaled in of(production, "ScaledObject").items():
        length, age = scaled["spec"]["triggers"]
        assert scaled["spec"]["scaleTargetRef"]["name"] == name == length["metadata"]["listName"]
        assert age["metadata"]["query"] == f'max(engine_queue_age_seconds{{queue="{name}"}})'
        # What a worker does beside its queue must be done by somebody.
        assert scaled["spec"]["minReplicaCount"] >= 1
    assert "engine_queue_age_seconds" in READ


def test_on_rabbitmq_every_role_is_told_and_each_worker_grows_by_its_queue_there(production, on_rabbitmq):
    for name, pod in pods(on_rabbitmq).items():
        (container,) = pod["containers"]
        given = {one["name"]: one["value"] for one in container["env"]}
        assert set(given.values()) <= set(mounted(pod))
        assert ("BROKER_URL_FILE" in given) == (name != "migrate")
    before = of(production, "ScaledObject")
    for name, scaled in of(on_rabbitmq, "ScaledObject").items():
        (trigger,) = scaled["spec"]["triggers"]
        enough = before[name]["spec"]["triggers"][0]["metadata"]["listLength"]
        asks = {"queueName": name, "mode": "QueueLength", "value": enough, "protocol": "amqp"}
        assert trigger == {"type": "rabbitmq", "metadata": asks, "authenticationRef": {"name": "rabbitmq"}}
    (authentication,) = of(on_rabbitmq, "TriggerAuthentication").values()
    assert authentication["metadata"]["name"] == "rabbitmq"
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "host", "name": "order-engine", "key": "broker-url"}
    ]
    kinds = [sorted(one["kind"] for one in made) for made in (production, on_rabbitmq)]
    assert kinds[0] == kinds[1]


def test_a_drain_takes_one_of_each_role_and_is_never_stopped_by_it(made):
    budgets = of(made, "PodDisruptionBudget")
    assert set(budgets) == set(role.ROLES) - {"migrate", "flower"}
    assert all(one["spec"]["maxUnavailable"] == 1 and "minAvailable" not in one["spec"] for one in budgets.values())


def test_nothing_comes_in_but_clients_to_the_api_and_prometheus(made):
    policies = of(made, "NetworkPolicy")
    closed = policies["nothing-else"]["spec"]
    assert (closed["podSelector"], sorted(closed["policyTypes"])) == ({}, ["Egress", "Ingress"])
    assert "ingress" not in closed and "egress" not in closed
    doors = {
        name: sorted(port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"])
        for name, policy in policies.items()
        if "ingress" in policy["spec"] and name != "engine-to-the-stores"
    }
    assert doors == {"clients-to-the-api": ["http"], "prometheus-to-every-role": [8000, 9700]}
    assert policies["clients-to-the-api"]["spec"]["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/component": "api"
    }
    names = policies["to-the-stores"]["spec"]["egress"][0]["to"][0]
    assert names == {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}


def test_only_the_worker_that_delivers_webhooks_goes_out_and_to_public_addresses(made):
    policies = of(made, "NetworkPolicy")
    out = {name for name, policy in policies.items() if "egress" in policy["spec"]}
    assert out == {"to-the-stores", "webhooks-to-the-internet"}
    told = policies["webhooks-to-the-internet"]["spec"]
    assert told["podSelector"]["matchLabels"] == {"app.kubernetes.io/component": "dlq"}
    (rule,) = told["egress"]
    closed = [ip_network(one) for block in rule["to"] for one in block["ipBlock"]["except"]]
    for private in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "172.31.0.1", "192.168.0.1", "fd00::1", "fe80::1"):
        assert any(ip_address(private) in one for one in closed), private
    assert rule["ports"] == [{"protocol": "TCP", "port": 443}]


def test_strangers_do_not_get_past_the_gateway_and_nobody_says_another_address(production):
    (policy,) = of(production, "SecurityPolicy").values()
    (gateway,), (route,) = of(production, "Gateway"), of(production, "HTTPRoute")
    assert [(one["kind"], one["name"]) for one in policy["spec"]["targetRefs"]] == [("HTTPRoute", route)]
    told = policy["spec"]["authorization"]
    assert told["defaultAction"] == "Deny"
    assert all(ip_network(one).is_private for rule in told["rules"] for one in rule["principal"]["clientCIDRs"])
    (limits,) = of(production, "ClientTrafficPolicy").values()
    assert [(one["kind"], one["name"]) for one in limits["spec"]["targetRefs"]] == [("Gateway", gateway)]
    assert limits["spec"]["headers"]["earlyRequestHeaders"] == {"remove": ["X-Forwarded-For"]}


def test_clients_reach_the_api_by_tls_and_not_the_metrics(production):
    (gateway,), (route,) = of(production, "Gateway").values(), of(production, "HTTPRoute").values()
    (listener,) = gateway["spec"]["listeners"]
    assert (listener["protocol"], listener["hostname"]) == ("HTTPS", *route["spec"]["hostnames"])
    (parent,) = route["spec"]["parentRefs"]
    assert (parent["name"], parent["sectionName"]) == (gateway["metadata"]["name"], listener["name"])
    (rule,) = route["spec"]["rules"]
    (service,) = rule["backendRefs"]
    assert of(production, "Service")[service["name"]]["spec"]["ports"][0]["port"] == service["port"]
    paths = {(one["path"]["value"], one["path"]["type"]) for one in rule["matches"]}
    assert ("/", "Exact") in paths and ("/", "PathPrefix") not in paths
    assert not [path for path, _ in paths if "/metrics".startswith(path) and path != "/"]


def connections(manifests):
    """How many connections the roles hold when each is scaled as far as it goes."""
    most = {}
    for kind, field in (("HorizontalPodAutoscaler", "maxReplicas"), ("ScaledObject", "maxReplicaCount")):
        most |= {one["spec"]["scaleTargetRef"]["name"]: one["spec"][field] for one in of(manifests, kind).values()}
    # A rollout starts one pod more of each; beat has its lock beside Django's connection, and flower asks nobody.
    each = {name: POOL_SIZES.get(name, 6) + OWN.get(name, 0) for name in set(role.ROLES) - {"flower"}} | {"beat": 2}
    replicas = {name: one["spec"].get("replicas", 1) for name, one in of(manifests, "Deployment").items()}
    return sum(each[name] * (most.get(name, replicas.get(name, 0)) + 1) for name in each)


def test_postgres_takes_the_connections_of_every_role_at_its_most(made, production):
    wanted = connections(made)
    stores = [one for name, one in of(made, "StatefulSet").items() if name == "postgres"]
    if stores:
        (argument,) = stores[0]["spec"]["template"]["spec"]["containers"][0]["args"]
        assert wanted + KEPT_FREE <= int(argument.partition("=")[2])
    # Production's server is the operator's own: the README says what it must take.
    (told,) = re.findall(r"`max_connections` of at least (\d+)", (ROOT / "deploy" / "README.md").read_text())
    assert connections(production) + KEPT_FREE <= int(told) < connections(production) + KEPT_FREE + 50


def test_production_brings_no_store_and_no_secret(production):
    assert not of(production, "StatefulSet") and not of(production, "Secret")
