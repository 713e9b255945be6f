"""Studies whose trials have made predictions: what is right is drawn with a given accuracy."""

from dataclasses import replace

import numpy as np
import pytest

from fer_core.config import Config, GeometryConfig, RecurrentConfig
from search.study.folder import Folder, write_arrays

CELLS = {0: "gru", 1: "lstm", 2: "gru"}  # of the trials of a study
CLASSES, FOLDS, FOLD_SUBJECTS = 3, 3, 3


def config(number):
    recurrent = RecurrentConfig(cell=CELLS[number], hidden=8)
    return Config(streams=(GeometryConfig(),), recurrent=recurrent)


@pytest.fixture
def write_study(tmp_path, record, make_result):
    """Write a study with a trial or a baseline for each accuracy; give its name."""

    def write(study, accuracies, *, subjects=FOLD_SUBJECTS, sealed=(), **options):
        folder = Folder(tmp_path / "studies" / study)
        folder.path.mkdir(parents=True)
        folder.write_record(replace(record, study=study, task="emotion", **options))
        for number, accuracy in accuracies.items():
            drawn = config(number) if number >= 0 else None
            folder.write_result(make_result(number, config=drawn, scoring_version=2))
            folds = [fold(f"{i}", subjects, accuracy, seed=number + 20 * i) for i in range(FOLDS)]
            named = {f"fold{i}.{key}": each[key] for i, each in enumerate(folds) for key in each}
            write_arrays(folder.predictions(number), named)
            if number in sealed:
                write_arrays(folder.predictions(number, sealed=True), folds[0])
                folder.sealed_test(number).parent.mkdir(exist_ok=True)
                folder.sealed_test(number).write_text("{}")
        return study

    return write


def fold(name, subjects, accuracy, *, seed):
    """Predictions of two clips of each class and subject; the share of them that is right."""
    labels = np.tile(np.repeat(np.arange(CLASSES), 2), subjects)
    right = np.random.default_rng(100 + seed).random(len(labels)) < accuracy
    guesses = np.where(right, labels, (labels + 1) % CLASSES)
    return {
        "clips": np.array([f"{name}-{i:03}" for i in range(len(labels))]),
        "subjects": np.repeat([f"{name}-{i}" for i in range(subjects)], 2 * CLASSES),
        "labels": labels,
        "probabilities": np.eye(CLASSES)[guesses],
    }


@pytest.fixture
def studies(tmp_path):
    return tmp_path / "studies"
