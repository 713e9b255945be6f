"""Fit the linear models of the baselines, and choose how their features are pooled.

The pooling and the strength of the regularisation are those that do best over inner folds of the
training subjects. A fit reads a sample of the training clips where there are too many of them; a
sample has as equal numbers of each class, and of each subject in a class, as the clips allow.
`baselines` calls `fitted`, and writes into the result what was chosen and sampled.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_core.arrays import Array
from fer_core.features.reduction import standard

# Inverse strengths of the regularisation, for frames of length 1 on average.
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
INNER_FOLDS = 3  # folds of the training subjects, to choose a pooling and a strength
MOST_STEPS = 2000  # most iterations of a solver
# A fit reads at most so many frames and numbers, so that it takes seconds. That is 20,000 pooled
# frames, or 4,096 of an un-pooled map of 8,192 numbers.
MOST_FRAMES, MOST_NUMBERS = 20_000, 2**25
_CHUNK = 256  # clips that are read at once
_JITTER = 1e-10  # added to the diagonal of a Gram matrix, as a share of it: frames may be equal

Read = Callable[[Array], Array]  # rows (B,) of clips to the features of their frames, (B, T, D)


@dataclass(frozen=True, kw_only=True)
class LinearModel:
    """A linear model of single frames. It scores S = K classes, or S = 1 where there are two."""

    read: Read
    mean: Array  # (D,)
    scale: Array  # (D,)
    weights: Array  # (D, S)
    bias: Array  # (S,)
    classes: Array  # (K,) numbers of the classes that it was trained on
    one_sided: bool  # of two classes, the first scores 0 instead of the second's score negated
    note: str  # what was chosen, and of which clips it was fitted

    def scores(self, rows: Array, classes: int) -> Array:
        """Give the probabilities (N, T, classes) of the frames of clips, some clips at a time."""
        chunks = np.array_split(rows, -(-len(rows) // _CHUNK))
        return np.concatenate([self._probabilities(self.read(chunk), classes) for chunk in chunks])

    def _probabilities(self, features: Array, classes: int) -> Array:
        distances = ((features - self.mean) / self.scale) @ self.weights + self.bias
        if distances.shape[-1] == 1:  # two classes have one plane between them
            first = np.zeros_like(distances) if self.one_sided else -distances
            distances = np.concatenate([first, distances], axis=-1)
        powers = np.exp(distances - distances.max(axis=-1, keepdims=True))
        result = np.zeros((*features.shape[:2], classes), np.float32)
        result[..., self.classes] = powers / powers.sum(axis=-1, keepdims=True)
        return result


def fitted(
    kind: str, readers: Mapping[str, Read], train: Array, labels: Array, subjects: Array
) -> LinearModel:
    """Fit a model of each reader on the rows `train`, and give the best over inner folds.

    `kind` is "logistic" or "svm"; `readers` are named as they shall be in the model's note.
    `labels` and `subjects` are those of all rows.
    """
    tried = [_fit(kind, name, read, train, labels, subjects) for name, read in readers.items()]
    return max(tried, key=lambda pair: pair[0])[1]


def sampled(rows: Array, labels: Array, subjects: Array, most: int) -> Array:
    """Draw at most `most` rows, from each class alike, and within a class from each subject.

    `labels` and `subjects` are those of all rows. The draw is the same each time.
    """
    if len(rows) <= most:
        return rows
    drawn = np.random.default_rng(0).permutation(rows)
    own = np.unique(subjects[drawn], return_inverse=True)[1]
    turn = _turns(np.stack([labels[drawn], own], axis=1))  # place among a subject's in the class
    drawn = drawn[np.argsort(turn, kind="stable")]
    turn = _turns(labels[drawn][:, None])  # place in the class
    return np.sort(drawn[np.argsort(turn, kind="stable")][:most])


def _turns(groups: Array) -> Array:
    """Number the members of each group, (N, G) to (N,), in the order in which they come."""
    group = np.unique(groups, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], group[order])
    turns = np.empty(len(group), np.intp)
    turns[order] = np.arange(len(group)) - starts
    return turns


def _fit(
    kind: str, name: str, read: Read, train: Array, labels: Array, subjects: Array
) -> tuple[float, LinearModel]:
    """Fit a model on what one reader gives; also give its score over the inner folds."""
    frames, dim = read(train[:1]).shape[1:]
    most = min(MOST_FRAMES, MOST_NUMBERS // dim) // frames
    rows = sampled(train, labels, subjects, max(2, most))
    chunks = np.array_split(rows, -(-len(rows) // _CHUNK))
    features = np.concatenate([read(chunk) for chunk in chunks]).reshape(-1, dim)
    plain = standard(features)
    scale = plain.scale * np.float32(np.sqrt(dim))
    # In double precision: a solver of one thread and of two then stops at the same step.
    x = ((features - plain.mean) / scale).astype(np.float64)
    classes, targets = np.unique(np.repeat(labels[rows], frames), return_inverse=True)
    score, model, weights = _solved(kind, x, targets, np.repeat(subjects[rows], frames))
    chosen = [name] if name else []
    if len(rows) < len(train):
        chosen.append(f"fitted on a sample of {len(rows) * frames:,} training frames")
    return score, LinearModel(
        read=read,
        mean=plain.mean,
        scale=scale,
        weights=weights,
        bias=model.intercept_,
        classes=classes,
        one_sided=kind == "logistic",
        note=", ".join(chosen),
    )


def _solved(kind: str, x: Array, labels: Array, subjects: Array) -> tuple[float, Any, Array]:
    """Choose the strength of the regularisation; give its score, the model and its weights (D, S).

    Fewer frames N than features D are first written as N coordinates that have the same inner
    products. The regularised model is the same in them, and costs less.
    """
    from scipy.linalg import cholesky, solve_triangular

    if len(x) >= x.shape[1]:
        score, model = _searched(kind, x, labels, subjects)
        return score, model, model.coef_.T
    products = x @ x.T
    products[np.diag_indices(len(x))] += _JITTER * products.trace() / len(x)
    coordinates = cholesky(products, lower=True)
    score, model = _searched(kind, coordinates, labels, subjects)
    return score, model, x.T @ solve_triangular(coordinates, model.coef_.T, lower=True, trans="T")


def _searched(kind: str, x: Array, labels: Array, subjects: Array) -> tuple[float, Any]:
    """Choose the strength of the regularisation over inner folds; give its score and the model."""
    from sklearn.exceptions import ConvergenceWarning  # the import takes a second
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import make_scorer, recall_score
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.svm import LinearSVC

    options = {"class_weight": "balanced", "max_iter": MOST_STEPS, "random_state": 0}
    model = (LinearSVC if kind == "svm" else LogisticRegression)(**options)
    folds = min(INNER_FOLDS, len(set(subjects)))
    if folds < 2:  # nobody is left to choose by
        return 0.0, model.fit(x, labels)
    uar = make_scorer(recall_score, average="macro", zero_division=0.0)
    with warnings.catch_warnings():  # a solver that is stopped early has a usable model too
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = GridSearchCV(model, {"C": list(STRENGTHS)}, scoring=uar, cv=GroupKFold(folds))
        search.fit(x, labels, groups=subjects)
    return float(np.nan_to_num(search.best_score_)), search.best_estimator_
