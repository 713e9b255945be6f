from dataclasses import replace

import numpy as np
import pytest

from fer_core.config import Config, GeometryConfig, OptimizerConfig
from fer_core.errors import ConfigError
from fer_core.trial.trial_data import prepare_trial

POINTS = Config(streams=(GeometryConfig(hidden=0),), optimizer=OptimizerConfig(epochs=2))
WATCHING = {"plateau": {"schedule": "plateau"}, "patience": {"patience": 3}}


def with_optimizer(**choices):
    return replace(POINTS, optimizer=replace(POINTS.optimizer, **choices))


def started(config, study_data):
    trial_data = prepare_trial(config, study_data)
    train, val = next(trial_data.splits())
    return trial_data, train, val, trial_data.begin(train, "fold 0").fit


@pytest.mark.parametrize("choices", WATCHING.values(), ids=WATCHING)
def test_an_optimizer_that_watches_a_loss_watches_held_out_training_subjects(choices, study_data):
    trial_data, train, val, fit = started(with_optimizer(**choices), study_data)

    watched, own = (set(trial_data.subjects[rows]) for rows in (fit.held_out, fit.rows))
    assert watched
    assert watched | own == set(trial_data.subjects[train])
    assert not watched & (own | set(trial_data.subjects[val]))


def test_all_configs_hold_out_the_same_subjects_so_that_only_their_choices_differ(study_data):
    fits = [started(with_optimizer(**each, lr=0.1), study_data)[3] for each in WATCHING.values()]

    np.testing.assert_array_equal(fits[0].held_out, fits[1].held_out)


def test_an_optimizer_that_watches_no_loss_trains_on_all_training_subjects(study_data):
    _, train, _, fit = started(POINTS, study_data)

    assert fit.held_out is None
    np.testing.assert_array_equal(fit.rows, train)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"schedule": "plateau"}, "optimizer.schedule is 'plateau'; it must be constant or cosine"),
        ({"patience": 3}, "optimizer.patience is 3; it must be None"),
    ],
)
def test_where_there_is_one_training_subject_nobody_can_be_held_out(choices, message, study_data):
    trial_data = prepare_trial(with_optimizer(**choices), study_data)
    one = trial_data.rows([trial_data.subjects[0]])

    with pytest.raises(ConfigError, match=f"{message} where there is one training subject"):
        trial_data.begin(one, "fold 0")
