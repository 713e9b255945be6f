"""The folder of a study: where its files are, what study.json says, and who may work on it.

Every part of the search that reads or writes a study's files asks a `Folder` for them. The folder
may be on this machine, on a mount, or in S3. One process at a time, the driver, works on a study.
"""

import fcntl
import io
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

import numpy as np

from fer_core import config as configs
from fer_core.errors import FerError, unknown
from fer_core.storage import paths
from fer_core.storage.files import write_atomically
from fer_core.storage.formats import check_format
from fer_core.storage.paths import AnyPath, S3Path
from fer_core.storage.s3_requests import at_once
from search.drawing import own_modules
from search.study import driver_claim, parts
from search.study.options import Options, with_places
from search.study.parts import TrialResult
from search.study.provenance import UNKNOWN

# Of study.json and of the files beside it; a file without a format number is of format 1. Format 3
# notes in each result what trained it, and scores the predictions of all folds together. Format 4
# knows training seeds, redrawn trials and nested studies. Format 5 names places as seen from the
# study's folder, keeps the modules that a space imports, and knows given faces.
FORMAT = 5
# What a study did that began before an option existed, if that is not the option's default.
_BEFORE = {"pruning": False, "faces": "found", "missing": "leave-out"}


@dataclass(frozen=True, kw_only=True)
class Record(Options):
    """What holds for all trials of a study: its options, and what was resolved when it began.

    The file study.json holds these fields as its keys, and beside them its format number.
    """

    study: str  # name of the study, and of its folder
    task: str = field()  # resolved: a record always has one
    trials: int = field()  # resolved: a record always has one
    surface_sha256: str | None = None
    clip: dict[str, Any] | None = None  # the frames that are read, if no space may choose them
    protocol: dict[str, Any]  # who trains, who chooses, and who is sealed
    protocol_id: str
    split: str | None = None  # "subject-independent" or "by-clip"; None: of an older version
    data_sha256: str
    split_sha256: str
    commit: str = "unknown"
    versions: dict[str, str] = field(default_factory=dict)  # package: version
    arguments: list[str] = field(default_factory=list)  # of the command that began the study
    outer_of: str | None = None  # the nested study, if this search runs inside one of its folds
    home: str | None = None  # the study's folder, by which a copy of it is told from the original
    signatures: list[str] = field(default_factory=list)  # of its drivers, on its board
    started_at: str

    def commit_of(self, result: TrialResult) -> str:
        """Name the commit that trained a trial; if it is unknown, that with which the study began.

        A worker may not know it, for example where `ray job submit` brought the code.
        """
        return result.commit if result.commit not in (None, UNKNOWN) else self.commit


