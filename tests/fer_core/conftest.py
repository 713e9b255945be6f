"""What tests of trials and of models that left them share."""

from dataclasses import replace
from pathlib import Path

import pytest

from fer_core.data import protocol
from fer_core.data.datasets import load
from fer_core.data.study_data import StudyData
from fer_core.synthetic import dataset


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def study_data_of(store):
    def make(manifest, task="emotion"):
        clips = manifest.clips
        made = protocol.sealed_and_folds([c.subject for c in clips], [c.emotion for c in clips])
        return StudyData(
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
def study_data(rendered, study_data_of):
    """Two emotions of the rendered ten subjects: 40 clips."""
    manifest = load("synthetic", rendered)
    two = tuple(c for c in manifest.clips if c.emotion in ("happiness", "sadness"))
    return study_data_of(replace(manifest, clips=two))


@pytest.fixture(scope="session")
def rendered_oulu(tmp_path_factory):
    """One subject in the layout of OULU-CASIA."""
    root = tmp_path_factory.mktemp("rendered") / "oulu"
    return dataset.ensure(root, layout="oulu_casia", subjects=1, workers=1)


@pytest.fixture
def write():
    """Write a file and the folders that it needs."""

    def write_file(path: Path, content: str = "") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content or str(path))
        return path

    return write_file
