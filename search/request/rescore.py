"""Score the trials of an older study again from their predictions, before it goes on.

An older version scored the same predictions in another way (`scoring_version`). New trials must not
stand beside such scores, so `search.session` calls `rescore` when a study is resumed.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from fer_core.data.manifest import Manifest
from fer_core.errors import FerError
from fer_core.intervals import with_intervals
from fer_core.scoring import SCORING_VERSION, Scored, pooled, score
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import AnyPath
from fer_core.trial.baselines import NUMBERS
from search.study.folder import Folder
from search.study.parts import TrialResult


def rescore(folder: Folder, manifest: Manifest) -> int:
    """Score the complete trials of older versions again, and return how many there were.

    A pruned trial has no predictions: it keeps its partial score, and its version.

    Raises: FerError if the predictions of a complete trial are missing or damaged.
    """
    subject_of = {clip.clip: clip.subject for clip in manifest.clips}
    found = folder.results([*NUMBERS, *folder.result_numbers()]).values()
    older = [r for r in found if r.state == "complete" and r.scoring_version < SCORING_VERSION]
    for result in older:
        try:
            _rescore(folder, result, subject_of)
        except (OSError, KeyError, ValueError) as error:
            raise FerError(
                f"study {folder.name} was scored by an older version, and the predictions of trial "
                f"{result.number}, by which it would be scored again, cannot be read; start a new "
                "study with the same --space and options."
            ) from error
    return len(older)


def _rescore(folder: Folder, result: TrialResult, subject_of: Mapping[str, str]) -> None:
    arrays = _arrays(folder.predictions(result.number))
    folds: list[Scored] = [
        _fold(arrays, f"fold{fold}.", subject_of) for fold in range(len(result.fold_uars))
    ]
    labels, probabilities, subjects = pooled(folds)
    rungs = list(result.rung_uars)
    if rungs:
        rungs[-1] = score(labels, probabilities).uar
    if len(rungs) > 2 and len(folds) > 2:  # the rungs before this one have one fold each
        rungs[-2] = score(*pooled(folds[:2])[:2]).uar
    sealed_test = folder.sealed_test(result.number)
    if sealed_test.is_file():
        before = json.loads(sealed_test.read_text())
        test = _fold(_arrays(folder.predictions(result.number, sealed=True)), "", subject_of)
        measured = with_intervals(test.labels, test.probabilities, test.subjects)
        now = {f"test_{name}": value for name, value in measured.items()}
        write_atomically(sealed_test, json.dumps(before | now).encode())
    folder.write_result(
        replace(
            result,
            rung_uars=tuple(rungs),
            val_metrics=with_intervals(labels, probabilities, subjects),
            subjects=len(np.unique(subjects)),
            clips=len(labels),
            scoring_version=SCORING_VERSION,
        )
    )


def _fold(arrays: Mapping[str, Any], prefix: str, subject_of: Mapping[str, str]) -> Scored:
    """Read one fold, or the sealed test; older files name the clips, and not their subjects."""
    clips = arrays[f"{prefix}clips"]
    return SimpleNamespace(
        labels=arrays[f"{prefix}labels"],
        probabilities=arrays[f"{prefix}probabilities"],
        subjects=np.array([subject_of[str(clip)] for clip in clips]),
    )


def _arrays(file: AnyPath) -> dict[str, Any]:
    with np.load(io.BytesIO(file.read_bytes())) as arrays:
        return dict(arrays)
