from dataclasses import replace

import pytest
import torch

from fer_core.config import StreamConfig
from fer_core.features import speed
from fer_core.features.speed import machine
from fer_core.storage.store import Store

CPU = torch.device("cpu")
VGG = StreamConfig(backbone="vgg16", weights="random", blocks=5, freeze_depth=5)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def test_a_machine_is_measured_once_whatever_its_timings_are_later(store):
    first = machine(store, CPU)

    assert machine(Store(store.root), CPU) == first
    assert len(list((store.root / "machine").glob("*.npy"))) == 1


def test_figures_are_of_a_machine_that_runs(store):
    found = machine(store, CPU)

    assert found.precision in ("float32", "bfloat16")
    assert min(found.flops, found.single_flops, found.read_bytes, found.write_bytes) > 1e6


def test_measuring_leaves_the_random_numbers_of_a_trial_alone(tmp_path):
    torch.manual_seed(0)
    expected = torch.rand(3)

    torch.manual_seed(0)
    machine(Store(tmp_path), CPU)

    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("backbone", ["c3d", "scae", "cdbn"])
def test_volumes_and_fitted_backbones_are_computed_in_single_precision(backbone, store):
    fast = replace(machine(store, CPU), precision="bfloat16")

    assert fast.of(replace(VGG, backbone=backbone)) == "float32"
    assert fast.of(VGG) == "bfloat16"


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_convolutions_compute_in_the_precision_that_is_asked_for(kind):
    with torch.inference_mode(), speed.computing(kind, CPU):
        found = torch.nn.Conv2d(3, 3, 3)(torch.zeros(1, 3, 8, 8))

    assert found.dtype == getattr(torch, kind)
