"""Correct the best val_uar of a study for having been chosen as the best, without any training.

The more trials a search compares, the more the score of its best one flatters it. `board.py` puts
the corrected score into the column `val_uar_corrected` of the best trial. It is computed from the
stored predictions by BBC-CV (Tsamardinos, Greasidou and Borboudakis 2018,
https://doi.org/10.1007/s10994-018-5714-4), with subjects in place of samples.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np

from fer_core.arrays import Array
from fer_core.storage.s3_requests import at_once
from search.study.folder import Folder

RESAMPLES = 1000  # bootstrap samples of the subjects
_BLOCKS = 500  # groups into which more subjects are put
_AT_ONCE = 50  # trials whose predictions are in memory together
_LEAST = 2  # trials; a single one was not chosen


@dataclass(frozen=True)
class HitCounts:
    """What T trials got right of S subjects, or blocks of subjects, and C classes."""

    clips: Array  # (S, C) clips of a subject and class
    hits: Array  # (T, S, C) those of them that a trial predicted right


def corrected(found: HitCounts, *, resamples: int = RESAMPLES, seed: int = 0) -> float | None:
    """Estimate the UAR of the trial that a search chooses as the best of these.

    In each resample of the subjects, the best trial is chosen by the subjects that were drawn, and
    scored on those that were not. The estimate is the mean of these scores; None for fewer than two
    trials or subjects.
    """
    trials, subjects = found.hits.shape[:2]
    if trials < _LEAST or subjects < _LEAST:
        return None
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples)
    others = drawn == 0
    usable = others.any(axis=1)
    drawn, others = drawn[usable].astype(np.float32), others[usable].astype(np.float32)
    best = _uars(found, drawn).argmax(axis=1)
    scores = np.take_along_axis(_uars(found, others), best[:, None], axis=1)
    return float(scores.mean())


def _uars(found: HitCounts, weights: Array) -> Array:
    """Score each trial on subjects with the weights (R, S): (R, T)."""
    total = np.zeros((len(weights), len(found.hits)), np.float32)
    seen = np.zeros((len(weights), 1), np.float32)
    for kind in range(found.clips.shape[1]):
        clips = (weights @ found.clips[:, kind].astype(np.float32))[:, None]
        hits = weights @ found.hits[:, :, kind].T.astype(np.float32)
        total += np.divide(hits, clips, out=np.zeros_like(total), where=clips > 0)
        seen += clips > 0
    uars: Array = total / np.maximum(seen, 1)
    return uars


def read(folder: Folder, numbers: Sequence[int]) -> HitCounts | None:
    """Read what trials got right from their predictions; None if those of the first are missing.

    Trials that were scored on other clips than the first one are left out, and so are those whose
    predictions are missing, or of a version that did not note the subjects.
    """
    first = _predictions(folder, numbers[0]) if numbers else None
    if first is None:
        return None
    clips, subjects, labels, _ = first
    people, of_clip = np.unique(subjects, return_inverse=True)
    places = (of_clip % _BLOCKS, labels)
    shape = (min(len(people), _BLOCKS), int(labels.max()) + 1)
    hits = []
    for start in range(0, len(numbers), _AT_ONCE):
        some = numbers[start : start + _AT_ONCE]
        for found in filter(None, at_once(lambda number: _predictions(folder, number), some)):
            if np.array_equal(found[0], clips):
                hits.append(np.zeros(shape, np.float32))
                np.add.at(hits[-1], places, found[3])
    counts = np.zeros(shape, np.float32)
    np.add.at(counts, places, 1)
    return HitCounts(counts, np.stack(hits))


def _predictions(folder: Folder, number: int) -> tuple[Array, Array, Array, Array] | None:
    """Give a trial's clips in the order of their names: names, subjects, labels, whether right."""
    try:
        content = folder.predictions(number).read_bytes()
        with np.load(io.BytesIO(content)) as arrays:
            columns = map(np.concatenate, zip(*_folds(arrays), strict=True))
            clips, subjects, labels, probabilities = columns
    except (OSError, KeyError, ValueError, BadZipFile):
        return None
    made = ~np.isnan(probabilities).any(axis=1)
    right = made & (probabilities.argmax(axis=1) == labels)
    order = np.argsort(clips, kind="stable")
    return clips[order], subjects[order], labels[order], right[order]


def _folds(arrays: Mapping[str, Any]) -> Iterator[tuple[Array, Array, Array, Array]]:
    folds = [name.partition(".")[0] for name in arrays if name.endswith(".clips")]
    for fold in folds:
        names = ("clips", "subjects", "labels", "probabilities")
        clips, subjects, labels, probabilities = (arrays[f"{fold}.{name}"] for name in names)
        yield clips, subjects, labels, probabilities
