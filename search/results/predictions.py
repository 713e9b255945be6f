"""Read the stored predictions of a trial: of its validation folds, or of its sealed test.

The correction of the best score, the comparison of trials and the leaderboard read them here.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np

from fer_core.arrays import Array
from search.study.folder import Folder

_NAMES = ("clips", "subjects", "labels", "probabilities")


@dataclass(frozen=True)
class Predictions:
    """What a model predicted of N clips and K classes, in the order of the clips' names."""

    clips: Array  # (N,) names
    subjects: Array  # (N,) names
    labels: Array  # (N,) indices of classes
    probabilities: Array  # (N, K); NaN for a clip that the model could not be shown
    folds: Array  # (N,) the validation fold of each clip; 0 in a sealed test

    @property
    def right(self) -> Array:
        """Whether each clip was predicted right (N,); one that could not be shown was not."""
        shown = ~np.isnan(self.probabilities).any(axis=1)
        right: Array = shown & (self.probabilities.argmax(axis=1) == self.labels)
        return right

    def same_clips(self, other: "Predictions") -> bool:
        """Return whether another model was scored on the same clips with the same labels."""
        return np.array_equal(self.clips, other.clips) and np.array_equal(self.labels, other.labels)


def read(
    folder: Folder, number: int, *, sealed: bool = False, repeat: int = 0
) -> Predictions | None:
    """Read the predictions of a trial or a baseline; `repeat` counts the seeds of a sealed test.

    None where they are missing or damaged, or of a version that did not note the subjects.
    """
    try:
        content = folder.predictions(number, sealed=sealed, repeat=repeat).read_bytes()
        with np.load(io.BytesIO(content)) as arrays:
            columns = _columns(arrays, [""] if sealed else _fold_prefixes(arrays))
    except (OSError, KeyError, ValueError, BadZipFile):
        return None
    order = np.argsort(columns[0], kind="stable")
    return Predictions(*(column[order] for column in columns))


def _fold_prefixes(arrays: Mapping[str, Any]) -> list[str]:
    return [name.removesuffix("clips") for name in arrays if name.endswith(".clips")]


def _columns(arrays: Mapping[str, Any], prefixes: list[str]) -> list[Array]:
    """Join the arrays of several folds, and add the fold of each clip."""
    parts = [[arrays[f"{prefix}{name}"] for name in _NAMES] for prefix in prefixes]
    joined = [np.concatenate([part[i] for part in parts]) for i in range(len(_NAMES))]
    return [*joined, np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])]
