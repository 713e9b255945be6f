import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.results.selection_bias import HitCounts, corrected, read
from search.study.folder import write_arrays


def made(rng, trials, subjects, classes, quality=0.5, spread=0.0):
    """Trials whose true UARs are normal around a quality; each person shows each class twice."""
    true = np.clip(rng.normal(quality, spread, trials), 0.05, 0.95)
    clips = np.full((subjects, classes), 2)
    hits = rng.binomial(2, true[:, None, None], size=(trials, subjects, classes))
    return true, HitCounts(clips, hits)


def uar(found):
    return (found.hits.sum(axis=1) / found.clips.sum(axis=0)).mean(axis=1)


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_the_corrected_score_of_the_best_trial_is_that_of_new_people(spread):
    rng = np.random.default_rng(0)
    plain, mended = [], []
    for _ in range(200):
        true, found = made(rng, trials=24, subjects=20, classes=6, spread=spread)
        best = uar(found).argmax()
        plain.append(uar(found)[best] - true[best])
        mended.append(corrected(found, resamples=200) - true[best])

    assert np.mean(plain) > 0.03
    assert abs(np.mean(mended)) < 0.012


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(2, 9), st.integers(2, 12))
def test_a_corrected_score_is_a_share(seed, trials, subjects):
    _, found = made(np.random.default_rng(seed), trials, subjects, classes=3)

    assert 0 <= corrected(found, resamples=50) <= 1


def test_a_single_trial_was_not_chosen():
    _, found = made(np.random.default_rng(0), trials=1, subjects=20, classes=3)

    assert corrected(found) is None


def test_two_trials_of_which_one_is_always_right_are_not_corrected():
    clips = np.full((10, 3), 2)
    found = HitCounts(clips, np.stack([clips, clips // 2]))

    assert corrected(found) == 1.0


def write(folder, number, probabilities, clips="ab"):
    arrays = {
        "fold0.clips": np.array([f"{clips}-1", f"{clips}-2"]),
        "fold0.subjects": np.array(["p", "q"]),
        "fold0.labels": np.array([0, 1]),
        "fold0.probabilities": np.array(probabilities, np.float32),
    }
    write_arrays(folder.predictions(number), arrays)


def test_predictions_are_read_of_trials_that_were_scored_on_the_same_clips(folder):
    write(folder, 0, [[0.9, 0.1], [0.8, 0.2]])
    write(folder, 1, [[0.9, 0.1], [np.nan, np.nan]])
    write(folder, 2, [[0.9, 0.1], [0.1, 0.9]], clips="other")
    write(folder, 3, [[0.9, 0.1], [0.1, 0.9]])
    damaged = folder.predictions(3)
    damaged.write_bytes(damaged.read_bytes()[:200])
    write_arrays(folder.predictions(4), {})

    found = read(folder, [0, 1, 2, 3, 4, 5])

    assert found.clips.tolist() == [[1, 0], [0, 1]]
    assert found.hits.tolist() == [[[1, 0], [0, 0]]] * 2


def test_without_predictions_there_is_nothing_to_correct(folder):
    assert read(folder, [0, 1]) is None
