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
    scores = paired.resampled_uars(found, resamples=resamples)
    return [
        _difference(
            float(whole[first] - whole[second]),
            float((scores[:, first] - scores[:, second]).var()),
            found,
        )
        for first, second in combinations(range(len(right)), 2)
    ]


def _difference(value: float, variance: float, found: HitCounts) -> Difference:
    """Give the interval and the p-value of a difference from its variance in the bootstrap.

    Both are Student's. The variance is multiplied by n / (n - 1) for n subjects, because resamples
    vary too little by this factor (Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789).
    Percentiles would never leave the range of the subjects: those of three hold the truth in 0.75
    of all cases at best. That of a clip is added, because two models that agree on all of these
    clips may differ on others.
    """
    from scipy import stats  # takes long to import

    subjects = len(found.clips)
    if subjects < LEAST_SUBJECTS:
        return Difference(value=value, low=None, high=None, p=None)
    error = (variance * subjects / (subjects - 1) + _variance_of_a_clip(found)) ** 0.5
    half = stats.t.ppf((1 + LEVEL) / 2, subjects - 1) * error
    return Difference(
        value=value,
        low=float(max(-1.0, value - half)),
        high=float(min(1.0, value + half)),
        p=float(2 * stats.t.sf(abs(value) / error, subjects - 1)),
    )


def _variance_of_a_clip(found: HitCounts) -> float:
    """Give the variance of the difference of two models that differ on one average clip."""
    clips = found.clips.sum(axis=0)
    shown = clips[clips > 0]
    return float((1 / shown).sum() / (len(shown) ** 2 * shown.sum()))


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
