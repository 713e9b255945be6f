"""Exported models, and a clip that they read."""

import pytest

from fer_core.data.datasets import load
from fer_core.predict import model_folder
from fer_core.trial.evaluate import refit
from tests.fer_core.predict.models import C3D, GRU, VOTES


@pytest.fixture(scope="session", params=[VOTES, GRU, C3D], ids=lambda c: c.family)
def exported(request, study_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    model_folder.save(refit(request.param, study_data), folder, card="# A card\n")
    return folder


@pytest.fixture(scope="session")
def votes(study_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "votes"
    model_folder.save(refit(VOTES, study_data), folder, card="# A card\n")
    return folder


@pytest.fixture(scope="session")
def clip(rendered):
    manifest = load("synthetic", rendered)
    return next(c for c in manifest.clips if c.emotion == "happiness")
