"""A study's folder: what it is, where its files lie, and that one process at a time works on it."""

import fcntl
import json
import platform
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from fer_core.errors import FerError, unknown
from fer_core.store import write_atomically
from search.study import parts
from search.study.parts import Part


@dataclass(frozen=True, kw_only=True)
class Record:
    """What holds for all trials of a study: the file study.json."""

    study: str
    space: str  # the file that was named; its copy lies beside study.json
    dataset: str
    data_root: str
    task: str
    trials: int
    seed: int
    store: str
    leaderboards: str
    weights: dict[str, str]
    landmarks: str
    surface: str | None
    surface_sha256: str | None
    clip: dict[str, Any] | None  # the frames that are read whatever the space draws
    max_missing: float
    smoke: bool
    pruning: bool
    protocol_name: str  # as it was asked for
    protocol: dict[str, Any]
    protocol_id: str
    data_sha256: str
    split_sha256: str
    commit: str
    versions: dict[str, str]
    arguments: list[str]  # of the command that began it
    started_at: str


@dataclass(frozen=True)
class Folder:
    """`studies/<space>-<dataset>-<id>/`."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def journal(self) -> Path:
        return self.path / "journal.log"

    @property
    def space(self) -> Path:
        return self.path / "space.py"

    @property
    def ray(self) -> Path:
        """Where Tune keeps what nobody reads."""
        return self.path / "ray"

    def predictions(self, number: int, *, sealed: bool = False) -> Path:
        return self.path / "predictions" / f"{number}{'-sealed' if sealed else ''}.npz"

    def failure(self, number: int) -> Path:
        return self.path / "failures" / f"{number}.txt"

    def opened(self, number: int) -> Path:
        return self.path / "opened" / f"{number}.json"

    def part(self, number: int) -> Part | None:
        """Read the part of a trial; None where it wrote none, or one that was damaged since."""
        try:
            return parts.from_json(self._part(number).read_text())
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def write_part(self, part: Part) -> None:
        write_atomically(self._part(part.number), part.to_json().encode())

    def has_part(self, number: int) -> bool:
        return self._part(number).exists()

    def write_verdict(self, first: int, leaving: Iterable[int]) -> None:
        """Say which members leave the pack whose first trial is `first`, before it goes on."""
        aside = self._verdict(first).with_suffix(".tmp")
        aside.parent.mkdir(exist_ok=True)
        aside.write_text(json.dumps(sorted(leaving)))
        aside.replace(self._verdict(first))  # not synced: it is read at once, or never

    def take_verdict(self, first: int) -> list[int]:
        """Read who leaves a pack, and remove the file; without one nobody leaves."""
        try:
            leaving: list[int] = json.loads(self._verdict(first).read_text())
        except FileNotFoundError:
            return []
        self._verdict(first).unlink(missing_ok=True)
        return leaving

    def record(self) -> Record:
        file = self.path / "study.json"
        try:
            return Record(**json.loads(file.read_text()))
        except (ValueError, TypeError) as error:
            raise FerError(f"{file} is damaged, or of another version: {error}.") from error

    def write_record(self, record: Record) -> None:
        text = json.dumps(asdict(record), indent=1)
        write_atomically(self.path / "study.json", text.encode())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other drivers away; the system lets go when this process dies.

        Raises: FerError where another process works on the study.
        """
        with (self.path / "driver.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FerError(f"study {self.name} is being run by another process.") from error
            self._mend_journal()
            yield

    def _mend_journal(self) -> None:
        """Cut a last line that a full disk or a power cut left torn, before Optuna appends to it.

        Raises: FerError where the journal is gone or damaged, of which parts alone tell no order.
        """
        if not self.journal.exists():
            if any(self.path.glob("parts/*.json")):
                raise FerError(f"{self.journal} is gone; without it a study cannot go on.")
            return
        content = self.journal.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                json.loads(line)
            except ValueError as error:
                raise FerError(f"{self.journal}, line {number} is damaged: {error}.") from error
        if whole != content:
            write_atomically(self.journal, whole)

    def _verdict(self, first: int) -> Path:
        return self.path / "verdicts" / f"{first}.json"

    def _part(self, number: int) -> Path:
        return self.path / "parts" / f"{number}.json"


def create(studies: Path, *, space: Path, dataset: str) -> Folder:
    """Make the folder of a new study, with a copy of its space."""
    path = studies / f"{space.stem}-{dataset}-{secrets.token_hex(3)}"
    path.mkdir(parents=True)
    folder = Folder(path)
    shutil.copyfile(space, folder.space)
    return folder


def find(study: str, studies: Path) -> Folder:
    """Find a study by its name or its folder.

    Raises: FerError where there is none.
    """
    for path in (Path(study), studies / study):
        if (path / "study.json").is_file():
            return Folder(path.absolute())
    there = [path.parent.name for path in studies.glob("*/study.json")]
    if not there:
        raise FerError(f"no study '{study}': {studies} holds none yet.")
    raise FerError(unknown("study", study, there))


def commit() -> str:
    """Name the commit of this code, or say 'unknown'."""
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Name the versions that may change a score."""
    packages = ("torch", "torchvision", "ray", "optuna", "numpy", "scikit-learn", "fer-search")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # run from a checkout
    return found
