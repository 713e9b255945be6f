"""Spaces of which some draws cannot be a trial, and photographs that some models cannot read."""

from pathlib import Path

import pytest

from fer_core.config import ONE_FRAME
from fer_core.data.manifest import Clip, Manifest
from fer_core.data.protocol import sealed_and_folds
from fer_core.data.study_data import StudyData
from search.drawing import space as spaces

FEW = """
    from fer_core.config import Config, ConfigError, GeometryConfig


    def space(trial):
        hidden = trial.suggest_int("hidden", 0, 4)
        if trial.suggest_categorical("odd", [False, True]):
            raise ConfigError(f"odd is True with {hidden}; it must be False.")
        return Config(streams=(GeometryConfig(hidden=hidden),))
    """
THREE_FAMILIES = """
    from fer_core.config import Config, GeometryConfig, OptimizerConfig, RecurrentConfig

    FIRST = ({"kind": "none", "lr": 0.001},)


    def space(trial):
        kind = trial.suggest_categorical("kind", ["none", "none, too", "gru", "lstm", "rnn"])
        lr = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
        cell = None if "none" in kind else RecurrentConfig(cell=kind, hidden=8)
        encoding = "difference" if kind == "rnn" else "procrustes"
        return Config(
            streams=(GeometryConfig(encoding=encoding),),
            recurrent=cell,
            optimizer=OptimizerConfig(lr=lr),
        )
    """


@pytest.fixture
def few(write_space):
    """A space of five configs; half of its draws are refused."""
    return spaces.load(write_space(FEW))


@pytest.fixture
def three_families(write_space):
    """A space of three families on photographs, where its "rnn" cannot work."""
    return spaces.load(write_space(THREE_FAMILIES))


@pytest.fixture
def photographs(tmp_path):
    """Twelve people, smiling and not; there is no file behind any of it."""
    clips = tuple(
        Clip(
            clip=f"{subject}-{emotion}",
            subject=subject,
            emotion=emotion,
            authenticity=None,
            path=Path(f"{subject}-{emotion}.jpg"),
            sha256="",
        )
        for subject in map(str, range(12))
        for emotion in ("happiness", "neutral")
    )
    return StudyData(
        manifest=Manifest(dataset="folder", root=tmp_path, clips=clips),
        protocol=sealed_and_folds([c.subject for c in clips], [c.emotion for c in clips]),
        task="emotion",
        seed=0,
        store=tmp_path / "store",
        weights={},
        landmarks="dlib",
        clip=ONE_FRAME,
    )
