"""How a cluster is divided among trials; the GPUs exist only in what Ray is told."""

import os

import pytest
import ray
import torch

from fer_core.errors import ClusterError
from search.cluster.tuner import TrialResources, divide_cluster
from search.cluster.worker import keep_to_share

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(address="local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.parametrize(
    ("cpus", "gpus", "gpus_of_each", "concurrent"),
    [(1, None, 1.0, 4), (1, 0, 0, 4), (1, 0.5, 0.5, 4), (2, 0.25, 0.25, 2), (4, 1, 1, 1)],
)
def test_as_many_trials_run_as_the_scarcer_resource_allows(cpus, gpus, gpus_of_each, concurrent):
    divided = divide_cluster(cpus, gpus)

    assert (divided.gpus, divided.concurrent) == (gpus_of_each, concurrent)


@pytest.mark.parametrize(("gpus", "larger"), [(None, 1.0), (0.5, 1.0), (0.25, 1.0), (2, 2), (0, 0)])
def test_a_trial_that_ran_out_of_memory_gets_a_whole_gpu_where_gpus_are_used(gpus, larger):
    divided = divide_cluster(1, gpus)

    (asked,) = divided.request({"avoid": [], "shape": "larger"}).bundles
    assert asked == {"CPU": 1.0} | ({"GPU": larger} if larger else {})
    assert divided.most_packs("larger") == {0: 4, 1: 2, 2: 1}[larger]


def test_no_larger_share_is_asked_for_than_a_node_holds():
    assert TrialResources(cpus=5, gpus=0.5, concurrent=1).gpus_of("larger") == 0.5


def test_a_trial_that_the_cluster_cannot_hold_is_refused_with_what_it_has():
    with pytest.raises(
        ClusterError,
        match="needs 1 CPUs and 3 GPUs, and no node has both; the cluster has 4 CPUs and 2",
    ):
        divide_cluster(1, 3)


@pytest.mark.parametrize(("gpus", "visible"), [(0, ""), (1, "0")])
def test_a_worker_sees_the_gpus_it_was_given_and_no_others(gpus, visible):
    @ray.remote(num_gpus=gpus, num_cpus=1)
    def seen():
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0,1")
        keep_to_share(3)
        return os.environ["CUDA_VISIBLE_DEVICES"], torch.get_num_threads()

    shown, threads = ray.get(seen.remote())

    assert shown in (visible, "1") if gpus else shown == visible
    assert threads == 3
