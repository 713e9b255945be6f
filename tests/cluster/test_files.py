"""Check the cluster files without a cluster; Ray's own checks miss much of this."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from botocore.session import get_session
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster.aws_shim import PUBLIC, RESOLVE

ROOT = Path(__file__).parents[2]
FILES = {name: ROOT / name for name in ("cluster.yaml", "cluster.local.yaml")}
NOTICED_SECONDS = 20  # a dead node must be noticed within so many seconds


def read(name):
    return yaml.safe_load(FILES[name].read_text())


def faults(raw):
    """List what is wrong with a `ray up` file, in sentences; raise what Ray's own checks raise."""
    config = prepare_config(copy.deepcopy(raw))
    validate_config(config)
    cloud = faults_on_aws if raw["provider"]["type"] == "aws" else faults_on_own_machines
    return [sentence for sentence, wrong in {**faults_anywhere(raw), **cloud(raw)}.items() if wrong]


def faults_anywhere(raw):
    head = " ; ".join(raw["head_start_ray_commands"])
    worker = " ; ".join(raw["worker_start_ray_commands"])
    setup = " ; ".join(raw["setup_commands"])
    period, timeout, failures = (
        int(re.search(rf"RAY_health_check_{name}=(\d+)", head)[1])
        for name in ("period_ms", "timeout_ms", "failure_threshold")
    )
    return {
        "the head starts no autoscaler": "--autoscaling-config=" not in head,
        "workers do not join the head": (
            f"--address=$RAY_HEAD_IP:{re.search(r'--port=([0-9]+)', head)[1]} " not in f"{worker} "
        ),
        "a second `ray up` finds Ray running": not (
            raw["head_start_ray_commands"][0] == raw["worker_start_ray_commands"][0] == "ray stop"
        ),
        "a node may start without the token": not (
            re.search("RAY_AUTH_MODE=token .*ray start", head)
            and re.search("RAY_AUTH_MODE=token .*ray start", worker)
        ),
        "the token is not brought": "~/.ray/auth_token" not in raw["file_mounts"],
        "others may read the token": "chmod 600 ~/.ray/auth_token" not in setup,
        "the dashboard is open": "--dashboard-host=127.0.0.1" not in head,
        "what is installed is not pinned": not all(
            re.match(r"pip install --quiet -r \S+requirements\.lock", found)
            for found in re.findall(r"pip install .*", setup)
        ),
        "git's folder is brought": "**/.git" not in raw["rsync_exclude"],
        "a dead node is noticed too late": failures * (period + timeout) > NOTICED_SECONDS * 1000,
        "it uses docker": "docker" in raw,
    }


def faults_on_own_machines(raw):
    starts = [raw["head_start_ray_commands"], raw["worker_start_ray_commands"]]
    cluster = {raw["provider"]["head_ip"], *raw["provider"]["worker_ips"]}
    closed = [re.search(r"ip saddr \{ (.*?) \} accept", " ; ".join(start)) for start in starts]
    low, high = map(int, re.search(r"tcp dport (\d+)-(\d+) drop", starts[0][-2]).groups())
    ports = [
        [int(port) for port in re.findall(r"(?:-port|_PORT)=(\d+)", start[-1])] for start in starts
    ]
    return {
        "a port of Ray's is open to all, or Ray chooses it": not all(
            len(used) == count and low <= min(used) and max(used) <= high
            for used, count in zip(ports, (12, 8), strict=True)
        ),
        "ports of others are closed too": high - low >= 1000 or high >= 32768,  # Linux gives those
        "answers to what the machine itself asks are dropped": not all(
            "ct state established,related accept" in start[-2] for start in starts
        ),
        "Ray 2.60's newer autoscaler never starts the last worker": (
            "RAY_enable_autoscaler_v2=0" not in starts[0][-1]
        ),
        "a machine without a default route announces 127.0.0.1": not all(
            "--node-ip-address=" in start[-1] for start in starts
        ),
        "not just the cluster's machines are let in": not all(
            rule and set(rule[1].split(", ")) == cluster for rule in closed
        ),
        "Ray starts before its ports are closed": not all(
            "nft" in start[-2] and "ray start" in start[-1] for start in starts
        ),
        "not all worker machines are started": not (
            raw["min_workers"] == raw["max_workers"] == len(raw["provider"]["worker_ips"])
        ),
    }


