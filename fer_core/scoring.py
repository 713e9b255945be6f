"""Turn the scores of single frames into scores of clips, and score those against the labels.

`vote` joins the frames of a clip, and `score` computes the metrics of a set of clips. Trials,
baselines and sealed tests are all scored here, and `intervals` tells how uncertain a metric is. The
leaderboard takes its metric columns from the fields of `Metrics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol

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
    `val_<metric>` and `test_<metric>`. All are means over the classes that occur, but for those
    that weigh all clips alike (`weighs_clips`).
    """

    # unweighted average recall; weighted average recall, which is accuracy; the mean F1 of classes
    uar: float = field(metadata={"of": lambda n: (n.hits / n.actual).mean()})
    war: float = field(
        metadata={"of": lambda n: n.hits.sum() / len(n.labels), "weighs_clips": True}
    )
    macro_f1: float = field(
        metadata={"of": lambda n: (2 * n.hits / (n.actual + n.predicted)).mean()}
    )


_FUNCTIONS = {metric.name: metric.metadata["of"] for metric in fields(Metrics)}
METRICS = tuple(_FUNCTIONS)  # their names, in the order of the leaderboard's columns


def weighs_clips(metric: str) -> bool:
    """Return whether a metric weighs all clips alike; the others weigh all classes alike."""
    return any(each.name == metric and "weighs_clips" in each.metadata for each in fields(Metrics))


SCORING_VERSION = 2  # raise it when the same predictions get another score


def score(labels: Array, probabilities: Array) -> Metrics:
    """Score clip probabilities (N, K) against labels (N,).

    A clip whose probabilities are NaN was not predicted, and counts as wrong.
    """
    guesses, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    made = ~np.isnan(probabilities).any(axis=1)
    hits = np.bincount(labels[made & (guesses == labels)], minlength=classes)
    actual, predicted = (np.bincount(each, minlength=classes) for each in (labels, guesses[made]))
    occur = actual > 0
    counts = Counts(
        labels=labels,
        probabilities=probabilities,
        hits=hits[occur],
        actual=actual[occur],
        predicted=predicted[occur],
    )
    return Metrics(**{name: float(function(counts)) for name, function in _FUNCTIONS.items()})


class Scored(Protocol):
    """A fold, or another set of N clips, with its predictions."""

    @property
    def labels(self) -> Array: ...  # (N,)

    @property
    def probabilities(self) -> Array: ...  # (N, K)

    @property
    def subjects(self) -> Array: ...  # (N,)


def pooled(folds: Sequence[Scored]) -> tuple[Array, Array, Array]:
    """Join folds, to be scored together: labels, probabilities and subjects of all their clips.

    A fold may lack a class. The mean of the folds' UARs would then be a mean over other classes in
    each fold.
    """
    return (
        np.concatenate([fold.labels for fold in folds]),
        np.concatenate([fold.probabilities for fold in folds]),
        np.concatenate([fold.subjects for fold in folds]),
    )


RULES = ("majority", "mean_probability", "mean_logit")  # how the frames of a clip vote
_LEAST = 1e-30  # replaces a probability of 0, which has no logarithm


def vote(frame_probabilities: Array, rule: str = "mean_probability") -> Array:
    """Turn frame probabilities (N, T, K) into clip probabilities (N, K); NaN stays NaN.

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
