"""The published metrics, on clips: fractions in [0, 1], never percent.

They are counted here, and tested against scikit-learn's, whose checks of its arguments take ten
times as long as a small trial's epoch.
"""

from dataclasses import dataclass

import numpy as np

from fer_core.store import Array


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
