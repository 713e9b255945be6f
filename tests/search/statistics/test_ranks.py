import time

import numpy as np
import pytest
from scipy import stats

from search.statistics.paired import HitCounts, observed_uars
from search.statistics.ranks import differences, ranks


def made(rng, qualities, subjects, classes=6, each=2, spread=0.1):
    """Models that recognise each clip with their quality; people differ in all models alike."""
    person = rng.normal(0, spread, (1, subjects, 1))
    right = np.clip(np.array(qualities)[:, None, None] + person, 0.02, 0.98)
    shape = (len(qualities), subjects, classes)
    return HitCounts(np.full(shape[1:], float(each)), rng.binomial(each, right, size=shape) * 1.0)


def test_a_model_that_is_far_better_is_first_and_two_alike_share_the_ranks_below():
    found = made(np.random.default_rng(0), [0.5, 0.9], subjects=20)
    alike = HitCounts(found.clips, found.hits[[0, 1, 0]])

    result = ranks(alike)

    assert result.low.tolist() == [2, 1, 2]
    assert result.high.tolist() == [3, 1, 3]
    assert result.tied_with_best.tolist() == [False, True, False]


def test_a_model_alone_is_the_first():
    result = ranks(made(np.random.default_rng(0), [0.5], subjects=5))

    assert (result.low[0], result.high[0], result.tied_with_best[0]) == (1, 1, True)


def test_two_subjects_rank_nothing_and_give_no_interval():
    found = made(np.random.default_rng(0), [0.5, 0.9], subjects=2)

    (difference,) = differences(found)

    assert ranks(found) is None
    assert difference.interval is None
    assert difference.value == pytest.approx(np.diff(observed_uars(found))[0])


@pytest.mark.parametrize("subjects", [3, 5, 16])
def test_ranges_hold_the_true_rank_of_equal_models_as_often_as_they_say(subjects):
    rng = np.random.default_rng(subjects)
    covered = []
    for _ in range(150):  # of equal models, any order is the true one
        result = ranks(made(rng, [0.6] * 8, subjects), resamples=400)
        true = np.arange(1, 9)
        covered.append(((result.low <= true) & (true <= result.high)).mean())

    assert np.mean(covered) >= 0.93


def test_holm_widens_the_intervals_until_one_holds_zero():
    found = made(np.random.default_rng(1), [0.6, 0.05, 0.6, 0.58], subjects=12)

    clear, *others = differences(found)
    alone = [differences(HitCounts(found.clips, found.hits[[0, i]]))[0] for i in (1, 2, 3)]

    assert clear.interval.high < 0
    assert all(other.interval.low < 0 < other.interval.high for other in others)
    wider = [
        (now.interval.high - now.interval.low) / (single.interval.high - single.interval.low)
        for now, single in zip([clear, *others], alone, strict=True)
    ]
    quantile = [stats.t.ppf(1 - 0.025 / count, 11) for count in (3, 2, 2, 1)]
    assert np.allclose(wider, np.array(quantile[:3]) / quantile[3], rtol=0.03)


def test_the_headline_is_unbiased_where_the_best_of_eight_tests_is_not():
    rng = np.random.default_rng(0)
    headline, best = [], []
    for _ in range(300):
        on_val = observed_uars(made(rng, [0.6] * 8, subjects=19))
        on_test = observed_uars(made(rng, [0.6] * 8, subjects=5))
        headline.append(on_test[on_val.argmax()] - 0.6)
        best.append(on_test.max() - 0.6)

    assert abs(np.mean(headline)) < 0.015
    assert np.mean(best) > 0.07


def test_a_thousand_trials_of_five_thousand_clips_are_ranked_within_seconds():
    rng = np.random.default_rng(0)
    found = made(rng, rng.uniform(0.4, 0.6, 1000), subjects=500, classes=5, each=2)
    began = time.process_time()

    result = ranks(found)

    assert time.process_time() - began < 10
    assert (result.low <= result.high).all()
