"""What every space promises, and that whatever everything.py draws works or is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial

from fer_core.config import (
    CELLS,
    ENCODINGS,
    GIVEN,
    JOININGS,
    POINTS,
    POOLINGS,
    SAMPLINGS,
    SCHEDULES,
    VIEWS,
    VOTINGS,
)
from fer_core.data.datasets import load as load_data
from fer_core.data.protocol import Protocol
from fer_core.data.study_data import StudyData
from fer_core.errors import ConfigError
from fer_core.models import backbones
from fer_core.trial import feasibility
from fer_core.trial.evaluate import cross_validate
from search.drawing.space import draws, load
from spaces import everything, smoke

SPACES = sorted((Path(__file__).parents[2] / "spaces").glob("[a-z]*.py"))
SUPPLIED = ("file", "imagenet")  # weights that are not here
QUICK = 8  # draws that are trained in every run; the slow tests train the others
REFUSALS = (  # how they begin
    "head.two_heads is True; it must be False but for task 'hidden'",
    "stream.pca_dim is",
    "the trained weights take",
)


@pytest.fixture(scope="module", params=SPACES, ids=lambda path: path.stem)
def drawn(request):
    """A hundred draws of a space, or its points where it enumerates them."""
    return list(draws(load(request.param), seed=0, count=100))


def test_draws_all_give_a_config_and_most_differ(drawn):
    ids = {config.config_id for _, config in drawn}

    assert len(ids) > 0.9 * len(drawn)


def test_each_name_keeps_one_range(drawn):
    ranges = {}
    for trial, _ in drawn:
        for name, distribution in trial.distributions.items():
            assert ranges.setdefault(name, distribution) == distribution


def test_every_stream_that_is_drawn_builds_but_those_whose_weights_the_user_supplies(drawn):
    architectures = {
        stream.architecture
        for _, config in drawn
        for stream in config.images
        if stream.weights not in SUPPLIED
    }

    for stream in architectures:
        assert len(backbones.build(stream, weights_file=None, seed=0).blocks) == stream.blocks


def test_temporal_draws_each_of_its_families():
    families = {config.family for _, config in draws(load(path_of("temporal")), seed=0, count=300)}

    cells = ("rnn", "lstm", "gru")
    read = {f"{input}+{cell}" for input in ("geometry", "cnn", "geometry+cnn") for cell in cells}
    assert families == {"cnn", "cnn+attention", "cnn+convlstm", "c3d", "c3d_study", *read}


def test_everything_draws_each_backbone_with_and_without_all_else_that_it_can_go_with():
    configs = [config for _, config in draws(load(path_of("everything")), seed=0, count=400)]

    images = [stream for config in configs for stream in config.images]
    assert {stream.backbone for stream in images} == set(everything.BACKBONES)
    assert {len(config.streams) for config in configs} == {1, 2, 3, 4}
    assert {stream.view for stream in images} == set(VIEWS) - {GIVEN}
    assert {stream.pooling for stream in images} == set(POOLINGS)
    assert {config.fusion.point for config in configs if config.fusion} == set(POINTS)
    assert {config.fusion.how for config in configs if config.fusion} == set(JOININGS)
    assert {config.recurrent.cell for config in configs if config.recurrent} == set(CELLS)
    assert {config.voting for config in configs} == set(VOTINGS)
    assert {config.clip.sampling for config in configs} == set(SAMPLINGS)
    assert {config.head.fc_layers for config in configs} == {0, 1, 2, 3}
    assert {stream.encoding for c in configs for stream in c.geometry} == set(ENCODINGS)
    assert {config.optimizer.schedule for config in configs} == set(SCHEDULES)
    assert {config.augment is None for config in configs} == {True, False}


@pytest.fixture(scope="module")
def study_data(rendered, tmp_path_factory):
    """Twelve clips: three people smile and grieve, genuinely and not; the first chooses."""
    manifest = load_data("synthetic", rendered)
    first, *others = manifest.subjects[:3]
    clips = tuple(
        clip
        for clip in manifest.clips
        if clip.subject in (first, *others) and clip.emotion in ("happiness", "sadness")
    )
    return StudyData(
        manifest=replace(manifest, clips=clips),
        protocol=Protocol(name="one", sealed=(), folds=((first,),), train=tuple(others)),
        task="emotion",
        seed=0,
        store=tmp_path_factory.mktemp("store"),
        weights={},
        landmarks="data",
    )


def draw_of_everything(study_data, number):
    """Draw a config of one epoch, which is one step on so few clips; every other task is hidden."""
    trial = optuna.create_study(sampler=RandomSampler(seed=number)).ask()
    config = everything.space(trial)
    config = replace(config, optimizer=replace(config.optimizer, epochs=1, updates=None))
    return config, replace(study_data, task=("emotion", "hidden")[number % 2])


def refusal(config, study_data):
    try:
        feasibility.check(config, study_data)
    except ConfigError as refused:
        return str(refused)
    return None


def test_draws_of_everything_that_cannot_work_are_refused_with_a_reason_and_most_can(study_data):
    said = [refusal(*draw_of_everything(study_data, number)) for number in range(100)]

    refused = [reason for reason in said if reason is not None]
    assert all(reason.startswith(REFUSALS) and "\n" not in reason for reason in refused)
    assert 0 < len(refused) < 50
    assert not list(study_data.store.iterdir())


@pytest.mark.parametrize(
    "number",
    [pytest.param(i, marks=[pytest.mark.slow] if i >= QUICK else []) for i in range(100)],
)
def test_a_draw_of_everything_that_is_not_refused_trains(study_data, number):
    config, study_data = draw_of_everything(study_data, number)
    if refusal(config, study_data) is not None:
        return

    result = next(cross_validate(config, study_data))

    assert np.isfinite(result.probabilities).all()
    assert len(result.losses) == 1


def test_smoke_has_no_hidden_size_to_tune_without_a_gru():
    trial = FixedTrial({"temporal": "vote", "pca": False, "adamw.lr": 0.001})

    config = smoke.space(trial)

    assert config.recurrent is None
    assert "gru.hidden" not in trial.params


def path_of(name):
    return next(path for path in SPACES if path.stem == name)
