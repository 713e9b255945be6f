"""Compare models that were scored on the same clips, by resampling the subjects of all at once.

The clips of a subject resemble each other, so subjects are drawn and not clips. Every model is
scored on the same resample. What makes a resample easy for all of them then cancels out of their
differences.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_core.arrays import Array
from fer_core.intervals import LEAST_SUBJECTS, LEVEL, Interval

RESAMPLES = 10_000  # bootstrap samples of the subjects
MOST_BLOCKS = 500  # more subjects are put into so many blocks, which are drawn in their place
_AT_ONCE = 1000  # resamples that are scored together


@dataclass(frozen=True)
class HitCounts:
    """What M models got right of S subjects, or blocks of subjects, and C classes."""

    clips: Array  # (S, C) clips of a subject and class
    hits: Array  # (M, S, C) those of them that a model predicted right


def count_hits(subjects: Sequence[str] | Array, labels: Array, right: Array) -> HitCounts:
    """Count, by subject and class, the clips (N,) that each of M models predicted right (M, N)."""
    names, of_clip = np.unique(np.asarray(subjects), return_inverse=True)
    of_clip %= MOST_BLOCKS
    shape = (min(len(names), MOST_BLOCKS), int(labels.max()) + 1)
    clips = np.zeros(shape, np.float64)
    np.add.at(clips, (of_clip, labels), 1)
    hits = np.zeros((len(right), *shape), np.float64)
    for model, of_model in zip(hits, right, strict=True):
        np.add.at(model, (of_clip, labels), of_model)
    return HitCounts(clips, hits)


def uars(found: HitCounts, weights: Array) -> Array:
    """Score each model (R, M) with the subjects weighted by `weights` (R, S).

    A class that no weighted subject shows is left out of the mean.
    """
    total = np.zeros((len(weights), len(found.hits)))
    seen = np.zeros((len(weights), 1))
    for kind in range(found.clips.shape[1]):
        clips = (weights @ found.clips[:, kind])[:, None]
        hits = weights @ found.hits[:, :, kind].T
        total += np.divide(hits, clips, out=np.zeros_like(total), where=clips > 0)
        seen += clips > 0
    scores: Array = total / np.maximum(seen, 1)
    return scores


def resampled_uars(found: HitCounts, *, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Score M models on bootstrap samples of the subjects (R, M), the same for all models."""
    subjects = len(found.clips)
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        drawn = rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=count)
        parts.append(uars(found, drawn.astype(np.float64)))
    scores: Array = np.concatenate(parts)
    return scores


def observed_uars(found: HitCounts) -> Array:
    """Score M models on all clips (M,)."""
    scores: Array = uars(found, np.ones((1, len(found.clips))))[0]
    return scores


def variance_of_a_clip(found: HitCounts) -> float:
    """Give the variance of a difference of UARs between two models that differ on a single clip.

    It is that of the average clip. Each difference has it as an allowance, because models that
    agree on all of these few clips may differ on others.
    """
    clips = found.clips.sum(axis=0)
    shown = clips[clips > 0]
    return float((1 / shown).sum() / (len(shown) ** 2 * shown.sum()))


def standard_errors(variances: Array, subjects: int, *, allowance: float = 0.0) -> Array:
    """Give the standard error of each difference from its variance in the bootstrap over subjects.

    That of n subjects is multiplied by n / (n - 1), because resamples vary too little by this
    factor (Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789). `allowance` is added.
    """
    errors: Array = np.sqrt(variances * subjects / (subjects - 1) + allowance)
    return errors


def half_widths(variances: Array, subjects: int, level: float, *, allowance: float = 0.0) -> Array:
    """Give half the width of each Student's interval; the arguments are `standard_errors`'s."""
    from scipy import stats  # takes long to import

    quantile = stats.t.ppf((1 + level) / 2, subjects - 1)
    halves: Array = quantile * standard_errors(variances, subjects, allowance=allowance)
    return halves


def difference_interval(
    values: Array,
    subjects: int,
    level: float = LEVEL,
    *,
    observed: float | None = None,
    allowance: float = 0.0,
) -> Interval | None:
    """Give the interval of a paired difference from its values on resamples (R,), within [-1, 1].

    Its centre is the difference that was `observed`, or the mean of the values; `half_widths` says
    how wide it is. Percentiles of the values, even expanded ones, would never leave the range of
    the subjects: of three, they hold the truth in 0.75 of all cases at best. None for fewer than
    three subjects.
    """
    if subjects < LEAST_SUBJECTS:
        return None
    centre = float(values.mean()) if observed is None else observed
    half = float(half_widths(values.var(), subjects, level, allowance=allowance))
    return Interval(max(-1.0, centre - half), min(1.0, centre + half))
