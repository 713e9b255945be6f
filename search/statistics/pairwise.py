"""Test whether two models that were scored on the same clips differ in their UAR.

There are three tests, and each has its own units: subjects, clips, or folds. The test by subjects
is the one to trust, because the clips of a subject resemble each other. The other two are here
because papers report them. `search.compare` uses this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from fer_core.arrays import Array
from fer_core.intervals import LEAST_SUBJECTS, LEVEL
from search.statistics import paired


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
    whole = paired.observed_uars(found)
    scores = paired.resampled_uars(found, resamples=resamples)
    pairs = list(combinations(range(len(right)), 2))
    values = [float(whole[first] - whole[second]) for first, second in pairs]
    if len(found.clips) < LEAST_SUBJECTS:
        return [Difference(value=value, low=None, high=None, p=None) for value in values]
    variances = np.array([(scores[:, first] - scores[:, second]).var() for first, second in pairs])
    allowance = paired.variance_of_a_clip(found)
    errors = paired.standard_errors(variances, len(found.clips), allowance=allowance)
    return list(map(partial(_difference, len(found.clips)), values, errors))


def _difference(subjects: int, value: float, error: float) -> Difference:
    """Give Student's interval and p-value of a difference from its standard error."""
    from scipy import stats  # takes long to import

    half = stats.t.ppf((1 + LEVEL) / 2, subjects - 1) * error
    return Difference(
        value=value,
        low=float(max(-1.0, value - half)),
        high=float(min(1.0, value + half)),
        p=float(2 * stats.t.sf(abs(value) / error, subjects - 1)),
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
