"""`ray up cluster.yaml` on EC2: what it requests, when workers start, and that they end again.

EC2 is simulated by moto; its instances are hosts of the lab, and Ray's autoscaler requests them.
"""

import re
import time

import pytest
import yaml

pytestmark = pytest.mark.cluster

WORK_ON_A_GPU = """
import ray, socket
ray.init("auto")
print("WORKED AT", ray.get(ray.remote(num_gpus=1)(lambda: socket.gethostname()).remote()))
"""
GOING_SECONDS = 240  # time for an idle node to end; it is given up after 15 s and takes 15 more


def tags(instance):
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


def test_one_script_prepares_the_account_and_tells_its_quotas(ec2):
    assert "role       fer-search-head, made" in ec2.prepared
    assert "0 spot g5.xlarge; cluster.yaml starts at most 8" in ec2.prepared


def test_ray_up_asks_for_a_head_on_demand_and_nothing_else(lab, cloud, ec2):
    (head,) = ec2.running()

    assert head["InstanceType"] == "m6i.xlarge"
    assert "InstanceLifecycle" not in head  # there for spot only
    assert head["IamInstanceProfile"]["Arn"].endswith("/fer-search-head")
    assert tags(head)["ray-cluster-name"] == lab.name
    assert tags(head)["ray-node-type"] == "head"
    assert tags(head)["ray-user-node-type"] == "head"


def test_the_key_is_ray_s_own_and_lies_on_the_laptop(lab, cloud, ec2):
    (head,) = ec2.running()

    key = lab.folder / "home" / ".ssh" / f"{head['KeyName']}.pem"

    assert head["KeyName"].startswith("ray-autoscaler")
    assert key.stat().st_mode & 0o777 == 0o600


def test_the_security_group_lets_in_ssh_and_the_cluster_itself(cloud, ec2):
    (head,) = ec2.running()
    group = head["SecurityGroups"][0]["GroupId"]

    allowed = ec2.ask(
        f"answer = ec2.describe_security_groups(GroupIds=['{group}'])['SecurityGroups'][0]"
    )["IpPermissions"]

    from_anywhere = [rule for rule in allowed if rule["IpRanges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in from_anywhere] == [(22, 22)]
    inside = {pair["GroupId"] for rule in allowed for pair in rule["UserIdGroupPairs"]}
    assert inside == {group}


def test_a_spot_worker_comes_with_work_for_a_gpu_and_goes_when_idle(cloud, ec2):
    (head,) = ec2.running()
    began = time.monotonic()

    printed = cloud.python("i4", WORK_ON_A_GPU, timeout=300)

    print(f"\nthe work was done {time.monotonic() - began:.0f} s after it was queued", end="")
    bought = [i for i in ec2.running() if i["InstanceId"] != head["InstanceId"]]
    assert "WORKED AT i5" in printed
    assert {i["InstanceType"] for i in bought} == {"g5.xlarge"}
    assert {i["IamInstanceProfile"]["Arn"].rsplit("/")[-1] for i in bought} == {"fer-search-worker"}
    assert {i["InstanceLifecycle"] for i in bought} == {"spot"}
    assert {i["KeyName"] for i in bought} == {head["KeyName"]}
    assert {i["SecurityGroups"][0]["GroupId"] for i in bought} == {
        head["SecurityGroups"][0]["GroupId"]
    }
    assert {tags(i)["ray-node-type"] for i in bought} == {"worker"}
    assert {tags(i)["ray-user-node-type"] for i in bought} == {"gpu_spot"}
    all_but_the_head_go(ec2, head)
    print(f"; the worker was given back at {time.monotonic() - began:.0f} s")


def all_but_the_head_go(ec2, head):
    deadline = time.monotonic() + GOING_SECONDS
    while [i["InstanceId"] for i in ec2.running()] != [head["InstanceId"]]:
        assert time.monotonic() < deadline, "the idle worker was not given back"
        time.sleep(1)


def test_where_spot_runs_out_a_machine_on_demand_comes_and_ray_goes_on(lab, cloud, ec2):
    (head,) = ec2.running()
    config = yaml.safe_load(cloud.file.read_text())
    config["available_node_types"]["gpu_spot"]["max_workers"] = 0
    config["available_node_types"]["gpu_ondemand"]["max_workers"] = 2
    cloud.file.write_text(yaml.safe_dump(config, sort_keys=False, width=1000))
    before = lab.enter("i4", "pgrep -x 'raylet|gcs_server'")

    lab.laptop("ray", "up", "-y", "--no-restart", "--no-config-cache", str(cloud.file), timeout=400)
    printed = cloud.python("i4", WORK_ON_A_GPU, timeout=300)

    bought = [i for i in ec2.running() if i["InstanceId"] != head["InstanceId"]]
    assert re.search(r"WORKED AT i\d", printed)
    assert {tags(i)["ray-user-node-type"] for i in bought} == {"gpu_ondemand"}
    assert not any("InstanceLifecycle" in i for i in bought)  # there for spot only
    assert lab.enter("i4", "pgrep -x 'raylet|gcs_server'") == before


def test_ray_down_ends_the_head(cloud, ec2):
    cloud.down()

    assert ec2.running() == []
