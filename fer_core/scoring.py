"""From frame scores to votes, metrics and intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_core.arrays import Array
from fer_core.errors import ConfigError, unknown


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """UAR (unweighted average recall), WAR (accuracy) and macro-F1 over the classes that occur."""

    uar: float
    war: float
    macro_f1: float


def score(labels: Array, probabilities: Array) -> Metrics:
    """Score clip probabilities (N, K) against labels (N,)."""
    predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    hits = np.bincount(labels[predicted == labels], minlength=classes)
    shown, given = (np.bincount(each, minlength=classes) for each in (labels, predicted))
    occur = shown > 0
    return Metrics(
        uar=float((hits[occur] / shown[occur]).mean()),
        war=float(hits.sum() / len(labels)),
        macro_f1=float((2 * hits[occur] / (shown[occur] + given[occur])).mean()),
    )


RESAMPLES = 2000
LEVEL = 0.95


def uar_interval(
    labels: Array, probabilities: Array, subjects: Sequence[str], *, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap the UAR over subjects: percentile interval at 95 %.

    Subjects, not clips, are drawn with replacement, since clips of one subject are alike
    (Efron and Tibshirani 1993, chapter 8, https://doi.org/10.1201/9780429246593).
    """
    groups = np.asarray(subjects)
    rows = [np.flatnonzero(groups == subject) for subject in sorted(set(subjects))]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        values.append(_uar(labels[drawn], probabilities[drawn]))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _uar(labels: Array, probabilities: Array) -> float:
    """Give what `score` calls uar, a hundred times as fast."""
    hits = probabilities.argmax(axis=1) == labels
    counts = np.bincount(labels)
    recalls = np.bincount(labels, weights=hits)[counts > 0] / counts[counts > 0]
    return float(recalls.mean())


RULES = ("majority", "mean_probability", "mean_logit")
_LEAST = 1e-30  # a probability of zero has no logarithm


def vote(frame_probabilities: Array, rule: str = "mean_probability") -> Array:
    """Turn frame probabilities (N, T, K) into clip probabilities (N, K).

    majority: the share of frames that each class wins, and of equals the more probable;
    mean_logit: the normalised geometric mean, which is the softmax of the mean logit.

    Raises: ConfigError for an unknown rule.
    """
    mean: Array = frame_probabilities.mean(axis=1)
    match rule:
        case "mean_probability":
            return mean
        case "majority":
            classes = frame_probabilities.shape[-1]
            wins = np.eye(classes)[frame_probabilities.argmax(axis=-1)].mean(axis=1)
            shares = wins + 1e-3 / frame_probabilities.shape[1] * mean  # less than a frame's vote
            voted: Array = shares / shares.sum(axis=-1, keepdims=True)
            return voted.astype(mean.dtype)
        case "mean_logit":
            logits = np.log(np.maximum(frame_probabilities, _LEAST)).mean(axis=1)
            powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
            joined: Array = powers / powers.sum(axis=-1, keepdims=True)
            return joined
        case _:
            raise ConfigError(unknown("voting", rule, RULES))
