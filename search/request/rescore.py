"""Score the trials of an older study again from their predictions, before it goes on.

An older version scored the same predictions in another way (`scoring_version`). New trials must not
stand beside such scores, so `search.session` calls `rescore` when a study is resumed.
"""

import io
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from zipfile import BadZipFile

import numpy as np

from fer_core import config as configs
from fer_core.data.study_data import StudyData
from fer_core.errors import FerError
from fer_core.intervals import with_intervals
from fer_core.scoring import SCORING_VERSION, Scored, pooled, score
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import AnyPath
from fer_core.trial.baselines import NUMBERS
from search.study.folder import Folder, write_arrays
from search.study.parts import TrialResult


def rescore(folder: Folder, study_data: StudyData) -> int:
    """Score the complete trials of older versions again, and return how many there were.

    Clips that a trial could not show, though others could, count as wrong; older versions left them
    out. A pruned trial has no predictions: it keeps its partial score, and its version.

    Raises: FerError if the predictions of a complete trial are missing or damaged.
    """
    found = folder.results([*NUMBERS, *folder.result_numbers()])
    older = [
        result
        for result in found.values()
        if result.state == "complete" and result.scoring_version < SCORING_VERSION
    ]
    without_face = set.intersection(*(set(result.skipped) for result in older)) if older else set()
    for result in older:
        try:
            _rescore(folder, result, _Clips(study_data, result, without_face))
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise FerError(
                f"study {folder.name} was scored by an older version, and the predictions of trial "
                f"{result.number}, by which it would be scored again, cannot be read; start a new "
                "study with the same --space and options."
            ) from error
    return len(older)


@dataclass(frozen=True)
class _Clips:
    """The clips of a trial: who shows them, and which of them it lost."""

    study_data: StudyData
    result: TrialResult
    without_face: Set[str]  # clips that no trial could show

    def fold(self, arrays: Mapping[str, Any], prefix: str, side: Sequence[str]) -> Scored:
        """Read a fold, or the sealed test, and append the clips of its subjects that it lost.

        Older files name the clips, and not their subjects.
        """
        config = configs.from_json(self.result.config_json) if self.result.config_json else None
        task = NUMBERS.get(self.result.number, (None,))[0] or (config and config.task)
        data = replace(self.study_data, task=task or self.study_data.task)
        by_name = {clip.clip: clip for clip in data.manifest.clips}
        people, missed = set(side), set(self.result.skipped) - self.without_face
        lost = [by_name[name] for name in sorted(missed) if by_name[name].subject in people]
        names, probabilities = arrays[f"{prefix}clips"], arrays[f"{prefix}probabilities"]
        shown = [by_name[str(name)] for name in names]
        nothing = np.full((len(lost), probabilities.shape[1]), np.nan, probabilities.dtype)
        labels = [data.classes.index(data.label(clip)) for clip in lost]
        return SimpleNamespace(
            labels=np.concatenate([arrays[f"{prefix}labels"], np.array(labels, np.int64)]),
            probabilities=np.concatenate([probabilities, nothing]),
            subjects=np.array([clip.subject for clip in (*shown, *lost)]),
        )


def _rescore(folder: Folder, result: TrialResult, clips: _Clips) -> None:
    protocol, file = clips.study_data.protocol, folder.predictions(result.number)
    arrays = _arrays(file)
    sides = protocol.folds[: len(result.fold_uars)]
    folds = [clips.fold(arrays, f"fold{i}.", side) for i, side in enumerate(sides)]
    labels, probabilities, subjects = pooled(folds)
    rungs = list(result.rung_uars)
    if rungs:
        rungs[-1] = score(labels, probabilities).uar
    if len(rungs) > 2 and len(folds) > 2:  # the rungs before this one have one fold each
        rungs[-2] = score(*pooled(folds[:2])[:2]).uar
    _rescore_sealed(folder, result, clips)
    owner = {clip.clip: clip.subject for clip in clips.study_data.manifest.clips}
    named = {
        f"fold{i}.subjects": np.array([owner[str(clip)] for clip in arrays[f"fold{i}.clips"]])
        for i in range(len(folds))
    }
    write_arrays(file, arrays | named)
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


def _rescore_sealed(folder: Folder, result: TrialResult, clips: _Clips) -> None:
    file = folder.sealed_test(result.number)
    if not file.is_file():
        return
    before = json.loads(file.read_text())
    arrays = _arrays(folder.predictions(result.number, sealed=True))
    test = clips.fold(arrays, "", clips.study_data.protocol.sealed)
    measured = with_intervals(test.labels, test.probabilities, test.subjects)
    now = {f"test_{name}": value for name, value in measured.items()}
    counts = {"test_subjects": len(np.unique(test.subjects)), "test_clips": len(test.labels)}
    write_atomically(file, json.dumps(before | now | counts).encode())


def _arrays(file: AnyPath) -> dict[str, Any]:
    with np.load(io.BytesIO(file.read_bytes())) as arrays:
        return dict(arrays)
