"""Find a finished row of a leaderboard, and the folder of its study, by the name that a user gives.

`search.replay` trains such a row again, and `search.compare` compares its predictions with those of
other rows.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from fer_core.errors import FerError
from fer_core.storage.paths import AnyPath
from search.study import folder as folders
from search.study.folder import Folder
from search.study.parts import TrialResult


@dataclass(frozen=True)
class FoundRow:
    """A trial or a baseline that has a result, and the folder of its study."""

    folder: Folder
    result: TrialResult

    @property
    def name(self) -> str:
        """The row's name, STUDY/TRIAL."""
        return f"{self.folder.name}/{self.result.number}"


def find(row: str, studies: AnyPath) -> FoundRow:
    """Find a row by its study and trial, or by its config_id. Baselines have numbers below 0.

    Raises: FerError if there is none, or if its result is damaged.
    """
    named = re.fullmatch(r"(.+)[/:](-?\d+)", row)
    if named:
        return _of_study(folders.find(named[1], studies), int(named[2]))
    all_folders = [Folder(file.parents[1]) for file in _all(studies, "*/parts/*.json")]
    found = {
        each.name: each
        for folder in dict.fromkeys(all_folders)
        for each in _rows(folder)
        if _config_id(each.result) == row
    }
    if not found:
        raise FerError(
            f"no row '{row}' in the studies of {studies}; name it STUDY/TRIAL, or by its config_id."
        )
    if len(found) > 1:
        raise FerError(f"'{row}' is the config of several rows; name one: {', '.join(found)}.")
    return next(iter(found.values()))


def _of_study(folder: Folder, number: int) -> FoundRow:
    folder.record()  # refuses a study of a newer format before its results are read
    result = folder.result(number)
    if result is None and folder.has_result(number):
        raise FerError(f"the result of trial {number} of study {folder.name} is damaged.")
    if result is None:
        raise FerError(f"study {folder.name} has no finished trial {number}.")
    return FoundRow(folder, result)


def _config_id(result: TrialResult) -> str | None:
    if result.config_json is None:
        return None
    return hashlib.sha256(result.config_json.encode()).hexdigest()[:16]


def _all(folder: AnyPath, pattern: str) -> list[AnyPath]:
    return sorted(folder.glob(pattern), key=str)


def _rows(folder: Folder) -> Iterator[FoundRow]:
    """Read the result of every finished trial of a study."""
    numbers = [file.stem for file in _all(folder.path, "parts/*.json")]
    for number in filter(lambda each: each.removeprefix("-").isdigit(), numbers):
        result = folder.result(int(number))
        if result is not None:
            yield FoundRow(folder, result)
