"""The published metrics, on clips: fractions in [0, 1], never percent."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, recall_score

from fer_core.store import Array


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """UAR (unweighted average recall), WAR (accuracy) and macro-F1 over the classes that occur."""

    uar: float
    war: float
    macro_f1: float


def score(labels: Array, probabilities: Array) -> Metrics:
    """Score clip probabilities (N, K) against labels (N,)."""
    predicted = probabilities.argmax(axis=1)
    options = {"labels": np.unique(labels), "average": "macro", "zero_division": 0.0}
    return Metrics(
        uar=float(recall_score(labels, predicted, **options)),
        war=float(accuracy_score(labels, predicted)),
        macro_f1=float(f1_score(labels, predicted, **options)),
    )
