"""Find the places of a study that goes on: its store, its leaderboards, its dataset and its files.

A project may have been renamed, a dataset moved. `found` takes what the user names now, then what
study.json says, then the same position as seen from the study's folder. What is in none of these
places is asked for: a recorded place is never made again, because the study would go on without
what it had there. `settings.resumed` calls it, for `--resume` and for `search.replay`.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_core.errors import DataError, FerError
from fer_core.storage import paths
from fer_core.storage.paths import AnyPath, S3Path
from search.study.folder import Folder, Record, resolved
from search.study.options import PLACES, SYNTHETIC

FLAGS = {
    "store": "--store",
    "leaderboards": "--leaderboards",
    "data_root": "--data-root",
    "subject_table": "--subjects",
    "surface": "--surface",
}
_WHAT = {
    "store": "store",
    "leaderboards": "leaderboards",
    "data_root": "dataset",
    "subject_table": "table of subjects",
    "surface": "surface",
}
_DEEPEST = 3  # folders above a study of an earlier version in which its places are looked for


def found(
    record: Record,
    folder: Folder,
    named: Mapping[str, str | None],
    rendered: str,
    needed: Collection[str] = PLACES,
) -> tuple[Record, list[str]]:
    """Give the record of a study with the places where it goes on, and lines that tell of changes.

    `named` are the places that the user gave, by option. `rendered` is the name of the folder into
    which the study's synthetic dataset was rendered, if it was: it lies in the store, wherever that
    is, so the record then names no `data_root`.

    Raises: FerError that asks for a `needed` place which does not exist any more.
    """
    before = {name: getattr(record, name) for name in PLACES}
    if _is_rendered(record, rendered) and not named.get("data_root"):
        record = replace(record, data_root=None)
    candidates = _Candidates(record, folder)
    now: dict[str, Any] = {}
    for name in PLACES:
        recorded = getattr(record, name)
        if given := named.get(name):
            now[name] = str(_given(name, given))
        elif recorded:
            now[name] = str(_found(recorded, candidates) or recorded)
            if name in needed:
                _check_exists(name, paths.recorded(now[name]), record, folder)
        else:
            now[name] = None
        if name == "data_root" and recorded and now[name] != recorded:
            candidates.dataset_moved(Path(recorded), Path(now[name]))
    weights = {
        each: _weights(each, file, candidates, record) for each, file in record.weights.items()
    }
    placed = replace(record, **now, weights=weights)
    return placed, list(_changes(before, placed, folder))


class _Candidates:
    """Where a recorded place may be now, the likeliest first."""

    def __init__(self, record: Record, folder: Folder) -> None:
        self._here = resolved(folder.path)
        self._home = paths.recorded(record.home) if record.home else None
        self._dataset: tuple[Path, Path] | None = None  # its folder before and now, if it moved

    def dataset_moved(self, before: Path, now: Path) -> None:
        """Look in the dataset's new folder first for what lay in its old one."""
        self._dataset = before, now

    def of(self, place: AnyPath) -> Iterator[AnyPath]:
        if self._dataset and isinstance(place, Path) and place.is_relative_to(self._dataset[0]):
            yield self._dataset[1] / place.relative_to(self._dataset[0])
        yield place
        if self._home is None:
            yield from self._below_the_project(place)
        elif self._home != self._here:
            # the place moved along with the study; or the study's folder moved alone
            for source, target in ((self._home, self._here), (self._here, self._home)):
                seen = paths.relative(place, source)
                if seen is not None:
                    yield paths.joined(target, seen)

    def _below_the_project(self, place: AnyPath) -> Iterator[AnyPath]:
        """Look for the place of a study of an earlier version, which does not say where it was."""
        if isinstance(place, S3Path) or isinstance(self._here, S3Path):
            return
        for above in self._here.parents[1:_DEEPEST]:
            for count in range(len(place.parts) - 1, 0, -1):
                yield above.joinpath(*place.parts[-count:])


def _found(recorded: str, candidates: _Candidates) -> AnyPath | None:
    place = paths.recorded(recorded)
    if isinstance(place, S3Path):
        place.reach()  # says at once that S3 does not answer
    return next((each for each in candidates.of(place) if each.exists()), None)


def _check_exists(name: str, place: AnyPath, record: Record, folder: Folder) -> None:
    if place.exists() or (name == "leaderboards" and not folder.result_numbers()):
        return  # a study without results has no board yet
    anew = ", or name a new folder to compute it anew" if name == "store" else ""
    # Of these two, only search.run has an option that means the study's own.
    command = f"search.run --resume {record.study} " if name in ("subject_table", "surface") else ""
    raise FerError(
        f"the {_WHAT[name]} of study {record.study}, {place}, does not exist any more; say where "
        f"it is now with {command}{FLAGS[name]}{anew}."
    )


def _weights(backbone: str, file: str, candidates: _Candidates, record: Record) -> str:
    for each in candidates.of(paths.recorded(file)):
        if each.is_file():
            return str(each)
    raise FerError(
        f"the weights of {backbone} that study {record.study} reads, {file}, do not exist any "
        "more; put the file back there."
    )


def check_folder(flag: str, text: str) -> None:
    """Refuse a place on this machine where no folder can be made.

    Raises: FerError that names the option.
    """
    place = paths.parse(text).absolute()
    if isinstance(place, S3Path):
        return
    existing = next(each for each in (place, *place.parents) if each.exists())
    if not existing.is_dir():
        raise FerError(f"{flag} is '{text}'; it must be a folder, and {existing} is a file.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise FerError(f"{flag} is '{text}'; {existing} cannot be written to.")


def _given(name: str, text: str) -> AnyPath:
    if name in ("store", "leaderboards"):
        check_folder(FLAGS[name], text)
    is_local = name in ("data_root", "subject_table", "surface")
    place = Path(text).absolute() if is_local else paths.parse(text)
    if name == "data_root" and not place.is_dir():
        raise DataError(f"--data-root: {text} is no folder that exists.")
    if name in ("subject_table", "surface") and not place.is_file():
        raise FerError(f"{FLAGS[name]}: file {text} does not exist.")
    return place.absolute()


def _is_rendered(record: Record, rendered: str) -> bool:
    at = Path(record.data_root or "").parts[-2:]
    return record.dataset == SYNTHETIC and at == ("datasets", rendered)


def _changes(before: Mapping[str, str | None], now: Record, folder: Folder) -> Iterator[str]:
    """Say where the study goes on, if its folder or one of its places is no longer where it was."""
    here = str(resolved(folder.path))
    if now.home and now.home != here:
        yield f"this study's folder was {now.home}; it goes on in {here}"
    moved = now.home is not None and now.home != here
    for name in PLACES:
        place = getattr(now, name)
        if place and (moved or place != before[name]):
            was = "" if place == before[name] else f"; it was {before[name]}"
            yield f"its {_WHAT[name]}: {place}{was}"
