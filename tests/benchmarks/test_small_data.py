"""The made sets of `benchmarks/small_data.py`, at a size that takes seconds."""

import importlib
from pathlib import Path

import pytest

from fer_core.config import Config, GeometryConfig, OptimizerConfig, StreamConfig
from fer_core.trial.evaluate import cross_validate

ROOT = Path(__file__).parents[2]
FACES = StreamConfig(
    backbone="dlib_resnet", weights="package", blocks=4, freeze_depth=4, crop_pixels=48
)


@pytest.fixture
def benchmark(monkeypatch):
    """Load a module of the benchmarks, which are no package that is installed."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def test_made_clips_are_read_from_the_store_alone_and_can_be_learned(tmp_path, benchmark):
    made, small_data = benchmark("rows.made"), benchmark("small_data")
    study_data = made.study_data(made.made(120, seed=0), tmp_path, [FACES], folds=2)
    training = OptimizerConfig(lr=3e-3, updates=100)

    for stream in (FACES, GeometryConfig(hidden=0)):
        config = Config(streams=(stream,), optimizer=training)
        found = small_data._pooled([cross_validate(config, study_data)])

        assert found.uar > 0.4  # chance is 0.25
        assert len(found.labels) > 30
