from collections import Counter

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fer_core.trial.linear_models import MOST_FRAMES, STRENGTHS, fitted, sampled

RNG = np.random.default_rng(0)
ROWS = np.arange(60)
LABELS = ROWS % 2
SUBJECTS = np.array([f"s{row // 6}" for row in ROWS])
NOISE = RNG.standard_normal((60, 3, 40)).astype(np.float32)  # three frames of each clip
TELLING = NOISE + 2 * LABELS[:, None, None]


def read(features):
    return lambda rows: features[rows]


@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_the_features_that_tell_the_classes_over_inner_folds_are_chosen_and_noted(kind):
    readers = {"pooling avg": read(NOISE), "pooling none": read(TELLING)}

    model = fitted(kind, readers, ROWS, LABELS, SUBJECTS)

    assert model.note == "pooling none"
    np.testing.assert_array_equal(model.scores(ROWS, 2).mean(axis=1).argmax(axis=1), LABELS)


def test_fewer_frames_than_features_give_the_model_of_the_features_themselves():
    features = RNG.standard_normal((60, 1, 500)).astype(np.float32)
    train, test = ROWS[:48], ROWS[48:]

    model = fitted("logistic", {"": read(features)}, train, LABELS, SUBJECTS)

    flat = (features[:, 0] - model.mean) / model.scale
    options = {"class_weight": "balanced", "tol": 1e-8, "max_iter": 10_000}
    ours = model.scores(test, 2)[:, 0]
    directly = [
        LogisticRegression(C=c, **options).fit(flat[train], LABELS[train]).predict_proba(flat[test])
        for c in STRENGTHS
    ]
    assert min(np.abs(each - ours).max() for each in directly) < 2e-3


def test_a_class_that_no_training_clip_has_gets_no_probability():
    model = fitted("logistic", {"": read(TELLING)}, ROWS, LABELS * 2, SUBJECTS)

    scores = model.scores(ROWS, 4)

    assert (scores[..., [1, 3]] == 0).all()
    np.testing.assert_allclose(scores.sum(axis=-1), 1, atol=1e-6)


def test_too_many_frames_are_sampled_and_the_note_says_how_many_are_read():
    count = MOST_FRAMES + 4_000
    labels, subjects = np.arange(count) % 2, np.repeat(np.arange(10), count // 10)
    features = (labels[:, None, None] + RNG.standard_normal((count, 1, 2))).astype(np.float32)

    model = fitted("svm", {"": read(features)}, np.arange(count), labels, subjects)

    assert model.note == "fitted on a sample of 20,000 training frames"


def test_a_sample_has_each_class_alike_and_within_it_each_subject():
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    subjects = np.where(np.arange(1000) % 9 < 8, "a", "b")  # "b" has a ninth of each class

    rows = sampled(np.arange(1000), labels, subjects, 60)

    assert Counter(labels[rows].tolist()) == {0: 25, 1: 25, 2: 10}
    of_b = Counter(labels[rows][subjects[rows] == "b"].tolist())
    assert of_b[0] in (12, 13)
    assert of_b[1] == 10  # all that there are
    np.testing.assert_array_equal(sampled(np.arange(1000), labels, subjects, 1000), np.arange(1000))
