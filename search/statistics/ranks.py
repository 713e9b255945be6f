"""Say which ranks a model may have in truth, and how it differs from the headline.

The models were scored on the same clips. With few subjects many of them are as good as the best
one: the leaderboard says so instead of giving each trial a rank of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_core.arrays import Array
from fer_core.intervals import LEAST_SUBJECTS, LEVEL, Interval
from search.statistics import paired
from search.statistics.paired import HitCounts

RESAMPLES = 2000  # they give a standard error to 2 %
_AT_ONCE = 500  # models that are compared with all others together


@dataclass(frozen=True)
class Ranks:
    """The ranks (M,) that M models may have in truth; 1 is the best."""

    low: Array
    high: Array
    tied_with_best: Array  # whether the interval of the difference to the best model holds 0


def ranks(found: HitCounts, *, resamples: int = RESAMPLES, seed: int = 0) -> Ranks | None:
    """Rank models by UAR; None for fewer than three subjects.

    A model is surely worse than another if the 95 % interval of their paired difference leaves out
    0. `low` counts the models that are surely better, and `high` leaves out those that are surely
    worse (as in Mogstad, Romano, Shaikh and Wilhelm 2024, https://doi.org/10.1093/restud/rdad006,
    but without a correction for the number of comparisons). The range of a model's ranks in the
    resamples would be too narrow: with eight equal models and five subjects it holds a true rank in
    0.78 of all cases, this one in 0.96.
    """
    if len(found.clips) < LEAST_SUBJECTS:
        return None
    scores, models = paired.observed_uars(found), len(found.hits)
    resampled = paired.resampled_uars(found, resamples=resamples, seed=seed)
    resampled -= resampled.mean(axis=0)
    variances = (resampled**2).mean(axis=0)
    low, high = np.ones(models, np.int64), np.full(models, models)
    tied = np.zeros(models, bool)
    for start in range(0, models, _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        shared = resampled[:, some].T @ resampled / resamples
        apart = np.maximum(variances[some, None] + variances - 2 * shared, 0.0)
        halves = paired.half_widths(
            apart, len(found.clips), LEVEL, allowance=paired.variance_of_a_clip(found)
        )
        worse = scores[some, None] + halves < scores
        low[some] += worse.sum(axis=1)
        high -= worse.sum(axis=0)
        tied[some] = ~worse[:, scores.argmax()]
    return Ranks(low, high, tied)


@dataclass(frozen=True)
class Difference:
    """How much better a model is than the headline, in UAR; below 0 it is worse."""

    value: float
    interval: Interval | None  # None for fewer than three subjects


def differences(
    found: HitCounts, *, resamples: int = paired.RESAMPLES, seed: int = 0
) -> Sequence[Difference]:
    """Compare each model but the first with the first, the headline.

    The intervals are corrected by Holm's method (1979, https://www.jstor.org/stable/4615733): the
    clearest of K differences has an interval at the level 1 - 0.05 / K, the next one at
    1 - 0.05 / (K - 1), and so on to the first interval that holds 0; its level is that of the rest.
    """
    scores = paired.observed_uars(found)
    resampled = paired.resampled_uars(found, resamples=resamples, seed=seed)
    values, observed = resampled[:, 1:] - resampled[:, :1], scores[1:] - scores[0]
    allowance, subjects = paired.variance_of_a_clip(found), len(found.clips)
    errors = paired.half_widths(values.var(axis=0), max(subjects, 2), LEVEL, allowance=allowance)
    intervals: dict[int, Interval | None] = {}
    remaining = len(observed)
    for model in np.argsort(-np.abs(observed) / errors, kind="stable"):
        found_interval = paired.difference_interval(
            values[:, model],
            subjects,
            1 - (1 - LEVEL) / remaining,
            observed=observed[model],
            allowance=allowance,
        )
        intervals[int(model)] = found_interval
        if found_interval and not found_interval.low <= 0 <= found_interval.high:
            remaining -= 1
    return [Difference(float(value), intervals[i]) for i, value in enumerate(observed)]
