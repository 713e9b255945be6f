"""Three simple models that every search should beat, scored on the same folds.

They are the most frequent class; a linear support vector machine on the 68 points, aligned with the
mean shape of the training subjects; and logistic regression on the features of a frozen face
network, pooled in the way that does best among the training subjects. Each scores single frames,
and the frames of a clip vote. They read the frames that the study fixes, or else those at the peak
of the dataset's expressions. `search/cluster/baseline_tasks.py` runs them beside a study's first
trials.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from fer_core.config import GIVEN, POOLINGS, TASKS, Config, GeometryConfig, StreamConfig
from fer_core.data.datasets import DATASETS

if TYPE_CHECKING:  # the imports of torch and scikit-learn take seconds; names need neither
    from fer_core.arrays import Array
    from fer_core.data.study_data import StudyData
    from fer_core.trial.evaluate import FoldResult, SealedResult, TrialData
    from fer_core.trial.linear_models import LinearModel, Read

_POINTS = Config(streams=(GeometryConfig(encoding="procrustes", hidden=0),))
_FACES = StreamConfig(backbone="dlib_resnet", weights="package", blocks=4, freeze_depth=4)
BASELINES: Mapping[str, Config] = {  # name: the config whose clips and inputs it reads
    "majority": _POINTS,
    "landmarks+svm": _POINTS,
    "features+logistic": Config(streams=(_FACES,)),
}
NUMBERS: Mapping[int, tuple[str, str]] = {  # number in a study, below those of trials: task, name
    -1 - i: pair for i, pair in enumerate(product(TASKS, BASELINES))
}


def cross_validate(name: str, study_data: "StudyData") -> Iterator["FoldResult"]:
    """Fit and score a baseline on each fold, and yield the results in order, like a trial's.

    Raises: FerError where its inputs cannot be computed from these data.
    """
    trial_data = _prepared(name, study_data)
    for fold, (train, val) in enumerate(trial_data.splits()):
        started = time.perf_counter()
        scores, params, note = _scores(name, trial_data, train, val)
        seconds = time.perf_counter() - started
        yield trial_data.result(fold, val, scores, train_seconds=seconds, params=params, note=note)


def score_sealed(name: str, study_data: "StudyData") -> "SealedResult":
    """Refit a baseline on all development subjects and score the sealed ones."""
    trial_data = _prepared(name, study_data)
    test = trial_data.rows(study_data.protocol.sealed)
    train = trial_data.rows(study_data.protocol.development)
    return trial_data.sealed(test, _scores(name, trial_data, train, test)[0])


def _prepared(name: str, study_data: "StudyData") -> "TrialData":
    """Prepare the data of a baseline, with the frames at the peak of the dataset's expressions."""
    from fer_core.trial.evaluate import prepare_trial  # imports torch: in workers only

    config, dataset = BASELINES[name], DATASETS.get(study_data.manifest.dataset)
    if study_data.given_faces and name != "landmarks+svm":  # the others need no landmarks
        config = Config(streams=(replace(_FACES, view=GIVEN),))
    if dataset is not None and dataset.peak is not None:
        config = replace(config, clip=dataset.peak)
    return prepare_trial(config, study_data)


def _scores(
    name: str, trial_data: "TrialData", train: "Array", test: "Array"
) -> tuple["Array", int, str]:
    """Fit on the rows `train`, and give the frame scores of the rows `test`, (N, T, K).

    Also gives the number of the model's parameters, and a note of what it chose and sampled.
    """
    classes = len(trial_data.study_data.classes)
    if name == "majority":
        shares = np.bincount(trial_data.labels[train], minlength=classes) / len(train)
        shape = (len(test), trial_data.context.window.frames, classes)
        return np.broadcast_to(shares.astype(np.float32), shape), 0, ""
    model = _fitted(name, trial_data, train)
    return model.scores(test, classes), model.weights.size, model.note


def _fitted(name: str, trial_data: "TrialData", train: "Array") -> "LinearModel":
    from fer_core.trial.linear_models import fitted  # imports torch: in workers only

    kind = "svm" if name == "landmarks+svm" else "logistic"
    readers = _readers(trial_data, train)
    return fitted(kind, readers, train, trial_data.labels, trial_data.subjects)


def _readers(trial_data: "TrialData", train: "Array") -> "dict[str, Read]":
    """Give for each choice of a baseline a function that reads the features of clips."""
    from fer_core.features.extraction import pooled  # imports torch: in workers only
    from fer_core.features.stream_inputs import ImageStream

    stream = trial_data.streams[0]
    if not isinstance(stream, ImageStream):
        batch = stream.fit(train).batch
        return {"": lambda rows: batch(rows, None).cpu().numpy()}
    maps = stream.maps()

    def read(rows: "Array", *, pooling: str) -> "Array":
        return pooled(maps(rows), _FACES, pooling)

    return {f"pooling {pooling}": partial(read, pooling=pooling) for pooling in POOLINGS}
