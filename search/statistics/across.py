"""Compare methods over several datasets by their ranks, as Demsar recommends.

Friedman's test asks whether the methods differ at all. Wilcoxon's signed-rank test, corrected by
Holm, asks it of each pair. Demsar 2006, https://www.jmlr.org/papers/v7/demsar06a.html, describes
both, and the critical difference; `search.compare` uses this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fer_core.arrays import Array
from search.statistics.holm import holm

LEVEL = 0.05  # of significance
LEAST_DATASETS = 3  # with fewer, Friedman's test means nothing
LEAST_METHODS = 3  # two methods are a pair, which Wilcoxon's test compares
_DIGITS = 12  # scores that differ by less are equal; sums of the same recalls may


@dataclass(frozen=True, kw_only=True)
class Friedman:
    """Friedman's statistic, corrected for ties, and its p-value."""

    statistic: float
    p: float


@dataclass(frozen=True, kw_only=True)
class SignedRank:
    """Wilcoxon's test of two methods, by their places: datasets that each won, and p-values."""

    first: int
    second: int
    wins: int
    losses: int
    p: float
    p_holm: float


def mean_ranks(scores: Array) -> Array:
    """Rank the methods on each of N datasets (N, M), the best as 1, and give their means (M,)."""
    from scipy import stats  # takes long to import

    means: Array = stats.rankdata(-scores.round(_DIGITS), axis=1).mean(axis=0)
    return means


def friedman(scores: Array) -> Friedman | None:
    """Test whether M methods differ on N datasets (N, M); None for fewer than three of either."""
    from scipy import stats  # takes long to import

    datasets, methods = scores.shape
    if datasets < LEAST_DATASETS or methods < LEAST_METHODS:
        return None
    rounded = scores.round(_DIGITS)
    if (np.ptp(rounded, axis=1) == 0).all():  # all ranks are tied
        return Friedman(statistic=0.0, p=1.0)
    found = stats.friedmanchisquare(*rounded.T)
    return Friedman(statistic=float(found.statistic), p=float(found.pvalue))


def critical_difference(methods: int, datasets: int) -> float:
    """Give Nemenyi's critical difference of two mean ranks, at the level 0.05."""
    from scipy import stats  # takes long to import

    quantile = stats.studentized_range.ppf(1 - LEVEL, methods, np.inf) / 2**0.5
    return float(quantile * (methods * (methods + 1) / (6 * datasets)) ** 0.5)


def signed_ranks(scores: Array) -> list[SignedRank]:
    """Test each pair of M methods on N datasets (N, M) by Wilcoxon's test, corrected by Holm."""
    pairs = list(combinations(range(scores.shape[1]), 2))
    differences = [(scores[:, i] - scores[:, j]).round(_DIGITS) for i, j in pairs]
    p_values = [_wilcoxon(values) for values in differences]
    return [
        SignedRank(
            first=first,
            second=second,
            wins=int((values > 0).sum()),
            losses=int((values < 0).sum()),
            p=p,
            p_holm=p_holm,
        )
        for (first, second), values, p, p_holm in zip(
            pairs, differences, p_values, holm(p_values), strict=True
        )
    ]


def _wilcoxon(differences: Array) -> float:
    """Give the p-value of the signed-rank test; ties are split between both, as Demsar does."""
    from scipy import stats  # takes long to import

    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="zsplit").pvalue)


def least_p(datasets: int) -> float:
    """Give the least p-value that Wilcoxon's test can reach: one method wins on all N datasets."""
    return min(1.0, 2.0 ** (1 - datasets))


def groups(
    ranks: Array, pairs: Sequence[SignedRank], found: Friedman | None
) -> list[tuple[int, ...]]:
    """Group the methods between which the tests find no difference; each group is a bar.

    The methods of a group, at least two, are neighbours in the order of their mean ranks (M,), and
    no two of them differ. If Friedman's test finds no difference, all methods are one group.
    """
    order = [int(i) for i in np.argsort(ranks, kind="stable")]
    if found is not None and found.p >= LEVEL:
        return [tuple(order)]
    differ = {frozenset((pair.first, pair.second)) for pair in pairs if pair.p_holm < LEVEL}
    longest: list[tuple[int, ...]] = []
    end = 0
    for start in range(len(order)):
        last = start + 1
        while last < len(order) and not any(
            frozenset((order[i], order[last])) in differ for i in range(start, last)
        ):
            last += 1
        if last > end and last - start > 1:
            longest.append(tuple(order[start:last]))
        end = max(end, last)
    return longest
