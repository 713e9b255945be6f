"""Turn the scores of single frames into scores of clips, and score those against the labels.

`vote` joins the frames of a clip, `score` computes the metrics of a fold, and `uar_interval` tells
how uncertain the UAR is. Trials, baselines and sealed tests are all scored here; the leaderboard
takes its metric columns from the fields of `Metrics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from fer_core.arrays import Array
from fer_core.errors import ConfigError, unknown


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a metric is computed from: N clips, and counts for each of the C classes that occur."""

    labels: Array  # (N,) the true class of each clip
    probabilities: Array  # (N, K) the predicted probability of every class
    hits: Array  # (C,) clips of a class that were predicted to be of it
    actual: Array  # (C,) clips of a class
    predicted: Array  # (C,) clips that were predicted to be of a class


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The metrics of one set of clips, as fractions in [0, 1].

    Each line is a metric and the function of `Counts` that computes it. A new line is a new metric:
    every fold and every sealed test computes it, and the leaderboard shows it in the columns
    `val_<metric>` and `test_<metric>`. All are means over the classes that occur, but for `war`.
    """

    # unweighted average recall; weighted average recall, which is accuracy; the mean F1 of classes
    uar: float = field(metadata={"of": lambda n: (n.hits / n.actual).mean()})
    war: float = field(metadata={"of": lambda n: n.hits.sum() / len(n.labels)})
    macro_f1: float = field(
        metadata={"of": lambda n: (2 * n.hits / (n.actual + n.predicted)).mean()}
    )


_FUNCTIONS = {metric.name: metric.metadata["of"] for metric in fields(Metrics)}
METRICS = tuple(_FUNCTIONS)  # their names, in the order of the leaderboard's columns


def score(labels: Array, probabilities: Array) -> Metrics:
    """Score clip probabilities (N, K) against labels (N,)."""
    guesses, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    hits = np.bincount(labels[guesses == labels], minlength=classes)
    actual, predicted = (np.bincount(each, minlength=classes) for each in (labels, guesses))
    occur = actual > 0
    counts = Counts(
        labels=labels,
        probabilities=probabilities,
        hits=hits[occur],
        actual=actual[occur],
        predicted=predicted[occur],
    )
    return Metrics(**{name: float(function(counts)) for name, function in _FUNCTIONS.items()})


RESAMPLES = 2000  # bootstrap samples of an interval
LEVEL = 0.95  # of the interval: the share of such intervals that hold the true value


def uar_interval(
    labels: Array, probabilities: Array, subjects: Sequence[str], *, seed: int = 0
) -> tuple[float, float]:
    """Give the bootstrap interval of the UAR at 95 %, between two percentiles.

    Each resample draws subjects with replacement, not clips, because the clips of one subject
    resemble each other (Efron and Tibshirani 1993, chapter 8,
    https://doi.org/10.1201/9780429246593).
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
    """Compute the same UAR as `score`, and nothing else, for the loop over resamples."""
    hits = probabilities.argmax(axis=1) == labels
    counts = np.bincount(labels)
    recalls = np.bincount(labels, weights=hits)[counts > 0] / counts[counts > 0]
    return float(recalls.mean())


RULES = ("majority", "mean_probability", "mean_logit")  # how the frames of a clip vote
_LEAST = 1e-30  # replaces a probability of 0, which has no logarithm


def vote(frame_probabilities: Array, rule: str = "mean_probability") -> Array:
    """Turn frame probabilities (N, T, K) into clip probabilities (N, K).

    mean_probability: the mean over the frames.
    majority: for each class the share of frames in which it is the most probable; where two
    classes have equal shares, the class of the higher mean probability wins.
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
            shares = wins + 1e-3 / frame_probabilities.shape[1] * mean  # adds less than a vote
            voted: Array = shares / shares.sum(axis=-1, keepdims=True)
            return voted.astype(mean.dtype)
        case "mean_logit":
            logits = np.log(np.maximum(frame_probabilities, _LEAST)).mean(axis=1)
            powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
            joined: Array = powers / powers.sum(axis=-1, keepdims=True)
            return joined
        case _:
            raise ConfigError(unknown("voting", rule, RULES))
