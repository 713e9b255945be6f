"""Read the rows that a user wants to compare, and refuse those whose scores do not compare.

`search.compare` names rows as STUDY/TRIAL or by a config_id; NAME=ROW names the method too. Rows of
different datasets need not compare with each other, but rows of one dataset must.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from fer_core import config as configs
from fer_core.errors import FerError
from fer_core.scoring import score
from fer_core.storage.paths import AnyPath
from fer_core.trial.baselines import NUMBERS
from search.results import predictions, rows
from search.results.predictions import Predictions
from search.results.rows import FoundRow
from search.study.folder import Record
from search.study.parts import TrialResult


@dataclass(frozen=True, kw_only=True)
class ScoredRow:
    """A row with its predictions: of its validation folds, or of its sealed test."""

    name: str  # STUDY/TRIAL
    method: str  # what the user called it, or its family
    named: bool  # whether the user named the method
    dataset: str
    own_files: bool  # whether the dataset is a folder of the user's, which gave it its name
    task: str
    conditions: Mapping[str, str]  # what must be equal for scores to compare, in words
    predictions: Predictions

    @property
    def fold_uars(self) -> tuple[float, ...]:
        """The UAR of each fold, in an order that is the same for rows with the same folds."""
        found = self.predictions
        _, first = np.unique(found.folds, return_index=True)
        folds = [found.folds == found.folds[place] for place in sorted(first)]
        return tuple(score(found.labels[at], found.probabilities[at]).uar for at in folds)


def read(names: Sequence[str], studies: AnyPath, *, sealed: bool) -> list[ScoredRow]:
    """Read rows with their predictions, in the order in which they were named.

    Raises: FerError where a row is missing, has no predictions, or is named twice; and where rows
        of one dataset do not compare.
    """
    found = _with_one_name_for_each_data([_read(name, studies, sealed=sealed) for name in names])
    for i, row in enumerate(found):
        if row.name in {other.name for other in found[:i]}:
            raise FerError(f"row {row.name} is named twice.")
        first = next(other for other in found if other.dataset == row.dataset)
        _check_compares(first, row)
    return _with_own_names(found)


def _read(name: str, studies: AnyPath, *, sealed: bool) -> ScoredRow:
    method, row = _method_and_row(name)
    found = rows.find(row, studies)
    record = found.folder.record()
    task, family = _task_and_family(found.result, record)
    return ScoredRow(
        name=found.name,
        method=method or family,
        named=bool(method),
        dataset=_dataset(record),
        own_files=record.dataset == "folder",
        task=task,
        conditions={
            "task": task,
            "split": record.protocol_id,
            "data": record.data_sha256[:12],
            "landmarks": str(record.landmarks),
            "clips without a face": record.missing or "leave-out",
            "frames": json.dumps(record.clip, sort_keys=True) if record.clip else "of each space",
            "scoring version": str(found.result.scoring_version),
        },
        predictions=_predictions(found, sealed=sealed),
    )


def _method_and_row(text: str) -> tuple[str, str]:
    """Split NAME=ROW. A path may hold an equals sign too."""
    method, equals, row = text.partition("=")
    return (method, row) if equals and method and "/" not in method else ("", text)


def _dataset(record: Record) -> str:
    """Name the dataset; files of the user's own are named by their folder."""
    own = record.dataset == "folder" and record.data_root
    return PurePosixPath(str(record.data_root)).name if own else record.dataset


def _with_one_name_for_each_data(found: Sequence[ScoredRow]) -> list[ScoredRow]:
    """Give rows of the same files of a user one dataset: the folder may have been renamed."""
    first = {row.conditions["data"]: row.dataset for row in reversed(found) if row.own_files}
    return [
        replace(row, dataset=first[row.conditions["data"]]) if row.own_files else row
        for row in found
    ]


def _task_and_family(result: TrialResult, record: Record) -> tuple[str, str]:
    if result.number in NUMBERS:
        return NUMBERS[result.number]
    if result.config_json is None:
        return record.task, "no config"
    config = configs.from_json(result.config_json)
    return config.task or record.task, config.family


def _predictions(row: FoundRow, *, sealed: bool) -> Predictions:
    number = row.result.number
    if row.result.state != "complete":
        raise FerError(
            f"row {row.name} is {row.result.state}: only complete rows have predictions."
        )
    if sealed and not row.folder.sealed_test(number).is_file():
        raise FerError(
            f"row {row.name} had no sealed test. --test compares rows that had theirs; it tests "
            "none."
        )
    file = row.folder.predictions(number, sealed=sealed)
    if not file.is_file():
        raise FerError(f"row {row.name} has no predictions: {file} does not exist.")
    found = predictions.read(row.folder, number, sealed=sealed)
    if found is None:
        raise FerError(
            f"the predictions of row {row.name} cannot be compared: {file} is damaged, or of a "
            "version that did not note the subjects."
        )
    return found


def _check_compares(row: ScoredRow, other: ScoredRow) -> None:
    """Refuse two rows of one dataset whose scores do not compare."""
    for name, value in row.conditions.items():
        if other.conditions[name] != value:
            raise FerError(
                f"rows {row.name} and {other.name} of {row.dataset} do not compare: {name} {value} "
                f"and {other.conditions[name]}."
            )
    ours, theirs = row.predictions, other.predictions
    if not ours.same_clips(theirs):
        raise FerError(
            f"rows {row.name} and {other.name} do not compare: they were scored on different clips "
            f"({len(ours.clips)} and {len(theirs.clips)})."
        )
    both = set(zip(ours.folds, theirs.folds, strict=True))
    if not len(both) == len(set(ours.folds)) == len(set(theirs.folds)):
        raise FerError(
            f"rows {row.name} and {other.name} do not compare: they were scored on other folds."
        )


def _with_own_names(found: Sequence[ScoredRow]) -> list[ScoredRow]:
    """Give each row of a dataset a method of its own, where the user named none.

    Rows of one family are told apart by their trial, or by their study too if they have several.

    Raises: FerError where the user gave one name to two rows of a dataset, and where rows of
        several datasets do not tell which rows are of one method.
    """
    several = len({row.dataset for row in found}) > 1
    unique: list[ScoredRow] = []
    for row in found:
        alike = [each for each in found if (each.dataset, each.method) == (row.dataset, row.method)]
        if len(alike) > 1 and (row.named or several):
            raise FerError(
                f"{alike[0].name} and {alike[1].name} are both {row.method} on {row.dataset}: name "
                "the methods apart, as in NAME=ROW."
            )
        studies = {each.name.rpartition("/")[0] for each in alike}
        short = f"{row.method} {row.name.rpartition('/')[2]}" if len(studies) == 1 else row.name
        unique.append(replace(row, method=short) if len(alike) > 1 else row)
    return unique
