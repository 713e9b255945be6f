from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score

from fer_core.errors import ConfigError
from fer_core.scoring import RULES, pooled, score, vote


def one_hot(predicted, classes=3):
    return np.eye(classes, dtype=np.float32)[predicted]


def test_uar_weighs_classes_and_war_weighs_clips():
    labels = np.array([0, 0, 0, 1])

    metrics = score(labels, one_hot([0, 0, 0, 0]))

    assert metrics.uar == pytest.approx(0.5)
    assert metrics.war == pytest.approx(0.75)


def test_macro_f1_agrees_with_a_case_worked_by_hand():
    metrics = score(np.array([0, 0, 1, 1]), one_hot([0, 1, 1, 1]))

    assert metrics.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)


@given(st.integers(0, 999), st.integers(2, 5), st.integers(1, 30))
def test_the_metrics_are_scikit_learns(seed, classes, clips):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, classes, (2, clips))
    options = {"labels": np.unique(labels), "average": "macro", "zero_division": 0.0}

    metrics = score(labels, one_hot(predicted, classes))

    assert metrics.uar == pytest.approx(recall_score(labels, predicted, **options))
    assert metrics.war == pytest.approx(accuracy_score(labels, predicted))
    assert metrics.macro_f1 == pytest.approx(f1_score(labels, predicted, **options))


def test_a_class_that_does_not_occur_counts_for_nothing():
    assert score(np.array([0, 1]), one_hot([0, 1])).uar == 1.0


def test_a_clip_that_was_not_predicted_counts_as_wrong():
    labels = np.array([0, 0, 1, 1])
    probabilities = one_hot([0, 0, 1, 1])
    probabilities[0] = np.nan

    metrics = score(labels, probabilities)

    assert metrics.uar == pytest.approx(0.75)
    assert metrics.war == pytest.approx(0.75)
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("rule", RULES)
def test_frames_that_were_not_predicted_vote_for_nothing(rule):
    frames = np.full((2, 3, 4), np.nan, np.float32)
    frames[1] = 0.25

    voted = vote(frames, rule)

    assert np.isnan(voted[0]).all()
    assert not np.isnan(voted[1]).any()


def test_folds_are_scored_together_so_that_one_without_a_class_changes_no_other():
    first = SimpleNamespace(
        labels=np.array([0, 0, 1, 1]), probabilities=one_hot([0, 0, 0, 1]), subjects=np.arange(4)
    )
    second = SimpleNamespace(
        labels=np.array([0, 0]), probabilities=one_hot([0, 1]), subjects=np.arange(4, 6)
    )

    labels, probabilities, subjects = pooled([first, second])

    assert score(labels, probabilities).uar == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert subjects.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_average_of_the_frames_decides_unless_the_majority_is_asked():
    frames = np.array([[[0.6, 0.4], [0.6, 0.4], [0.0, 1.0]]])

    assert vote(frames).argmax() == 1
    assert vote(frames, "mean_logit").argmax() == 1
    assert vote(frames, "majority").argmax() == 0


def test_of_equally_many_votes_the_more_probable_class_wins():
    frames = np.array([[[0.9, 0.1], [0.4, 0.6]], [[0.6, 0.4], [0.1, 0.9]]])

    assert vote(frames, "majority").argmax(axis=1).tolist() == [0, 1]


@given(st.integers(0, 99), st.sampled_from(RULES))
def test_every_vote_gives_probabilities_and_leaves_those_of_one_frame_in_their_order(seed, rule):
    logits = np.random.default_rng(seed).normal(size=(5, 4, 3))
    frames = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)

    np.testing.assert_allclose(vote(frames, rule).sum(axis=-1), 1)
    one = vote(frames[:, :1], rule).argmax(axis=-1)
    np.testing.assert_array_equal(one, frames[:, 0].argmax(axis=-1))


def test_the_mean_logit_is_that_of_the_logits_themselves():
    logits = np.random.default_rng(0).normal(size=(5, 4, 3))
    frames = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    mean = np.exp(logits.mean(axis=1))

    expected = mean / mean.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(vote(frames, "mean_logit"), expected)


def test_an_unknown_vote_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'majority'"):
        vote(np.ones((1, 1, 1)), "majorty")
