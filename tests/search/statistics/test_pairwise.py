"""Tests of two models: what holds for all data, textbook values, and errors of the first kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from search.statistics.pairwise import corrected_t, mcnemar, subject_bootstrap

# Designs: classes, clips of a subject and class, log-odds by which a model is off on a subject.
DESIGNS = ((2, 6, 1.0), (6, 3, 0.5), (7, 1, 0.0), (2, 20, 2.0))
SIMULATIONS = 1000


def made(seed, subjects=6, classes=3, each=3, gap=1.0, better=0.0):
    """Two models that are off on each subject by as much as normal numbers with the width `gap`."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(subjects), classes * each)
    labels = np.tile(np.repeat(np.arange(classes), each), subjects)
    alike = rng.normal(0.8, 1.0, subjects)
    right = []
    for shift in (better, 0.0):
        odds = (alike + shift + rng.normal(0, gap, subjects))[people]
        right.append(rng.random(len(labels)) < 1 / (1 + np.exp(-odds)))
    return people, labels, np.stack(right)


def compared(people, labels, right):
    (found,) = subject_bootstrap(people, labels, right, resamples=300)
    return found


@settings(deadline=None)
@given(st.integers(0, 9999), st.integers(3, 12))
def test_swapping_two_models_mirrors_everything(seed, subjects):
    people, labels, right = made(seed, subjects)

    found, swapped = compared(people, labels, right), compared(people, labels, right[::-1])

    assert found.value == pytest.approx(-swapped.value)
    assert (found.low, found.high) == pytest.approx((-swapped.high, -swapped.low))
    assert found.p == pytest.approx(swapped.p)
    there, back = mcnemar(*right), mcnemar(*right[::-1])
    assert (there.only_first, there.only_second) == (back.only_second, back.only_first)
    assert there.p == back.p
    differences = np.random.default_rng(seed).normal(size=5)
    assert corrected_t(differences) == corrected_t(-differences)


@settings(deadline=None)
@given(st.integers(0, 9999), st.integers(3, 12))
def test_a_model_does_not_differ_from_itself(seed, subjects):
    people, labels, right = made(seed, subjects)
    itself = right[[0, 0]]

    found = compared(people, labels, itself)

    assert (found.value, found.p) == (0, 1)
    assert found.high == -found.low > 1 / len(labels), "on other clips it may be off by one"
    assert mcnemar(*itself).p == 1
    assert corrected_t([0.0] * 5) == 1


@settings(deadline=None)
@given(st.integers(0, 9999), st.integers(3, 30), st.sampled_from([0.0, 1.0, 2.0]))
def test_the_interval_excludes_0_if_and_only_if_p_is_below_5_percent(seed, subjects, better):
    found = compared(*made(seed, subjects, better=better))

    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
    assert found.low <= found.value <= found.high


def test_a_model_that_is_better_on_most_people_is_found_so():
    found = compared(*made(0, subjects=20, better=2.0))

    assert found.low > 0
    assert found.p < 0.01


def test_there_is_no_interval_and_no_p_for_two_subjects():
    found = compared(*made(0, subjects=2))

    assert (found.low, found.high, found.p) == (None, None, None)


def test_three_models_are_compared_in_three_pairs():
    people, labels, right = made(0)

    found = subject_bootstrap(people, labels, np.stack([*right, right[0]]), resamples=300)

    assert [each.value for each in found] == pytest.approx([found[0].value, 0, -found[0].value])


def test_nine_clips_against_one_have_the_p_value_of_the_binomial_distribution():
    first, second = np.zeros((2, 30), bool)
    first[:9] = True
    second[20] = True

    found = mcnemar(first, second)

    assert (found.only_first, found.only_second) == (9, 1)
    assert found.p == pytest.approx(2 * (1 + 10) / 2**10)


def test_the_corrected_t_is_students_with_a_larger_variance():
    differences = [0.1, 0.2, 0.3, 0.0, 0.1]
    student = stats.ttest_1samp(differences, 0).statistic

    p = corrected_t(differences)

    assert p == pytest.approx(2 * stats.t.sf(student * (0.2 / (0.2 + 0.25)) ** 0.5, 4))


def test_folds_that_all_differ_by_the_same_differ_surely_and_one_fold_says_nothing():
    assert corrected_t([0.5, 0.5, 0.5]) == 0
    assert corrected_t([0.5]) is None


@pytest.mark.slow
@pytest.mark.parametrize("subjects", [3, 5, 24])
def test_the_interval_of_two_equal_models_holds_0_as_often_as_it_says(subjects):
    for classes, each, gap in DESIGNS:
        covered, rejected = 0, 0
        for seed in range(SIMULATIONS):
            people, labels, right = made(seed, subjects, classes, each, gap)
            found = compared(people, labels, right)
            covered += found.low <= 0 <= found.high
            rejected += mcnemar(*right).p < 0.05

        share, mcnemars = covered / SIMULATIONS, rejected / SIMULATIONS
        print(f"{subjects} subjects, {classes} classes, {each} clips of each, gap {gap}: the")
        print(f"  interval holds 0 in {share:.3f}; McNemar finds a difference in {mcnemars:.3f}")
        assert share >= 0.93
        if gap >= 1:  # where the models differ by person, clips are not independent
            assert mcnemars > 0.1