@dataclass(frozen=True)
class Folder:
    """The folder of one study, `studies/<space>-<dataset>-<id>/`. `number` names a trial."""

    path: AnyPath

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.path.name

    @property
    def journal(self) -> AnyPath:
        """The file that lists every trial in the order in which it was drawn and ended."""
        return self.path / "journal.log"

    @property
    def space(self) -> AnyPath:
        """The study's own copy of its space file."""
        return self.path / "space.py"

    @property
    def space_modules(self) -> AnyPath:
        """The study's own copy of the user's modules that its space imports, if any."""
        return self.path / own_modules.KEPT

    @property
    def clips(self) -> AnyPath:
        """The clips with which the study began: names, and hashes of what they are."""
        return self.path / "clips.npz"

    @property
    def checkpoints(self) -> AnyPath:
        """Where long trainings save their state, to continue from it after a kill."""
        return self.path / "checkpoints"

    def predictions(self, number: int, *, sealed: bool = False, repeat: int = 0) -> AnyPath:
        """Return the file of a trial's predictions, out of fold or on the sealed subjects.

        A sealed test that was repeated with other seeds has a file for each `repeat`.
        """
        name = f"{number}{'-sealed' if sealed else ''}{f'-repeat{repeat}' if repeat else ''}"
        return self.path / "predictions" / f"{name}.npz"

    def failure(self, number: int) -> AnyPath:
        """Return the file with the traceback of a trial that failed."""
        return self.path / "failures" / f"{number}.txt"

    def sealed_test(self, number: int) -> AnyPath:
        """Return the file with a trial's scores on the sealed subjects."""
        return self.path / "opened" / f"{number}.json"

    def outer(self, place: int) -> "Folder":
        """Return the folder of the search inside outer fold `place` (1, 2, ...) of this study."""
        return Folder(self.path / "outer" / f"outer{place}")

    def headlines(self) -> dict[str, int]:
        """Read the number of the headline of each task; a study without sealed tests has none."""
        try:
            found: dict[str, int] = json.loads((self.path / "headlines.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def write_headlines(self, headlines: Mapping[str, int]) -> None:
        """Write down the headline of each task, before any sealed test begins."""
        write_atomically(self.path / "headlines.json", json.dumps(dict(headlines)).encode())

    def result(self, number: int) -> TrialResult | None:
        """Read the result of a trial; None if there is none, or if its file is damaged."""
        try:
            return parts.from_json(self._result(number).read_text())
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def results(self, numbers: Sequence[int]) -> dict[int, TrialResult]:
        """Read the results of these trials, several at once. Trials without one are left out."""
        found = zip(numbers, at_once(self.result, numbers), strict=True)
        return {number: result for number, result in found if result is not None}

    def result_numbers(self) -> list[int]:
        """Return the numbers of the trials that have written a result, without baselines."""
        stems = [file.stem for file in (self.path / "parts").glob("*.json")]
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def write_result(self, result: TrialResult) -> None:
        """Write the result of a trial; a reader never sees a part of it."""
        write_atomically(self._result(result.number), result.to_json().encode())

    def has_result(self, number: int) -> bool:
        """Return whether a trial has written a result, damaged or not."""
        return self._result(number).exists()

    def write_leaving(self, first: int, leaving: Iterable[int]) -> None:
        """Tell the worker of a pack which members stop at this rung.

        A pack is named by its first trial, `first`. The worker reads this before it continues.
        """
        content = json.dumps(sorted(leaving)).encode()
        file = self._leaving_file(first)
        if isinstance(file, S3Path):
            file.write_bytes(content)
            return
        aside = file.with_suffix(".tmp")
        aside.parent.mkdir(exist_ok=True)
        aside.write_bytes(content)
        aside.replace(file)  # not synced to the disk: it is read at once, or never

    def take_leaving(self, first: int) -> list[int]:
        """Read which members of a pack stop, and delete the file. Without a file none does."""
        try:
            leaving: list[int] = json.loads(self._leaving_file(first).read_text())
        except FileNotFoundError:
            return []
        self._leaving_file(first).unlink(missing_ok=True)
        return leaving

    def clear_checkpoints(self, config_json: str | None = None) -> None:
        """Delete the checkpoints of one config, or of all configs."""
        pattern = f"{configs.from_json(config_json).config_id}-*" if config_json else "*"
        files: list[AnyPath] = list(self.checkpoints.glob(pattern))
        for file in files:
            file.unlink(missing_ok=True)

    def record(self) -> Record:
        """Read study.json. What an older version did not write yet gets its default.

        Its places are absolute here. In the file, those of the project are named as seen from the
        study's folder, so that they move along with it.

        Raises: FerError if the file is damaged, or if a newer version wrote it.
        """
        file = self.path / "study.json"
        try:
            found = json.loads(file.read_text())
        except ValueError as error:
            raise FerError(f"{file} is damaged: {error}.") from error
        if not isinstance(found, dict):
            raise FerError(f"{file} is damaged: it must hold one JSON object.")
        check_format(str(file), found.get("format", 1), FORMAT)
        values: dict[str, Any] = _BEFORE | {"split_seed": found.get("seed", 0)} | found
        keys = {key.name: key for key in fields(Record)}
        for name, key in keys.items():
            required = key.default is MISSING and key.default_factory is MISSING
            if required and name not in values:
                raise FerError(f"{file} is damaged: it has no '{name}'.")
        known = {name: value for name, value in values.items() if name in keys}
        return Record(**with_places(known, self._place_here))

    def write_record(self, record: Record) -> None:
        """Write study.json, in the newest format."""
        values = with_places(asdict(record), self._place_in_file)
        text = json.dumps({"format": FORMAT} | values, indent=1)
        write_atomically(self.path / "study.json", text.encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other drivers away from the study while the block runs.

        On a file system this is a lock, which the system frees when this process dies. S3 has no
        locks: there the driver writes every few seconds that it is alive.

        Raises: FerError if another process works on the study.
        """
        if isinstance(self.path, S3Path):
            with driver_claim.claimed(self.path / "driver.json", self.name):
                yield
            return
        with (self.path / "driver.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FerError(f"study {self.name} is being run by another process.") from error
            yield

    def _place_here(self, text: str) -> str:
        here = resolved(self.path)
        return str(paths.joined(here, text)) if paths.is_relative(text) else text

    def _place_in_file(self, text: str) -> str:
        """Name a place as study.json does: the project is the folder that holds the studies."""
        here, place = resolved(self.path), paths.recorded(text).absolute()
        above = resolved(place.parent) / place.name  # a link is kept: it moves along, too
        seen, from_project = (paths.relative(above, each) for each in (here, here.parent.parent))
        outside = from_project is None or from_project.split("/")[0] == ".."
        return str(place) if seen is None or outside else seen

    def _leaving_file(self, first: int) -> AnyPath:
        return self.path / "verdicts" / f"{first}.json"

    def _result(self, number: int) -> AnyPath:
        return self.path / "parts" / f"{number}.json"


def resolved(path: AnyPath) -> AnyPath:
    """Give a path on this machine without symbolic links and `..`; one in S3 as it is."""
    return path if isinstance(path, S3Path) else path.resolve()


def create(studies: AnyPath, *, space: AnyPath, dataset: str) -> Folder:
    """Make the folder of a new study, with a copy of its space."""
    folder = Folder(studies / f"{paths.plain_name(space.stem)}-{dataset}-{secrets.token_hex(3)}")
    write_atomically(folder.space, space.read_bytes())
    return folder


def find(study: str, studies: AnyPath) -> Folder:
    """Find a study by its name in the folder `studies`, or by the path of its own folder.

    Raises: FerError if there is none.
    """
    for path in (paths.parse(study), studies / study):
        if (path / "study.json").is_file():
            return Folder(path.absolute())
    names = [path.parent.name for path in studies.glob("*/study.json")]
    if not names:
        raise FerError(f"no study '{study}': {studies} holds no study yet.")
    raise FerError(unknown("study", study, names))


def write_arrays(path: AnyPath, arrays: dict[str, Any]) -> None:
    """Write arrays as an .npz file, which appears whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())
