import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fer_core.scoring import score
from search.statistics.paired import (
    MOST_BLOCKS,
    count_hits,
    difference_interval,
    resampled_uars,
    uars,
)


def made(seed, models=3, subjects=7, classes=3, each=2):
    rng = np.random.default_rng(seed)
    labels = np.tile(np.repeat(np.arange(classes), each), subjects)
    people = np.repeat([f"p{i}" for i in range(subjects)], classes * each)
    return people, labels, rng.random((models, len(labels))) < 0.6


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_with_every_subject_once_the_uar_is_that_of_the_metrics(seed):
    people, labels, right = made(seed, classes=2)

    found = uars(count_hits(people, labels, right), np.ones((1, 7)))[0]

    for model, uar in zip(right, found, strict=True):
        predicted = np.where(model, labels, 1 - labels)
        assert np.isclose(uar, score(labels, np.eye(2)[predicted]).uar)


def test_equal_models_are_equal_in_every_resample():
    people, labels, right = made(0, models=1)

    scores = resampled_uars(count_hits(people, labels, np.repeat(right, 2, axis=0)), resamples=200)

    assert scores.shape == (200, 2)
    assert (scores[:, 0] == scores[:, 1]).all()
    assert scores[:, 0].std() > 0


def test_a_class_that_no_drawn_subject_shows_is_left_out():
    found = count_hits(["a", "b"], np.array([0, 1]), np.array([[True, False]]))

    assert uars(found, np.array([[2.0, 0.0], [0.0, 2.0]])).tolist() == [[1.0], [0.0]]


def test_many_subjects_are_drawn_in_blocks():
    people = [f"p{i}" for i in range(3 * MOST_BLOCKS)]
    labels = np.zeros(len(people), int)

    found = count_hits(people, labels, np.ones((1, len(people)), bool))

    assert found.clips.tolist() == [[3]] * MOST_BLOCKS


@pytest.mark.parametrize("subjects", [3, 5, 20])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_of_a_mean_difference_is_that_of_the_paired_t_test(subjects, level):
    differences = np.random.default_rng(subjects).normal(0.1, 0.05, subjects)
    drawn = np.random.default_rng(0).integers(subjects, size=(100_000, subjects))
    exact = stats.ttest_1samp(differences, 0.0).confidence_interval(level)

    found = difference_interval(differences[drawn].mean(axis=1), subjects, level)

    assert np.allclose([found.low, found.high], exact, atol=0.02 * (exact.high - exact.low))


def test_fewer_than_three_subjects_give_no_interval_of_a_difference():
    assert difference_interval(np.array([0.1, 0.2]), 2) is None


def test_models_that_never_differed_here_may_differ_elsewhere():
    same = np.zeros(100)

    found = difference_interval(same, 10, allowance=0.01)

    assert found.high == -found.low == pytest.approx(0.1 * stats.t.ppf(0.975, 9))
    assert difference_interval(same, 3, allowance=1.0).high == 1.0
