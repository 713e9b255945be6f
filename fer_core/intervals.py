"""The 95 % interval of a metric: how uncertain it is, because few subjects were scored.

Trials, baselines and sealed tests take their intervals here. Subjects are the units, not clips,
because the clips of one subject resemble each other. `benchmarks/coverage.py` measures how often
the intervals cover the true value. (A percentile bootstrap over so few subjects does so far too
rarely: in 0.52 of all cases with two, in 0.85 with eight.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_core.arrays import Array
from fer_core.scoring import METRICS, Metrics, score, weighs_clips

LEVEL = 0.95  # share of such intervals that hold the true value
LEAST_SUBJECTS = 3  # with fewer, nothing can be said about the differences between subjects
_MOST_GROUPS = 200  # groups of subjects that are left out in turn; up to here, single subjects
# Extra variance, because few subjects underestimate the variance between subjects. Calibrated by
# simulation: with 0.10, one design of 300 was covered in less than 0.93 of all cases.
_ALLOWANCE = 0.15


@dataclass(frozen=True)
class Interval:
    """The two ends of an interval: of a metric within [0, 1], of a difference within [-1, 1]."""

    low: float
    high: float


def with_intervals(
    labels: Array, probabilities: Array, subjects: Sequence[str] | Array
) -> dict[str, float | None]:
    """Score clips, and give each metric with its interval: `uar`, `uar_low`, `uar_high`, `war`, ...

    There are N clips with labels (N,), probabilities (N, K) and subjects (N,). The ends of an
    interval are None where there is none.
    """
    whole, _, of_clip = score(labels, probabilities), *np.unique(subjects, return_inverse=True)
    left_out = _left_out(labels, probabilities, of_clip)
    values = dict[str, float | None]()
    for name in METRICS:
        found = _interval(name, getattr(whole, name), left_out, labels, of_clip)
        low, high = (found.low, found.high) if found else (None, None)
        values |= {name: getattr(whole, name), f"{name}_low": low, f"{name}_high": high}
    return values


MEASURES = tuple(f"{name}{end}" for name in METRICS for end in ("", "_low", "_high"))


def interval(
    metric: str, labels: Array, probabilities: Array, subjects: Sequence[str] | Array
) -> Interval | None:
    """Give the 95 % interval of a metric of `scoring.Metrics`; None for fewer than three subjects.

    There are N clips with labels (N,), probabilities (N, K) and subjects (N,).
    """
    value = getattr(score(labels, probabilities), metric)
    of_clip = np.unique(np.asarray(subjects), return_inverse=True)[1]
    left_out = _left_out(labels, probabilities, of_clip)
    return _interval(metric, value, left_out, labels, of_clip)


def _interval(
    metric: str, value: float, left_out: Sequence[Metrics], labels: Array, of_clip: Array
) -> Interval | None:
    """Give the interval of a metric from its values without each subject or group of them.

    It is Wilson's score interval (1927, https://doi.org/10.1080/01621459.1927.10502953) with
    Student's quantile. Its number of observations is the one that would give the variance of the
    metric: the larger of the jackknife's over subjects (Efron and Stein 1981,
    https://doi.org/10.1214/aos/1176345462) and that of independent clips, with an allowance for the
    number of subjects.
    """
    from scipy import stats  # takes long to import

    if of_clip.max() + 1 < LEAST_SUBJECTS:
        return None
    clip_weights = _clip_weights(metric, labels)
    effective = 1 / (np.bincount(of_clip, clip_weights) ** 2).sum()  # subjects; Kish 1965
    classes = len(np.unique(labels))
    # A value of 0 or 1 has a variance too: half a hit and half a miss are added for each class.
    moderate = (value * len(labels) + classes / 2) / (len(labels) + classes)
    single = moderate * (1 - moderate)  # variance of one observation
    independent = single * (clip_weights**2).sum()
    values = np.array([getattr(metrics, metric) for metrics in left_out])
    jackknife = (len(values) - 1) / len(values) * ((values - values.mean()) ** 2).sum()
    count = single / (max(jackknife, independent) + _ALLOWANCE * single / effective**2)
    quantile = stats.t.ppf((1 + LEVEL) / 2, max(effective - 1, 1.0))
    share = quantile**2 / count
    centre = (value + share / 2) / (1 + share)
    half = np.sqrt(value * (1 - value) * share + share**2 / 4) / (1 + share)
    low, high = min(centre - half, value), max(centre + half, value)  # despite rounding
    return Interval(float(max(0.0, low)), float(min(1.0, high)))


def _clip_weights(metric: str, labels: Array) -> Array:
    """Give the weight of each clip in a metric (N,): equal for clips, or for classes."""
    counts = np.bincount(labels)
    if weighs_clips(metric):
        return np.full(len(labels), 1 / len(labels))
    weights: Array = 1 / (counts[labels] * (counts > 0).sum())
    return weights


def _left_out(labels: Array, probabilities: Array, of_clip: Array) -> list[Metrics]:
    """Score the clips without each subject in turn, or without each of many groups of subjects."""
    groups = min(int(of_clip.max()) + 1, _MOST_GROUPS)
    group = of_clip % groups
    kept = (group != left for left in range(groups if groups >= LEAST_SUBJECTS else 0))
    return [score(labels[rows], probabilities[rows]) for rows in kept]