def faults_on_aws(raw):
    types = raw["available_node_types"]
    head = types[raw["head_node_type"]]
    gpus = [node for node in types.values() if node["resources"].get("GPU")]
    spot = [node for node in types.values() if "InstanceMarketOptions" in node["node_config"]]
    requests = get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    reports = [
        ParamValidator().validate({**node["node_config"], "MinCount": 1, "MaxCount": 1}, requests)
        for node in types.values()
    ]
    return {
        "a trial may run on the head": head["resources"] != {"CPU": 0},
        "the head is a spot instance": head in spot,
        "the head has a GPU": head in gpus,
        "no spot worker has a GPU": not any(node in spot and node["max_workers"] for node in gpus),
        "there is no fallback on demand": not any(node not in spot for node in gpus),
        "idle GPUs are kept": any(node["min_workers"] for node in gpus),
        "Ray drops min_workers at the top silently": "min_workers" in raw,
        "idle machines are paid for too long": not 0 < raw["idle_timeout_minutes"] <= 15,
        "spot instances cannot be stopped and kept": raw["provider"]["cache_stopped_nodes"],
        "an image is not one that AWS resolves": not all(
            PUBLIC.fullmatch(node["node_config"].get("ImageId", "").removeprefix(RESOLVE))
            for node in types.values()
        ),
        "a role is not one that deploy/aws.sh makes": [
            node["node_config"].get("IamInstanceProfile", {}).get("Name") for node in types.values()
        ]
        != ["fer-search-head", "fer-search-worker", "fer-search-worker"],
        "on-demand machines come before spot machines": not (
            types["gpu_spot"].get("priority", 0) > types.get("gpu_ondemand", {}).get("priority", 0)
        ),
        "a disk is as slow as AWS makes it by default": not all(
            disk["Ebs"].get("Throughput", 0) > 125  # MiB/s, of gp3
            for node in types.values()
            for disk in node["node_config"]["BlockDeviceMappings"]
        ),
        "EC2 knows no such request": any(report.has_errors() for report in reports),
        "Ray's default installs a boto3 of any version": raw.get("head_setup_commands") != [],
        "a GPU that does not work is found out by a trial": (
            "nvidia-smi -L" not in raw["worker_setup_commands"]
        ),
    }


@pytest.mark.parametrize("name", FILES)
def test_a_cluster_file_passes_ray_s_own_validation_and_our_rules(name):
    assert faults(read(name)) == []


def changed(name, *keys, to):
    """Read a cluster file and change one value; with None, remove it."""
    config = read(name)
    *path, last = keys
    part = config
    for key in path:
        part = part[key]
    part[last] = to
    if to is None:
        del part[last]
    return config


def replaced(name, old, new):
    """Read a cluster file and replace a part of its text."""
    text = FILES[name].read_text()
    assert old in text
    return yaml.safe_load(text.replace(old, new))


AWS, LOCAL = FILES
TYPES = "available_node_types"
BROKEN = [
    (replaced(AWS, "RAY_AUTH_MODE=token ray start", "ray start"), "a node may start without"),
    (replaced(LOCAL, "RAY_AUTH_MODE=token\n", "RAY_AUTH_MODE=disabled\n"), "a node may start"),
    (replaced(AWS, "chmod 600", "chmod 644"), "others may read the token"),
    (changed(AWS, "file_mounts", "~/.ray/auth_token", to=None), "the token is not brought"),
    (replaced(LOCAL, "host=127.0.0.1", "host=0.0.0.0"), "the dashboard is open"),
    (replaced(AWS, "timeout_ms=4000", "timeout_ms=10000"), "a dead node is noticed too late"),
    (replaced(AWS, "-r ~/fer-search/requirements.lock", "ray torch"), "is not pinned"),
    (replaced(AWS, '"**/.git", ', ""), "git's folder is brought"),
    (replaced(AWS, "--autoscaling-config=", "--config="), "the head starts no autoscaler"),
    (replaced(LOCAL, "RAY_enable_autoscaler_v2=0", ""), "newer autoscaler never starts"),
    (replaced(LOCAL, ", 10.0.0.12 }", ", 10.0.0.0/8 }"), "not just the cluster's machines"),
    (changed(LOCAL, "provider", "worker_ips", to=["10.0.0.11"]), "not just the cluster's"),
    (replaced(LOCAL, "client-server-port=29301", "client-server-port=10001"), "a port of Ray's is"),
    (replaced(LOCAL, "DASHBOARD_METRIC_PORT=29309", ""), "a port of Ray's is"),
    (replaced(LOCAL, "dport 29300-29899", "dport 10001-29899"), "ports of others are closed"),
    (replaced(LOCAL, "ct state established,related accept;", ""), "answers to what the machine"),
    (changed(LOCAL, "min_workers", to=1), "not all worker machines are started"),
    (changed(AWS, "min_workers", to=1), "drops min_workers"),
    (changed(AWS, "idle_timeout_minutes", to=120), "idle machines are paid for too long"),
    (changed(AWS, TYPES, "head", "resources", to={"CPU": 4}), "a trial may run on the head"),
    (changed(AWS, TYPES, "gpu_spot", "min_workers", to=1), "idle GPUs are kept"),
    (changed(AWS, TYPES, "gpu_ondemand", to=None), "there is no fallback on demand"),
    (
        changed(AWS, TYPES, "gpu_spot", "node_config", "InstanceMarketOptions", to=None),
        "no spot worker has a GPU",
    ),
    (changed(AWS, TYPES, "head", "node_config", "ImageId", to="ami-latest"), "that AWS resolves"),
    (
        changed(AWS, TYPES, "head", "node_config", "ImageId", to="ami-00000000000000001"),
        "that AWS resolves",
    ),
    (
        changed(AWS, TYPES, "gpu_spot", "node_config", "IamInstanceProfile", to=None),
        "a role is not one",
    ),
    (changed(AWS, TYPES, "gpu_spot", "priority", to=None), "come before spot machines"),
    (replaced(AWS, ", Throughput: 250", ""), "as slow as AWS makes it"),
    (changed(AWS, TYPES, "head", "node_config", "InstanceTyp", to="m6i.large"), "no such request"),
    (changed(AWS, "worker_setup_commands", to=[]), "found out by a trial"),
    (changed(AWS, "head_setup_commands", to=None), "boto3 of any version"),
]


