"""Fixtures for the tests of clusters: a lab of hosts (lab.py) and simulated EC2 (ec2.py)."""

import os

import pytest

from tests.cluster.ec2 import HEAD_ON_EC2, Ec2, host_at, rendered_aws
from tests.cluster.lab import (
    HEAD,
    LAPTOP,
    MOTO,
    S3,
    W1,
    W2,
    Cluster,
    Lab,
    rendered_local,
    what_is_missing,
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The laptop, its network, and the network outside; no host yet."""
    if missing := what_is_missing():
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        yield lab
    finally:
        lab.end()


@pytest.fixture(scope="module")
def moto(lab):
    """S3, EC2 and IAM on the laptop's address."""
    with lab.running(str(MOTO), "-H", LAPTOP, "-p", "5000") as process:
        yield process


@pytest.fixture(scope="module")
def s3(lab, moto):
    return S3(lab)


@pytest.fixture(scope="module")
def cluster(lab, s3):
    """Three hosts, `ray up` on them, and the tunnel to the dashboard."""
    for name, address in {"head": HEAD, "w1": W1, "w2": W2}.items():
        lab.boot(name, address)
    cluster = Cluster(lab, rendered_local(lab), head="head")
    cluster.up([HEAD, W1, W2])
    with lab.running("ray", "dashboard", str(cluster.file)) as tunnel:
        lab.opens("laptop", "127.0.0.1", 8265, while_runs=tunnel)
        yield cluster


@pytest.fixture(scope="module")
def ec2(lab, s3):
    """An account that deploy/aws.sh has prepared, and the hosts behind its instances."""
    shim = ("python", "tests/cluster/aws_shim.py", LAPTOP, "5002", f"http://{LAPTOP}:5000")
    with lab.running(*shim) as process:
        lab.opens("laptop", LAPTOP, 5002, while_runs=process)
        ec2 = Ec2(lab)
        try:
            yield ec2
        finally:
            ec2.end()


@pytest.fixture(scope="module")
def cloud(ec2, lab):
    """The head of cluster.yaml, up on EC2."""
    cluster = Cluster(lab, rendered_aws(lab, ec2.account), head=host_at(HEAD_ON_EC2))
    cluster.up([HEAD_ON_EC2])
    return cluster
