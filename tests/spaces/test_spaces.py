"""What every space promises, over all of them."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import FixedTrial

from fer_core.models import backbones
from search.space import load
from spaces import smoke, temporal

SPACES = sorted((Path(__file__).parents[2] / "spaces").glob("[a-z]*.py"))


@pytest.fixture(params=SPACES, ids=lambda path: path.stem)
def draws(request):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = load(request.param)
    trials = [study.ask() for _ in range(100)]
    return [(trial, space.draw(trial)) for trial in trials]


def test_a_hundred_draws_all_give_a_config_and_most_differ(draws):
    ids = {config.config_id for _, config in draws}

    assert len(ids) > 90


def test_each_name_keeps_one_range(draws):
    ranges = {}
    for trial, _ in draws:
        for name, distribution in trial.distributions.items():
            assert ranges.setdefault(name, distribution) == distribution


def test_every_stream_that_is_drawn_builds_but_those_whose_weights_the_user_supplies(draws):
    streams = {replace(c.stream, freeze_depth=0) for _, c in draws if c.stream.weights != "file"}

    for stream in streams:
        assert len(backbones.build(stream, weights_file=None, seed=0).blocks) == stream.blocks


def test_temporal_draws_each_of_its_families():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    families = {temporal.space(study.ask()).family for _ in range(60)}

    assert families == {"cnn", "c3d", "cnn+rnn", "cnn+lstm", "cnn+gru"}


def test_smoke_has_no_hidden_size_to_tune_without_a_gru():
    trial = FixedTrial({"temporal": "vote", "pca": False, "adamw.lr": 0.001})

    config = smoke.space(trial)

    assert config.recurrent is None
    assert "gru.hidden" not in trial.params
