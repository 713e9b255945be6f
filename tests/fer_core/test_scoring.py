import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import accuracy_score, f1_score, recall_score

from fer_core.errors import ConfigError
from fer_core.scoring import RULES, score, uar_interval, vote


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


@pytest.mark.slow
@settings(deadline=None)  # 4,000 resamples an example
@given(npst.arrays(np.int64, st.integers(6, 40), elements=st.integers(0, 2)), st.integers(0, 9))
def test_an_interval_lies_in_the_unit_range_and_is_repeated_by_its_seed(labels, seed):
    subjects = [str(i % 3) for i in range(len(labels))]
    probabilities = one_hot(np.roll(labels, 1))

    low, high = uar_interval(labels, probabilities, subjects, seed=seed)

    assert 0 <= low <= high <= 1
    assert (low, high) == uar_interval(labels, probabilities, subjects, seed=seed)


def test_an_interval_holds_the_score_and_shrinks_with_more_subjects():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    predicted = np.where(rng.random(600) < 0.7, labels, (labels + 1) % 3)
    few, many = [str(i % 6) for i in range(60)], [str(i % 60) for i in range(600)]

    wide = uar_interval(labels[:60], one_hot(predicted[:60]), few)
    narrow = uar_interval(labels, one_hot(predicted), many)

    assert narrow[0] < score(labels, one_hot(predicted)).uar < narrow[1]
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
