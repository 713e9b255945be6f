"""What tests of trials and of models that left them share."""

from dataclasses import replace

import pytest

from fer_core import protocol
from fer_core.datasets import load
from fer_core.experiment import Experiment


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def experiment_of(store):
    def make(manifest, task="emotion"):
        clips = manifest.clips
        made = protocol.sealed_and_folds([c.subject for c in clips], [c.emotion for c in clips])
        return Experiment(
            manifest=manifest,
            protocol=made,
            task=task,
            seed=0,
            store=store,
            weights={},
            landmarks="data",
        )

    return make


@pytest.fixture(scope="session")
def experiment(rendered, experiment_of):
    """Two emotions of the rendered ten subjects: 40 clips."""
    manifest = load("synthetic", rendered)
    two = tuple(c for c in manifest.clips if c.emotion in ("happiness", "sadness"))
    return experiment_of(replace(manifest, clips=two))
