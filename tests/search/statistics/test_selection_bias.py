import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.statistics.selection_bias import HitCounts, corrected


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
