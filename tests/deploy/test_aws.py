"""The CloudFormation template: sound by its linter, one open port, and data that outlives the instance."""

import os
import re
import subprocess

import pytest
import yaml

from config.env import ROOT
from deploy import make_secrets
from orders.api.health import Ready
from tests.deploy.test_image import tool

TEMPLATE = ROOT / "deploy" / "aws" / "engine.yml"


class Reader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as what stands behind them."""


Reader.add_multi_constructor(
    "!",
    lambda loader, _, node: (
        loader.construct_scalar(node)
        if isinstance(node, yaml.ScalarNode)
        else loader.construct_sequence(node, deep=True)
    ),
)
STACK = yaml.load(TEMPLATE.read_text(), Reader)
RESOURCES = STACK["Resources"]
USER_DATA = RESOURCES["Template"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]


def of(kind):
    """The properties of all resources of a kind."""
    return {name: one.get("Properties", {}) for name, one in RESOURCES.items() if one["Type"] == kind}


def test_the_template_is_sound():
    done = subprocess.run([tool("cfn-lint"), str(TEMPLATE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_port_is_open():
    (firewall,) = of("AWS::EC2::SecurityGroup").values()
    (door,) = firewall["SecurityGroupIngress"]
    assert (door["FromPort"], door["ToPort"], door["IpProtocol"]) == (443, 443, "tcp")
    assert not re.search(r"KeyName|AWS::EC2::KeyPair|FromPort: 22\b", TEMPLATE.read_text())


def test_the_data_is_encrypted_and_outlives_instance_and_stack():
    volumes = [one for one in RESOURCES.values() if one["Type"] == "AWS::EC2::Volume"]
    assert len(volumes) == 2
    for volume in volumes:
        assert volume["Properties"]["Encrypted"] is True
        assert volume["DeletionPolicy"] == volume["UpdateReplacePolicy"] == "Snapshot"
    (disk,) = RESOURCES["Template"]["Properties"]["LaunchTemplateData"]["BlockDeviceMappings"]
    assert disk["Ebs"]["Encrypted"] is True


def test_the_instance_is_entered_by_ssm_and_keeps_its_credentials_from_containers():
    role = RESOURCES["InstanceRole"]["Properties"]
    assert any("AmazonSSMManagedInstanceCore" in policy for policy in role["ManagedPolicyArns"])
    options = RESOURCES["Template"]["Properties"]["LaunchTemplateData"]["MetadataOptions"]
    assert options == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}


@pytest.mark.parametrize(
    ("body", "figures"),
    [
        (Ready.renderer_classes[0]().render({"status": "ready", "parts": {}}).decode(), "Ready,Value=1 Well,Value=1"),
        (
            Ready.renderer_classes[0]().render({"status": "degraded", "parts": {}}).decode(),
            "Ready,Value=1 Well,Value=0",
        ),
        ("", "Ready,Value=0 Well,Value=0"),
    ],
)
def test_a_degraded_engine_is_told_apart_from_one_that_is_well(body, figures):
    check = re.search(r"<<'CHECK'\n(.*?)CHECK", script(), re.DOTALL).group(1).replace("exec /snap/bin/aws", "echo")
    curl = f"curl() {{ echo '{body}'; }}" if body else "curl() { return 22; }"
    done = subprocess.run(["sh", "-c", f"{curl}\n{check}"], capture_output=True, text=True, check=False)
    assert " ".join(word.removeprefix("MetricName=") for word in done.stdout.split()[-2:]) == figures
    assert {one["MetricName"] for one in of("AWS::CloudWatch::Alarm").values()} >= {"Ready", "Well"}


def test_every_alarm_says_what_to_look_at_and_tells_somebody():
    alarms = of("AWS::CloudWatch::Alarm")
    assert len(alarms) >= 5
    for name, alarm in alarms.items():
        assert len(alarm["AlarmDescription"]) > 40 and alarm["AlarmActions"], name
    # Amazon's own key for SNS would keep alarms from it.
    assert "KmsMasterKeyId" not in of("AWS::SNS::Topic")["Alarms"]


def script():
    """The user data as the instance sees it, with stand-ins for what the stack puts in."""
    return re.sub(r"\$\{(?!!)[^}]*\}", "value", USER_DATA).replace("${!", "${")


def test_the_user_data_is_a_script(tmp_path):
    done = subprocess.run(["bash", "-n"], input=script(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(USER_DATA) < 16_000


def test_the_user_data_brings_up_this_compose_file_with_variables_it_knows():
    compose = (ROOT / "deploy" / "compose.yml").read_text()
    assert "docker compose -f deploy/compose.yml up" in USER_DATA
    variables = re.search(r"<<'VARIABLES'\n(.*?)VARIABLES", USER_DATA, re.DOTALL).group(1)
    names = re.findall(r"^(\w+)=", variables, re.MULTILINE)
    assert len(names) == 9 and "CLIENTS" in names
    assert all(f"${{{name}:-" in compose for name in names)
    assert f"python3 -m {make_secrets.__name__} /data/postgres/secrets" in USER_DATA


STAND_INS = """
set -Eeuo pipefail
aws() { :; }; timeout() { :; }; mkdir() { :; }; resize2fs() { :; }
mkfs.ext4() { echo "formatted ${@: -1}"; }
mount() { echo "mounted $1"; }
"""


def attach(disk, tmp_path):
    """Run the instance's own function that brings up a volume, with this file as its disk."""
    (function,) = re.findall(r"^data\(\) \{\n.*?^\}$", script(), re.MULTILINE | re.DOTALL)
    function = re.sub(r"disk=.*", f"disk={disk}", function).replace("/etc/fstab", str(tmp_path / "fstab"))
    done = subprocess.run(
        ["bash", "-c", f"{STAND_INS}me=i\n{function}\ndata vol-1 /dev/sdf /data/postgres"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("written_at", [0, 1024, 128 * 1024**2 + 56], ids=["start", "superblock", "spare superblock"])
def test_a_volume_with_anything_on_it_is_never_formatted(written_at, tmp_path):
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(300 * 1024**2)
        file.seek(written_at)
        file.write(b"\x53\xef")
    assert attach(disk, tmp_path) == ["mounted /data/postgres"]


def test_a_volume_that_cannot_be_read_is_never_formatted(tmp_path):
    assert attach(tmp_path / "gone", tmp_path) == ["mounted /data/postgres"]


def test_a_new_volume_gets_a_file_system(tmp_path):
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(300 * 1024**2)
    assert attach(disk, tmp_path) == [f"formatted {disk}", "mounted /data/postgres"]


def test_only_the_archive_that_was_named_is_unpacked():
    fetched, checked, unpacked = (
        USER_DATA.index(word) for word in ("aws s3 cp '${Files}'", "sha256sum --check --strict", "tar -xzf")
    )
    assert fetched < checked < unpacked
    assert "| tar" not in USER_DATA
    assert "Default" not in STACK["Parameters"]["FilesSha256"]


def test_the_instance_reads_no_parameter_but_its_agents():
    (policy,) = RESOURCES["InstanceRole"]["Properties"]["Policies"]
    (denied,) = (one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Deny")
    assert denied["Action"] == "ssm:GetParameter*"
    assert denied["NotResource"].endswith(":parameter/${AgentConfiguration}")


def test_there_is_a_backup_of_the_last_hour_and_of_the_last_week():
    (policy,) = of("AWS::DLM::LifecyclePolicy").values()
    kept = {one["CreateRule"]["Interval"]: one["RetainRule"]["Count"] for one in policy["PolicyDetails"]["Schedules"]}
    assert kept == {1: 24, 24: 7}


def copying(folder, tmp_path, *, fails=False):
    """Return the instance's own copying of the archive, with a stand-in for AWS."""
    (text,) = re.findall(r"<<'ARCHIVE'\n(.*?)^ARCHIVE", script(), re.MULTILINE | re.DOTALL)
    text = text.replace("/data/redis/archive", str(folder)).replace("/run/engine-archive", str(tmp_path / "list"))
    aws = "false" if fails else 'echo "$4"'
    (tmp_path / "aws").write_text(f"#!/bin/sh\n[ $1 = cloudwatch ] || {aws}\n")
    (tmp_path / "aws").chmod(0o755)
    return text.replace("/snap/bin/aws", str(tmp_path / "aws"))


def copied(folder, tmp_path, *, fails=False):
    """Copy the archive as the instance does; returns what was copied."""
    done = subprocess.run(
        ["bash", "-c", copying(folder, tmp_path, fails=fails)], capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) is fails, done.stderr
    return sorted(done.stdout.split())


def test_what_postgres_archives_is_copied_once_and_again_after_a_failure(tmp_path):
    folder = tmp_path / "archive"
    for name in ("wal/1.gz", "wal/2.gz.new", "base/.new/base.tar.gz", "base/a/base.tar.gz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        os.utime(folder / name, (0, 0))
    copied(folder, tmp_path, fails=True)
    assert copied(folder, tmp_path) == ["base/a/base.tar.gz", "wal/1.gz"]
    assert copied(folder, tmp_path) == []


def archived(folder, piece, path):
    """Have a piece of the log archived as PostgreSQL has it, with the programs of `path` before others."""
    subprocess.run(
        ["/bin/sh", str(ROOT / "deploy" / "compose" / "archive.sh"), "wal", str(piece), piece.name],
        env={**os.environ, "ARCHIVE": str(folder), "PATH": f"{path}:{os.environ['PATH']}"},
        check=True,
    )


def test_a_piece_of_the_log_is_copied_that_got_its_name_after_a_copying_had_begun(tmp_path):
    folder, piece, programs = tmp_path / "archive", tmp_path / "1", tmp_path / "programs"
    for path in (folder / "wal", folder / "base", programs):
        path.mkdir(parents=True)
    piece.write_text("log")
    # Between the end of `gzip`, a while ago, and the new name the instance copies.
    (tmp_path / "copy").write_text(copying(folder, tmp_path))
    (programs / "sync").write_text(
        f'#!/bin/sh\ncase $1 in *.new) touch -d "1 minute ago" "$1"; bash {tmp_path / "copy"} ;; esac\n'
    )
    (programs / "sync").chmod(0o755)
    archived(folder, piece, programs)
    assert (folder / ".sent").exists()
    assert copied(folder, tmp_path) == ["wal/1.gz"]
    # A server that was ended before the script had come to its end sends the piece again.
    os.utime(folder / "wal" / "1.gz", (0, 0))
    assert copied(folder, tmp_path) == []
    archived(folder, piece, programs)
    assert copied(folder, tmp_path) == ["wal/1.gz"]


def test_a_file_that_comes_in_the_moment_of_a_copying_is_in_the_next(tmp_path):
    folder = tmp_path / "archive"
    (folder / "wal").mkdir(parents=True)
    (folder / "base").mkdir()
    assert copied(folder, tmp_path) == []
    (folder / "wal" / "1.gz").touch()
    moment = (folder / ".sent").stat().st_ctime_ns - 100_000_000
    os.utime(folder / "wal" / "1.gz", ns=(moment, moment))
    assert copied(folder, tmp_path) == ["wal/1.gz"]


def test_the_archive_is_closed_and_the_instance_deletes_nothing_of_it():
    (bucket,) = of("AWS::S3::Bucket").values()
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert RESOURCES["Archive"]["DeletionPolicy"] == "Retain"
    (policy,) = RESOURCES["InstanceRole"]["Properties"]["Policies"]
    allowed = [one["Action"] for one in policy["PolicyDocument"]["Statement"] if "Archive" in str(one.get("Resource"))]
    assert allowed == [["s3:PutObject", "s3:GetObject"], "s3:ListBucket"]


def test_nobody_places_orders_who_was_not_named():
    clients = STACK["Parameters"]["Clients"]
    assert "Default" not in clients
    assert "LISTEN=0.0.0.0" in USER_DATA
    assert re.fullmatch(clients["AllowedPattern"], "203.0.113.0/24 198.51.100.7/32")
    assert not re.fullmatch(clients["AllowedPattern"], "anybody") and not re.fullmatch(clients["AllowedPattern"], "")


@pytest.mark.parametrize("section", ["Parameters", "Outputs"])
def test_what_is_asked_for_and_told_is_described(section):
    assert all(one["Description"] for one in STACK[section].values())


def test_costs_are_stated():
    assert re.search(r"About \d+ USD a month", STACK["Description"])
