"""The 95 % interval of a metric: how uncertain it is, because few subjects were scored.

Trials, baselines and sealed tests take their intervals here. Subjects are the units, not clips,
because the clips of one subject resemble each other. The percentile bootstrap over subjects, which
served before, holds the true value far too rarely where there are few: `benchmarks/coverage.py`
measures how often these intervals hold it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_core.arrays import Array
from fer_core.scoring import METRICS, score, weighs_clips

LEVEL = 0.95  # share of such intervals that hold the true value
LEAST_SUBJECTS = 3  # with fewer, nothing can be said about the differences between subjects
_MOST_GROUPS = 200  # groups of subjects that are left out in turn; up to here, single subjects
# Allows for what a few subjects cannot show of the differences between all. Calibrated by
# `benchmarks/coverage.py`: with 0.10, one design of 300 is covered in less than 0.93.
_ALLOWANCE = 0.15


@dataclass(frozen=True)
class Interval:
    """An interval within [0, 1]."""

    low: float
    high: float


def with_intervals(
    labels: Array, probabilities: Array, subjects: Sequence[str] | Array
) -> dict[str, float | None]:
    """Score clips, and give each metric with its interval: `uar`, `uar_low`, `uar_high`, `war`, ...

    The ends of an interval are None where there is none. For the arguments see `interval`.
    """
    metrics, values = score(labels, probabilities), dict[str, float | None]()
    for name in METRICS:
        found = interval(name, labels, probabilities, subjects)
        low, high = (found.low, found.high) if found else (None, None)
        values |= {name: getattr(metrics, name), f"{name}_low": low, f"{name}_high": high}
    return values


MEASURES = tuple(f"{name}{end}" for name in METRICS for end in ("", "_low", "_high"))


def interval(
    metric: str, labels: Array, probabilities: Array, subjects: Sequence[str] | Array
) -> Interval | None:
    """Give the 95 % interval of a metric of `scoring.Metrics`; None for fewer than three subjects.

    There are N clips with labels (N,), probabilities (N, K) and subjects (N,). It is Wilson's score
    interval (1927, https://doi.org/10.1080/01621459.1927.10502953) with Student's quantile. Its
    number of observations is the one that would give the variance of the metric: the larger of the
    jackknife's over subjects (Efron and Stein 1981, https://doi.org/10.1214/aos/1176345462) and
    that of independent clips, with an allowance for the number of subjects.
    """
    from scipy import stats  # takes long to import

    people, of_clip = np.unique(np.asarray(subjects), return_inverse=True)
    if len(people) < LEAST_SUBJECTS:
        return None
    value = getattr(score(labels, probabilities), metric)
    clip_weights = _clip_weights(metric, labels)
    effective = 1 / (np.bincount(of_clip, clip_weights) ** 2).sum()  # subjects; Kish 1965
    classes = len(np.unique(labels))
    # A value of 0 or 1 has a variance too: half a hit and half a miss are added for each class.
    moderate = (value * len(labels) + classes / 2) / (len(labels) + classes)
    single = moderate * (1 - moderate)  # variance of one observation
    independent = single * (clip_weights**2).sum()
    spread = max(_jackknife(metric, labels, probabilities, of_clip), independent)
    count = single / (spread + _ALLOWANCE * single / effective**2)
    quantile = stats.t.ppf((1 + LEVEL) / 2, max(effective - 1, 1.0))
    share = quantile**2 / count
    centre = (value + share / 2) / (1 + share)
    half = np.sqrt(value * (1 - value) * share + share**2 / 4) / (1 + share)
    low, high = min(centre - half, value), max(centre + half, value)  # despite of rounding
    return Interval(float(max(0.0, low)), float(min(1.0, high)))


def _clip_weights(metric: str, labels: Array) -> Array:
    """Give the weight of each clip in a metric (N,): equal for clips, or for classes."""
    counts = np.bincount(labels)
    if weighs_clips(metric):
        return np.full(len(labels), 1 / len(labels))
    weights: Array = 1 / (counts[labels] * (counts > 0).sum())
    return weights


def _jackknife(metric: str, labels: Array, probabilities: Array, of_clip: Array) -> float:
    """Estimate the variance of a metric by leaving out one subject, or group of them, at a time."""
    groups = min(int(of_clip.max()) + 1, _MOST_GROUPS)
    group = of_clip % groups
    values = np.array(
        [
            getattr(score(labels[group != left], probabilities[group != left]), metric)
            for left in range(groups)
        ]
    )
    return float((groups - 1) / groups * ((values - values.mean()) ** 2).sum())
