"""Three simple models that every search should beat, scored on the same folds and frames.

They are the most frequent class; a linear support vector machine on the 68 points, aligned with the
mean shape of the training subjects; and logistic regression on the features of a frozen face
network. Each scores single frames, and the frames of a clip vote. The regularisation of the linear
models is chosen by cross-validation among the training subjects. `search/cluster/baseline_tasks.py`
runs them beside a study's first trials.
"""

import time
import warnings
from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_core.config import TASKS, Config, GeometryConfig, StreamConfig

if TYPE_CHECKING:  # the imports of torch and scikit-learn take seconds; names need neither
    from fer_core.arrays import Array
    from fer_core.data.study_data import StudyData
    from fer_core.trial.evaluate import FoldResult, SealedResult, TrialData

_POINTS = Config(streams=(GeometryConfig(encoding="procrustes", hidden=0),))
_FACES = StreamConfig(
    backbone="dlib_resnet", weights="package", blocks=4, freeze_depth=4, pooling="avg"
)
BASELINES: Mapping[str, Config] = {  # name: the config whose clips and inputs it reads
    "majority": _POINTS,
    "landmarks+svm": _POINTS,
    "features+logistic": Config(streams=(_FACES,)),
}
NUMBERS: Mapping[int, tuple[str, str]] = {  # number in a study, below those of trials: task, name
    -1 - i: pair for i, pair in enumerate(product(TASKS, BASELINES))
}
PENALTIES = {"C": [1e-3, 1e-2, 1e-1, 1.0]}  # inverse strength of the regularisation
INNER_FOLDS = 3  # folds of the training subjects, to choose a penalty
MOST_STEPS = 2000  # most iterations of a solver


def cross_validate(name: str, study_data: "StudyData") -> Iterator["FoldResult"]:
    """Fit and score a baseline on each fold, and yield the results in order, like a trial's.

    Raises: FerError where its inputs cannot be computed from these data.
    """
    from fer_core.trial.evaluate import prepare_trial  # imports torch: in workers only

    trial_data = prepare_trial(BASELINES[name], study_data)
    for fold, (train, val) in enumerate(trial_data.splits()):
        started = time.perf_counter()
        scores, params = _scores(name, trial_data, train, val)
        seconds = time.perf_counter() - started
        yield trial_data.result(fold, val, scores, train_seconds=seconds, params=params)


def score_sealed(name: str, study_data: "StudyData") -> "SealedResult":
    """Refit a baseline on all development subjects and score the sealed ones."""
    from fer_core.trial.evaluate import prepare_trial  # imports torch: in workers only

    trial_data = prepare_trial(BASELINES[name], study_data)
    test = trial_data.rows(study_data.protocol.sealed)
    train = trial_data.rows(study_data.protocol.development)
    return trial_data.sealed(test, _scores(name, trial_data, train, test)[0])


def _scores(
    name: str, trial_data: "TrialData", train: "Array", test: "Array"
) -> tuple["Array", int]:
    """Fit on the rows `train`, and give the frame scores of the rows `test`, (N, T, K).

    Also gives the number of the model's parameters.
    """
    batch = trial_data.streams[0].fit(train).batch
    train_inputs, test_inputs = (batch(rows, None).cpu().numpy() for rows in (train, test))
    frames, dim = train_inputs.shape[1:]
    model = _fitted(
        name,
        train_inputs.reshape(-1, dim),
        np.repeat(trial_data.labels[train], frames),
        np.repeat(trial_data.subjects[train], frames),
    )
    scores = np.zeros((len(test) * frames, len(trial_data.study_data.classes)), np.float32)
    scores[:, model.classes_] = _probabilities(model, test_inputs.reshape(-1, dim))
    return scores.reshape(len(test), frames, -1), np.size(getattr(model, "coef_", ()))


def _fitted(name: str, frames: "Array", labels: "Array", subjects: "Array") -> Any:
    """Fit the baseline `name` on frames (N, D), their labels (N,) and their subjects (N,)."""
    from sklearn.dummy import DummyClassifier  # the import takes a second
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import make_scorer, recall_score
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.svm import LinearSVC

    if name == "majority":
        return DummyClassifier(strategy="prior").fit(frames, labels)
    options = {"class_weight": "balanced", "max_iter": MOST_STEPS, "random_state": 0}
    model = (LinearSVC if name == "landmarks+svm" else LogisticRegression)(**options)
    folds = GroupKFold(min(INNER_FOLDS, len(set(subjects))))
    uar = make_scorer(recall_score, average="macro", zero_division=0.0)
    with warnings.catch_warnings():  # a solver that is stopped early has a usable model too
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = GridSearchCV(model, PENALTIES, scoring=uar, cv=folds)
        return search.fit(frames, labels, groups=subjects).best_estimator_


def _probabilities(model: Any, frames: "Array") -> "Array":
    """Score frames, (N, K): the model's probabilities, or the softmax of a machine's distances."""
    if hasattr(model, "predict_proba"):
        probabilities: Array = model.predict_proba(frames)
        return probabilities
    distances = model.decision_function(frames)
    if distances.ndim == 1:  # two classes have one plane between them
        distances = np.stack([-distances, distances], axis=1)
    powers = np.exp(distances - distances.max(axis=1, keepdims=True))
    softmax: Array = powers / powers.sum(axis=1, keepdims=True)
    return softmax
