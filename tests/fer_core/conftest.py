"""What tests of trials and of models that left them share."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fer_core.config import Config, GeometryConfig
from fer_core.data import protocol
from fer_core.data.datasets import load
from fer_core.data.study_data import StudyData
from fer_core.features.context import TrialContext
from fer_core.synthetic import dataset


@pytest.fixture(scope="session")
def store(run_folder):
    """A store that all tests of trials share. A test that counts what is made takes `fresh`."""
    folder = run_folder / "store"
    folder.mkdir(exist_ok=True)
    return folder


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
def found_faces(study_data):
    """Fill the shared store with the faces and the machine's speed, and give their folders."""
    context = TrialContext(Config(streams=(GeometryConfig(),)), study_data, torch.device("cpu"))
    assert context.faces.entries
    assert context.machine
    return [study_data.store / stage for stage in ("faces", "machine")]


@pytest.fixture
def new_store(found_faces, tmp_path):
    """Make an own store for the test, which holds only the faces and the machine's speed."""

    def make(name):
        for stage in found_faces:
            shutil.copytree(stage, tmp_path / name / stage.name)
        return tmp_path / name

    return make


@pytest.fixture
def fresh(study_data, new_store):
    """The study's data with a store of its own, which holds only faces and the machine's speed."""
    return replace(study_data, store=new_store("fresh"))


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
