"""Test whether two models that were scored on the same clips differ in their UAR.

There are three tests, and each has its own units: subjects, clips, or folds. The test by subjects
is the one to trust, because the clips of a subject resemble each other. The other two are here
because papers report them. `search.compare` uses this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fer_core.arrays import Array
from fer_core.intervals import LEAST_SUBJECTS, LEVEL
from search.statistics import paired
from search.statistics.paired import HitCounts


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much the UAR of one model is above that of another, by subjects.

    The interval holds the true difference in 95 % of cases. It excludes 0 if and only if `p` is
    below 0.05. With fewer than three subjects there is neither.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """How many clips only one of two models predicted right, and McNemar's p-value."""

    only_first: int
    only_second: int
    p: float


def subject_bootstrap(
    subjects: Sequence[str] | Array,
    labels: Array,
    right: Array,
    *,
    resamples: int = paired.RESAMPLES,
) -> list[Difference]:
    """Compare each pair of M models by resampling subjects; pairs come as `combinations` has them.

    There are N clips with subjects (N,) and labels (N,), and each model got some of them right
    (M, N). All models are scored on the same resamples of the subjects.
    """
    found = paired.count_hits(subjects, labels, right)
    (whole,) = paired.uars(found, np.ones((1, len(found.clips))))
    variances = paired.resampled_uars(found, resamples=resamples)
    return [
        _difference(
            float(whole[first] - whole[second]),
            float((variances[:, first] - variances[:, second]).var()),
            found,
            discordant=int((right[first] != right[second]).sum()),
        )
        for first, second in combinations(range(len(right)), 2)
    ]


def _difference(value: float, variance: float, found: HitCounts, *, discordant: int) -> Difference:
    """Give the interval and the p-value of a difference from its variance in the bootstrap.

    Both are Student's, with the standard error of the bootstrap. That is widened by
    sqrt(n / (n - 1)) for n subjects, because resamples vary too little by this factor (Hesterberg
    2015, https://doi.org/10.1080/00031305.2015.1089789). The variance is at least that of
    independent clips, with half a clip added to those on which the models differ: two models that
    differ on none of these clips may differ on others.
    """
    from scipy import stats  # takes long to import

    subjects = len(found.clips)
    if subjects < LEAST_SUBJECTS:
        return Difference(value=value, low=None, high=None, p=None)
    clips = found.clips.sum(axis=0)  # of each class
    clips, by_subject = clips[clips > 0], found.clips[:, clips > 0] / clips[clips > 0]
    effective = 1 / (by_subject.mean(axis=1) ** 2).sum()  # subjects; Kish 1965
    share = (discordant + 0.5) / (clips.sum() + 1)
    independent = share * (1 / clips).sum() / len(clips) ** 2
    error = max(variance * subjects / (subjects - 1), independent) ** 0.5
    freedom = max(effective - 1, 1.0)
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
    return Difference(
        value=value,
        low=max(-1.0, value - half),
        high=min(1.0, value + half),
        p=float(2 * stats.t.sf(abs(value) / error, freedom)),
    )


def mcnemar(first: Array, second: Array) -> McNemar:
    """Test, on the clips that only one of two models got right (N,), whether both get as many.

    This is the exact binomial test (McNemar 1947, https://doi.org/10.1007/BF02295996). It takes
    clips for independent. Those of a subject are not, so its p-value is too small.
    """
    from scipy import stats  # takes long to import

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    either = only_first + only_second
    p = float(stats.binomtest(only_first, either).pvalue) if either else 1.0
    return McNemar(only_first=only_first, only_second=only_second, p=p)


def corrected_t(differences: Sequence[float] | Array) -> float | None:
    """Test, on the differences of K folds, whether their mean is 0; None for a single fold.

    The folds share training clips, so their differences vary too little. Nadeau and Bengio (2003,
    https://doi.org/10.1023/A:1024068626366) add the ratio of the clips in a fold to those that its
    model was trained on, 1 / (K - 1), to the 1 / K of Student's variance.
    """
    from scipy import stats  # takes long to import

    values, folds = np.asarray(differences, np.float64), len(differences)
    if folds < 2:
        return None
    if np.ptp(values) == 0:  # the test statistic is infinite, or there is no difference
        return 0.0 if values[0] else 1.0
    error = ((1 / folds + 1 / (folds - 1)) * values.var(ddof=1)) ** 0.5
    return float(2 * stats.t.sf(abs(values.mean()) / error, folds - 1))
