"""The score of a nested study: what its whole procedure reaches on subjects that it never saw.

In a nested study each fold of the subjects is sealed in turn, and a search on the other folds
chooses a trial, which is tested on the sealed fold once (`search/session/nested.py`). Here the
predictions of all sealed folds are scored together, so every subject counts once, and the interval
is over all subjects. The score is that of the procedure (the space, the sampler and the number of
trials), and not of any single trial (Cawley and Talbot 2010,
https://jmlr.org/papers/v11/cawley10a.html).
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from fer_core import config as configs
from fer_core.config import TASKS
from fer_core.errors import FerError
from fer_core.intervals import with_intervals
from fer_core.scoring import SCORING_VERSION
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import AnyPath
from search.results import leaderboard, predictions
from search.results.columns import Row
from search.study import parts
from search.study.folder import Folder, Record

# What stands in the column `trial` of a task's nested score.
NUMBERS: Mapping[str, int] = {task: -50 - place for place, task in enumerate(TASKS)}


def read(folder: Folder) -> dict[str, dict[str, Any]]:
    """Read the nested scores of a study, by task. A study that is not nested has none."""
    try:
        found: dict[str, dict[str, Any]] = json.loads(_file(folder).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _file(folder: Folder) -> AnyPath:
    return folder.path / "outer" / "scores.json"


def rows(folder: Folder, record: Record) -> list[Row]:
    """Give the rows of a study's nested scores; there is one for each task."""
    return [
        Row(
            **leaderboard.study_fields(record),
            **leaderboard.sealed_fields(scores["scores"]),
            dataset=record.dataset,
            task=task,
            protocol_id=record.protocol_id,
            trial=NUMBERS[task],
            source="nested",
            folds=scores["folds"],
            note=scores["note"],
            versions=json.dumps(record.versions | leaderboard.sources(record)),
            data_sha256=record.data_sha256,
            split_sha256=record.split_sha256,
            split=record.split,
            frames_read=leaderboard.frames_read(record),
            scoring_version=scores["scoring_version"],
            started_at=datetime.fromisoformat(record.started_at),
            finished_at=datetime.fromisoformat(scores["finished_at"]),
        )
        for task, scores in read(folder).items()
    ]


def write(folder: Folder, outer: Sequence[Folder], *, opened_before: int) -> None:
    """Score the sealed folds of all searches together, and write the score of each task.

    Each search, in the folders `outer`, has tested its headlines. A task is scored if it has one in
    each of them. `opened_before` is how many other studies had tested some of the subjects.

    Raises: FerError if the predictions of a sealed test are lost.
    """
    headlines = [each.headlines() for each in outer]
    found = {}
    for task in TASKS:
        if all(task in of_fold for of_fold in headlines):
            numbers = [of_fold[task] for of_fold in headlines]
            found[task] = {
                "scores": _scores(outer, numbers) | {"opened_before": opened_before},
                "scoring_version": SCORING_VERSION,
                "folds": len(outer),
                "note": _note(list(map(_family, outer, numbers))),
                "finished_at": parts.now(),
            }
    write_atomically(_file(folder), json.dumps(found).encode())


def _family(outer: Folder, number: int) -> str:
    result = outer.result(number)
    return configs.from_json(result.config_json).family if result and result.config_json else "lost"


def _scores(outer: Sequence[Folder], numbers: Sequence[int]) -> dict[str, Any]:
    """Score the sealed predictions of these trials, one of each search, together."""
    whole = []
    for folder, number in zip(outer, numbers, strict=True):
        found = predictions.read(folder, number, sealed=True)
        if found is None:
            raise FerError(
                f"{folder.predictions(number, sealed=True)} is missing or damaged, so the "
                "nested score cannot be computed; start a new study."
            )
        whole.append(found)
    labels, probabilities, subjects = (
        np.concatenate([getattr(each, name) for each in whole])
        for name in ("labels", "probabilities", "subjects")
    )
    measured = with_intervals(labels, probabilities, subjects)
    return {f"test_{name}": value for name, value in measured.items()} | {
        "test_subjects": len(set(subjects)),
        "test_clips": len(labels),
    }


def _note(families: Sequence[str]) -> str:
    chosen = ", ".join(f"{name} {count}" for name, count in Counter(families).most_common())
    return f"{len(families)} searches, each tested on a fold that it never saw; chosen: {chosen}"
