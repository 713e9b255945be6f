"""Friedman, Wilcoxon and the critical difference, against published examples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.statistics.across import (
    Friedman,
    critical_difference,
    friedman,
    groups,
    least_p,
    mean_ranks,
    signed_ranks,
)

# Demsar 2006, table 6: AUC of C4.5, with -m, with -cf, and with both, on 14 datasets. In the
# row before the last, 0.9751 stands for a 0.975 that he ranks above the other one.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
# Hollander and Wolfe 1973, p. 140: the example of R's friedman.test (times; less is better).
# fmt: off
ROUNDING = np.array(
    [
        5.4, 5.5, 5.55, 5.85, 5.7, 5.75, 5.2, 5.6, 5.5, 5.55, 5.5, 5.4,
        5.9, 5.85, 5.7, 5.45, 5.55, 5.6, 5.4, 5.4, 5.35, 5.45, 5.5, 5.35,
        5.25, 5.15, 5.0, 5.85, 5.8, 5.7, 5.25, 5.2, 5.1, 5.65, 5.55, 5.45,
        5.6, 5.35, 5.45, 5.05, 5.0, 4.95, 5.5, 5.5, 5.4, 5.45, 5.55, 5.5,
        5.55, 5.55, 5.35, 5.45, 5.5, 5.55, 5.5, 5.45, 5.25, 5.65, 5.6, 5.4,
        5.7, 5.65, 5.55, 6.3, 6.3, 6.25,
    ]
).reshape(22, 3)
# fmt: on


def test_the_mean_ranks_are_those_of_demsars_example():
    assert mean_ranks(DEMSAR) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)


def test_the_statistic_of_friedman_is_that_of_rs_example():
    found = friedman(-ROUNDING)

    assert found.statistic == pytest.approx(11.143, abs=5e-4)
    assert found.p == pytest.approx(0.003805, abs=5e-7)


def test_wilcoxon_finds_what_demsar_found():
    found = {(pair.first, pair.second): pair for pair in signed_ranks(DEMSAR)}

    plain_and_m = found[0, 1]
    assert (plain_and_m.wins, plain_and_m.losses) == (2, 10)
    assert plain_and_m.p == pytest.approx(0.011, abs=1.5e-3)  # z = -2.54


def test_the_critical_differences_are_those_of_demsars_table():
    units = [critical_difference(k, 1) / (k * (k + 1) / 6) ** 0.5 for k in (2, 3, 4, 10)]

    assert units == pytest.approx([1.960, 2.343, 2.569, 3.164], abs=1e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 999), st.integers(3, 8), st.integers(3, 4))
def test_ranks_add_up_and_swapping_methods_swaps_their_results(seed, datasets, methods):
    scores = np.random.default_rng(seed).integers(0, 4, (datasets, methods)) / 4

    ranks, pairs = mean_ranks(scores), signed_ranks(scores)

    assert ranks.sum() == pytest.approx(methods * (methods + 1) / 2)
    assert mean_ranks(scores[:, ::-1]) == pytest.approx(ranks[::-1])
    mirrored = {(p.second, p.first): p for p in signed_ranks(scores[:, ::-1])}
    for pair in pairs:
        other = mirrored[methods - 1 - pair.first, methods - 1 - pair.second]
        assert (pair.wins, pair.losses) == (other.losses, other.wins)
        assert pair.p == pytest.approx(other.p)
        assert pair.p <= pair.p_holm <= 1


def test_two_datasets_or_two_methods_have_no_friedman_test():
    assert friedman(DEMSAR[:2]) is None
    assert friedman(DEMSAR[:, :2]) is None
    assert least_p(2) == 0.5


def test_equal_scores_have_equal_ranks_despite_rounding():
    scores = np.array([[0.3, 0.1 + 0.2, 0.3]] * 4)

    assert mean_ranks(scores).tolist() == [2, 2, 2]
    assert friedman(scores).p == 1
    assert [pair.p for pair in signed_ranks(scores)] == [1, 1, 1]


def test_a_group_holds_neighbours_of_which_no_two_differ():
    rng = np.random.default_rng(0)
    worst_last = np.array([0.9, 0.9, 0.5, 0.5]) + rng.normal(0, 0.01, (12, 4))

    found = groups(mean_ranks(worst_last), signed_ranks(worst_last), friedman(worst_last))

    assert [set(group) for group in found] == [{0, 1}, {2, 3}]


def test_all_methods_are_one_group_where_friedman_finds_no_difference():
    worst_last = np.array([[0.9, 0.8, 0.7, 0.6]] * 12)
    ranks, pairs = mean_ranks(worst_last), signed_ranks(worst_last)

    assert groups(ranks, pairs, friedman(worst_last)) == []
    assert groups(ranks, pairs, Friedman(statistic=1.0, p=0.8)) == [(0, 1, 2, 3)]


def test_a_group_within_a_longer_one_is_left_out():
    alike = np.random.default_rng(1).normal(0.7, 0.01, (8, 4))

    (found,) = groups(mean_ranks(alike), signed_ranks(alike), None)

    assert set(found) == {0, 1, 2, 3}
