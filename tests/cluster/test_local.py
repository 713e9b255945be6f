"""`ray up cluster.local.yaml`: three hosts that share nothing but the kernel become a cluster."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests.cluster.lab import HOSTS as HOSTS_SH

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
LAPTOP = "10.99.0.1"
HOSTS = {"head": "10.99.0.10", "w1": "10.99.0.11", "w2": "10.99.0.12"}
OUTSIDE = {name: address.replace("10.99.", "10.98.") for name, address in HOSTS.items()}

A_TASK_ON_EACH_NODE = """
import json, ray, socket
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
ray.init("auto")
name = ray.remote(num_cpus=0)(lambda: socket.gethostname())
nodes = {n["NodeManagerAddress"]: n["NodeID"] for n in ray.nodes() if n["Alive"]}
tasks = {a: name.options(scheduling_strategy=On(i, soft=False)).remote() for a, i in nodes.items()}
print("RAN", json.dumps({address: ray.get(task) for address, task in tasks.items()}))
"""
BUCKET = """
from pyarrow import fs
bucket, _ = fs.FileSystem.from_uri("s3://results")
"""
JOIN = """
import ray
ray.init(address="10.99.0.10:29300")
print("JOINED", len(ray.nodes()))
"""


def test_a_task_runs_on_each_host(cluster):
    printed = cluster.python("head", A_TASK_ON_EACH_NODE)

    ran = json.loads(re.search(r"^RAN (.*)$", printed, re.MULTILINE)[1])
    assert ran == {address: name for name, address in HOSTS.items()}


def test_the_head_offers_nothing_to_trials_and_the_workers_all_they_have(cluster):
    printed = cluster.python("head", "import ray; ray.init('auto'); print(ray.cluster_resources())")

    assert re.search(r"'CPU': 4\.0", printed)
    assert re.search(r"'GPU': 2\.0", printed)


@pytest.mark.parametrize("host", HOSTS)
def test_no_host_sees_the_checkout(lab, cluster, host):
    seen = lab.enter(host, f"test -e {ROOT}/search && echo seen || echo hidden")

    assert seen.strip() == "hidden"


@pytest.mark.parametrize("host", HOSTS)
def test_the_code_came_to_each_host_and_git_and_caches_stayed_behind(lab, cluster, host):
    files = lab.enter(host, "cd fer-search && find .").split()

    assert {"./search/run.py", "./spaces/temporal.py", "./requirements.lock"} <= set(files)
    assert not [f for f in files if re.search(r"/\.git(/|$)|__pycache__|/\.venv|/\.\w+_cache", f)]


def test_a_command_that_fails_on_the_cluster_fails_on_the_laptop(lab, cluster):
    done = lab.laptop("ray", "exec", str(cluster.file), "exit 7", check=False)

    assert done.returncode != 0


def test_a_job_submitted_from_the_laptop_runs_on_the_head_with_the_checkout(cluster):
    code = "import search.run, socket; print('AT', socket.gethostname(), search.run.__file__)"

    done = cluster.submit("python", "-c", code)

    assert done.returncode == 0, done.stdout
    assert re.search(r"^AT head .*/working_dir_files/.*/search/run.py", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("token", [{"RAY_AUTH_TOKEN": "0" * 64}, {"RAY_AUTH_MODE": "disabled"}])
def test_a_client_with_a_wrong_token_or_none_submits_no_job(lab, cluster, token):
    submit = ["ray", "job", "submit", "--address", "http://localhost:8265", "--", "hostname"]

    done = lab.laptop(*submit, check=False, **token)

    assert done.returncode != 0
    assert re.search("401|403|[Uu]nauth|[Ii]nvalid authentication", done.stdout), done.stdout


@pytest.mark.parametrize("token", ["RAY_AUTH_TOKEN=" + "0" * 64, "RAY_AUTH_MODE=disabled"])
def test_a_driver_with_a_wrong_token_or_none_does_not_join(cluster, token):
    printed = cluster.python("w1", JOIN, f"RAY_NUM_REDIS_GET_RETRIES=1 {token}")

    assert "AuthenticationError" in printed
    assert "JOINED" not in printed


def test_a_driver_with_the_token_joins(cluster):
    assert "JOINED 3" in cluster.python("w1", JOIN)


@pytest.mark.parametrize("secret", [".ray/auth_token", ".aws/credentials"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_secret_comes_to_each_host_for_its_owner_only(lab, cluster, host, secret):
    assert lab.enter(host, f"stat -c %a {secret}").strip() == "600"


@pytest.mark.parametrize("host", HOSTS)
def test_from_outside_nothing_but_ssh_answers(lab, cluster, host):
    ports = listening(lab, host)

    assert lab.answering("outsider", OUTSIDE[host], *ports) == {22}


def test_what_ray_listens_on_answers_within_the_cluster(lab, cluster):
    ports = {29300, 29302, 29303}

    assert ports <= listening(lab, "head")
    assert lab.answering("w1", HOSTS["head"], *ports) == ports


def test_what_else_a_machine_serves_answers_as_before(lab, cluster):
    zabbix = 10050  # a port that a lab's machines are likely to have open
    serve = [HOSTS_SH, "enter", "head", "timeout", "120", "python", "-m", "http.server"]
    server = subprocess.Popen([*serve, str(zabbix)], env=lab.environment)
    try:
        lab.opens("head", "127.0.0.1", zabbix, while_runs=server)

        assert lab.answering("outsider", OUTSIDE["head"], zabbix) == {zabbix}
    finally:
        lab.hosts("enter", "head", "pkill", "-f", "http.server")
        server.wait(30)


def listening(lab, host):
    """Return the TCP ports on which a host listens, except those on loopback only."""
    sockets = lab.hosts("enter", host, "ss", "-ltnH").stdout.splitlines()
    addresses = [line.split()[3].rsplit(":", 1) for line in sockets]
    return {int(port) for address, port in addresses if "127.0.0.1" not in address}


def test_setting_up_again_changes_nothing(lab, cluster):
    commands = yaml.safe_load(cluster.file.read_text())["setup_commands"]
    before = lab.enter("head", "cat .bashrc")

    lab.enter("head", " && ".join(f"({command})" for command in commands))

    assert "RAY_AUTH_MODE" in before
    assert lab.enter("head", "cat .bashrc") == before


def test_without_a_token_on_the_laptop_ray_up_brings_nothing_up(lab, cluster, tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").touch()

    done = lab.laptop("ray", "up", "-y", str(cluster.file), check=False, HOME=str(tmp_path))

    assert done.returncode != 0
    assert ".ray/auth_token" in done.stdout


def test_an_outage_of_the_bucket_refuses_connections_and_loses_nothing(lab, cluster, s3):
    cluster.python(
        "w1", f"{BUCKET}\nwith bucket.open_output_stream('results/a') as f: f.write(b'1')"
    )

    s3.stop()
    during = lab.answering("w1", LAPTOP, 5000)
    s3.start()

    printed = cluster.python("w2", f"{BUCKET}\nprint(bucket.open_input_stream('results/a').read())")
    assert during == set()
    assert "b'1'" in printed


def test_a_worker_whose_cable_is_pulled_is_noticed_within_30_s_and_comes_back(lab, cluster):
    with cluster.watched() as changes:
        seen(changes, [*HOSTS.values()])
        cut = time.monotonic()
        lab.cut("w2")
        gone = seen(changes, [HOSTS["head"], HOSTS["w1"]], after=cut) - cut

        plugged = time.monotonic()
        lab.plug("w2")
        back = seen(changes, [*HOSTS.values()], after=plugged) - plugged

    print(f"\nthe loss was noticed after {gone:.0f} s; it was back {back:.0f} s after the plug")
    assert gone < 30


def seen(changes, nodes, after=0.0):
    """Return the time at which Ray began to call exactly these nodes alive."""
    deadline = time.monotonic() + 240
    while not (
        when := [moment for moment, alive in changes() if alive == nodes and moment > after]
    ):
        assert time.monotonic() < deadline, f"{changes()}: never {nodes}"
        time.sleep(0.2)
    return when[0]


def test_the_way_down_leaves_no_process_of_ray_and_no_rule(lab, cluster):
    before = lab.hosts("enter", "w1", "nft", "list", "tables").stdout

    cluster.end()

    assert "inet fer_search" in before
    for host in HOSTS:
        processes = lab.hosts("enter", host, "ps", "-eo", "args").stdout
        assert not re.search(r"raylet|gcs_server|ray::", processes)
        assert "fer_search" not in lab.hosts("enter", host, "nft", "list", "tables").stdout