@pytest.mark.parametrize(("broken", "fault"), BROKEN, ids=[fault for _, fault in BROKEN])
def test_a_broken_cluster_file_is_reported(broken, fault):
    assert any(fault in sentence for sentence in faults(broken))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (changed(AWS, "head_node_typ", to="head"), "head_node_typ"),
        (changed(AWS, "head_node_type", to="heed"), "must be one of"),
        (changed(AWS, TYPES, "gpu_spot", "max_worker", to=8), "max_worker"),
        (changed(AWS, TYPES, "gpu_spot", "resources", to={"GPU": "one"}), "one"),
    ],
)
def test_ray_s_own_validation_refuses_it(broken, message):
    with pytest.raises(Exception, match=message):
        faults(broken)


IN_A_TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""
ONLY_APT = {"cloud-init": "sleep 1; exit 2", "sleep": "true", "sudo": 'exec "$@"'}
INSTALLS = {  # as at first boot: another process holds the lock twice, and apt asks questions
    "dpkg": "test -e installed",
    "apt-get": """
      test -t 0 && read answer
      test "$DEBIAN_FRONTEND$NEEDRESTART_MODE" = noninteractivea || read answer </dev/tty
      case "$*" in
        *update) echo tried >>updates; test $(wc -l <updates) -gt {held} ;;
        *install*python3.12-venv*) touch installed ;;
      esac""",
}


def prepared(folder, locked_for):
    """Run the set-up commands before the first `pip`, in a terminal, and return how they ended."""
    commands = [c for c in read(AWS)["setup_commands"] if "cloud-init" in c or "apt-get" in c]
    (folder / "bin").mkdir(exist_ok=True)
    for name, body in {**ONLY_APT, **INSTALLS}.items():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/bash\n{body.replace('{held}', str(locked_for))}\n")
        program.chmod(0o755)
    line = " && ".join(f"({command})" for command in commands)
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, "-c", IN_A_TERMINAL, "bash", "-c", line],
        cwd=folder,
        env=environment,
        timeout=60,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


def test_set_up_waits_for_a_machine_that_has_just_booted_and_asks_nothing(tmp_path):
    done = prepared(tmp_path, locked_for=2)

    assert done.returncode == 0, done.stdout
    assert (tmp_path / "updates").read_text().count("tried") == 3
    assert (tmp_path / "installed").exists()


def test_set_up_again_installs_nothing_again(tmp_path):
    (tmp_path / "installed").touch()

    assert prepared(tmp_path, locked_for=2).returncode == 0
    assert not (tmp_path / "updates").exists()


def test_set_up_fails_where_apt_goes_on_failing(tmp_path):
    assert prepared(tmp_path, locked_for=1000).returncode != 0
    assert not (tmp_path / "installed").exists()


def test_the_kuberay_job_runs_a_search_with_the_token_and_its_results_in_a_bucket():
    job = yaml.safe_load((ROOT / "cluster.kuberay.yaml").read_text())
    cluster = job["spec"]["rayClusterSpec"]
    head, (worker,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]

    assert job["kind"] == "RayJob"
    assert job["spec"]["shutdownAfterJobFinishes"]
    assert job["spec"]["entrypoint"].startswith("python -m search.run ")
    assert {"--store", "--studies", "--leaderboards"} <= set(job["spec"]["entrypoint"].split())
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert (worker["minReplicas"], worker["maxReplicas"]) == (1, 8)


def test_the_lock_holds_the_project_s_every_dependency_at_one_version():
    locked = dict(
        re.fullmatch(r"([\w.-]+)==(\S+?)(?: ;.*)?", line).groups()
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if not line.startswith("#")
    )
    project = (ROOT / "pyproject.toml").read_text()
    asked = re.search(r"^dependencies = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)[1]
    names = re.findall(r'"([\w-]+)', asked)

    assert len(names) > 15
    assert {*names, "awscli", "boto3", "aiohttp-cors"} <= set(locked)


def test_the_lock_and_the_kuberay_job_name_one_version_of_ray():
    job = yaml.safe_load((ROOT / "cluster.kuberay.yaml").read_text())
    version = job["spec"]["rayClusterSpec"]["rayVersion"]

    assert f"ray=={version}" in (ROOT / "requirements.lock").read_text().splitlines()
