"""deploy/aws.sh against a simulated AWS (moto): what an account has after it, and what it says."""

import json
import os
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import boto3
import pytest
import yaml

from tests.cluster.aws_shim import RESOLVE, serve

ROOT = Path(__file__).parents[2]
REGION = "us-west-2"  # of cluster.yaml
pytestmark = pytest.mark.slow


@pytest.fixture
def aws(tmp_path):
    """A new account: an environment in which commands and clients reach it."""
    from moto.server import ThreadedMotoServer  # takes a second

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
    shim = serve("127.0.0.1", 0, f"http://{host}:{port}")
    thread = threading.Thread(target=shim.serve_forever)
    thread.start()
    yield {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{shim.server_port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    shim.shutdown()
    thread.join()
    shim.server_close()
    moto.stop()


def run(aws, *arguments):
    return subprocess.run(
        ["bash", ROOT / "deploy" / "aws.sh", *arguments],
        env=aws,
        capture_output=True,
        text=True,
        timeout=300,
    )


def client(aws, service):
    return boto3.client(
        service,
        endpoint_url=aws["AWS_ENDPOINT_URL"],
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


def made(aws):
    """Describe all that the script makes in the account."""
    iam = client(aws, "iam")
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    profiles = {
        profile["InstanceProfileName"]: [role["RoleName"] for role in profile["Roles"]]
        for profile in iam.list_instance_profiles()["InstanceProfiles"]
    }
    policies = {
        name: iam.get_role_policy(RoleName=name, PolicyName="fer-search")["PolicyDocument"]
        for name in roles
        if name.startswith("fer-search")
    }
    buckets = [bucket["Name"] for bucket in client(aws, "s3").list_buckets()["Buckets"]]
    return sorted(roles), profiles, policies, buckets


def test_a_new_account_has_all_that_ray_up_needs_and_a_second_run_changes_nothing(aws, tmp_path):
    first = run(aws)
    after = made(aws)
    token = (tmp_path / ".ray" / "auth_token").read_text()

    second = run(aws)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    roles, profiles, policies, buckets = after
    assert roles[0].startswith("AWSServiceRoleFor")  # for spot machines; moto has its own name
    assert roles[1:] == ["fer-search-head", "fer-search-worker"]
    assert profiles == {name: [name] for name in ("fer-search-head", "fer-search-worker")}
    assert buckets == [f"fer-search-123456789012-{REGION}"]
    assert "ec2:" not in json.dumps(policies["fer-search-worker"])
    assert "ec2:RunInstances" in json.dumps(policies["fer-search-head"])
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    assert made(aws) == after
    assert (tmp_path / ".ray" / "auth_token").read_text() == token
    assert "made" in first.stdout
    assert "made" not in second.stdout


def test_quotas_are_told_as_machines_with_the_command_that_asks_for_more(aws):
    said = run(aws).stdout

    assert "0 spot g5.xlarge; cluster.yaml starts at most 8 machines" in said
    assert "2 on-demand g5.xlarge; cluster.yaml starts at most 8" in said
    assert "--quota-code L-3819A6DF --desired-value 32" in said


def test_every_image_that_cluster_yaml_names_is_looked_up(aws):
    types = yaml.safe_load((ROOT / "cluster.yaml").read_text())["available_node_types"]
    names = {node["node_config"]["ImageId"].removeprefix(RESOLVE) for node in types.values()}

    lines = [line.split() for line in run(aws).stdout.splitlines() if line.startswith("image")]

    assert len(names) == 2
    assert {name for _, _, name in lines} == names


def test_a_bucket_of_another_name_may_be_named(aws):
    assert "s3://ours, made" in run(aws, "ours").stdout
    assert made(aws)[3] == ["ours"]


def test_without_credentials_it_ends_in_one_line(aws):
    lacking = {name: value for name, value in aws.items() if "KEY" not in name}

    done = run({**lacking, "AWS_EC2_METADATA_DISABLED": "true"})

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: AWS does not know you; run aws configure"
