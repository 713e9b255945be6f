"""Exported models, and a clip that they read."""

import functools

import pytest

from fer_core.data.datasets import load
from fer_core.predict import model_folder
from fer_core.trial.evaluate import refit
from tests.fer_core.predict.models import C3D, GRU, VOTES


@pytest.fixture(scope="session")
def export(study_data, tmp_path_factory):
    """Train and export a config once, and give the folder."""

    @functools.cache
    def made(config):
        folder = tmp_path_factory.mktemp("exported") / "model"
        model_folder.save(refit(config, study_data), folder, card="# A card\n")
        return folder

    return made


@pytest.fixture(scope="session", params=[VOTES, GRU, C3D], ids=lambda c: c.family)
def exported(request, export):
    return export(request.param)


@pytest.fixture(scope="session")
def votes(export):
    return export(VOTES)


@pytest.fixture(scope="session")
def clip(rendered):
    manifest = load("synthetic", rendered)
    return next(c for c in manifest.clips if c.emotion == "happiness")
