"""What a command asks for, resolved and checked before anything heavy is imported."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer_core.config import TASKS, Config, blocks_of
from fer_core.errors import ConfigError, FerError, unknown
from fer_core.storage import paths
from fer_core.storage.paths import AnyPath, S3Path

if TYPE_CHECKING:
    from fer_core.storage.shared_store import SharedPlace  # NumPy takes 0.1 s, which --help has not
    from search.study.folder import Folder, Record

SYNTHETIC = "synthetic"  # the dataset that the project renders itself
SEALED = "sealed"  # the project's own protocol: a sealed share of the subjects, folds of the rest
TRIALS, SMOKE_TRIALS = 24, 4
SUBJECTS, SMOKE_SUBJECTS = 24, 10  # of the synthetic dataset; the protocol needs 10
LANDMARKS = (
    "auto",
    "data",
    "dlib",
    "face_alignment",
)  # auto: the data's, else the best that is here
MAX_MISSING = 0.05  # share of the clips that a study can do without
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a study is of; all paths are absolute but that of the space, which messages name."""

    space: AnyPath
    dataset: str
    data_root: Path
    task: str | None  # None: hidden where the dataset knows authenticity, else emotion
    trials: int | None  # None: as many as there are points, else TRIALS or SMOKE_TRIALS
    seed: int
    store: "Path | SharedPlace"
    studies: AnyPath
    leaderboards: AnyPath
    weights: dict[str, str]  # backbone: file
    landmarks: str  # one of LANDMARKS
    protocol: str  # "sealed", or one that the dataset has published
    surface: Path | None  # of the frontal views; None: our own
    max_missing: float  # share of the clips that the study can do without
    smoke: bool
    cache: str | None = None  # DIR or DIR:GB, of each machine where the store is shared
    pruning: bool = True  # whether trials are compared at rungs, and the worse half stopped

    @property
    def renders(self) -> bool:
        """Whether the data are the search's own to render: a folder in its store, or none yet."""
        return self.data_root == _own_root(self.store, self.smoke) or not self.data_root.exists()

    @property
    def subjects(self) -> int:
        """How many subjects the synthetic dataset has."""
        return SMOKE_SUBJECTS if self.smoke else SUBJECTS


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Where trials run, and what each takes."""

    address: str
    cpus: float
    gpus: float | None  # None: one where there are any
    head_gpus: float | None = None  # of a trial that trains on stored features; None: a share
    seconds: float | None  # after which no trial starts


def resolve(
    *,
    space: Path,
    dataset: str,
    data_root: Path | None,
    task: str | None,
    trials: int | None,
    seed: int,
    store: "Path | SharedPlace",
    studies: AnyPath,
    leaderboards: AnyPath,
    weights: Sequence[str],
    landmarks: str,
    protocol: str,
    surface: Path | None,
    max_missing: float,
    smoke: bool,
) -> Settings:
    """Check the arguments of a new study and fill in what follows from others.

    Raises: FerError that names the option.
    """
    check_names(dataset, task, landmarks, protocol)
    return Settings(
        space=space,
        dataset=dataset,
        data_root=_data_root(dataset, data_root, store, smoke),
        task=task,
        trials=trials,
        seed=seed,
        store=store,
        studies=studies,
        leaderboards=leaderboards,
        weights=_weights(weights),
        landmarks=landmarks,
        protocol=protocol,
        surface=_existing(surface) if surface else None,
        max_missing=max_missing,
        smoke=smoke,
    )


def resumed(
    record: "Record",
    *,
    folder: "Folder",
    trials: int | None,
    cache: str | None = None,
) -> Settings:
    """Give the settings that a study began with, its copy of the space; only trials may grow.

    Raises: FerError where `trials` is below what the study was to have.
    """
    if trials is not None and trials < record.trials:
        raise FerError(
            f"--trials {trials} is fewer than study {record.study} has, {record.trials}; "
            "a resumed study can only grow."
        )
    return Settings(
        space=folder.space,
        dataset=record.dataset,
        data_root=Path(record.data_root),
        task=record.task,
        trials=trials or record.trials,
        seed=record.seed,
        store=store_at(record.store, cache),
        studies=folder.path.parent.absolute(),
        leaderboards=paths.parse(record.leaderboards),
        weights=record.weights,
        landmarks=record.landmarks,
        protocol=record.protocol_name,
        surface=Path(record.surface) if record.surface else None,
        max_missing=record.max_missing,
        smoke=record.smoke,
        cache=cache,
        pruning=record.pruning,
    )


def trials_of(settings: Settings, points: int) -> int:
    """Say how many trials a study has whose space enumerates so many points; 0: it draws.

    Raises: FerError where more are asked for than there are points.
    """
    asked = settings.trials
    if not points:
        return asked or (SMOKE_TRIALS if settings.smoke else TRIALS)
    if asked is not None and asked > points:
        raise FerError(
            f"--trials {asked} is more than {settings.space} enumerates, {points}; "
            "leave --trials out to run them all."
        )
    return asked or points


def weights_named(drawn: Iterable[Config], settings: Settings) -> None:
    """Refuse a space that draws weights from a file where the user named none.

    Raises: FerError that names the option.
    """
    for stream in (stream for config in drawn for stream in config.images):
        if stream.weights == "file" and stream.backbone not in settings.weights:
            raise FerError(
                f"{settings.space} draws {stream.backbone} with weights from a file, and none is "
                f"named; give --weights {stream.backbone}=FILE."
            )


def seconds(text: str) -> float:
    """Read a time such as 30s, 10m or 2h.

    Raises: FerError where it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text, re.ASCII)
    if match is None or not float(match[1]):
        raise FerError(f"--time-budget is '{text}'; it must be a time such as 30s, 10m or 2h.")
    return float(match[1]) * _SECONDS[match[2]]


def check_names(dataset: str, task: str | None, landmarks: str, protocol: str = SEALED) -> None:
    """Refuse a name that nothing has.

    Raises: FerError that names those there are.
    """
    from fer_core.data.datasets import DATASETS  # NumPy takes 0.1 s, which --help has not

    if dataset not in DATASETS:
        raise FerError(unknown("dataset", dataset, DATASETS))
    if task is not None and task not in TASKS:
        raise FerError(unknown("task", task, TASKS))
    if landmarks not in LANDMARKS:
        raise FerError(unknown("landmark engine", landmarks, LANDMARKS))
    known = (SEALED, *DATASETS[dataset].protocols)
    if protocol not in known:
        raise FerError(unknown(f"protocol of {dataset}", protocol, known))


def store_at(text: str, cache: str | None = None) -> "Path | SharedPlace":
    """Read where stages go: a folder, or S3 with a cache on each machine."""
    place = paths.parse(text).absolute()
    return shared(place, cache) if isinstance(place, S3Path) else place


def shared(place: AnyPath, cache: str | None) -> "SharedPlace":
    """Put a cache, DIR or DIR:GB, in front of a place that several machines use.

    Raises: FerError that names the option.
    """
    from fer_core.storage.shared_store import (  # NumPy takes 0.1 s, which --help has not
        CACHE,
        SharedPlace,
    )

    folder, colon, most = (cache or CACHE).partition(":")
    unsized = colon and not re.fullmatch(r"\d{1,9}(\.\d+)?", most, re.ASCII)
    if not folder or unsized or (folder.startswith("~") and not folder.startswith("~/")):
        raise FerError(f"--cache is '{cache}'; it must be DIR or DIR:GB, as in /scratch/fer:200.")
    if not folder.startswith("~"):  # each machine's own home
        folder = os.path.abspath(folder)
    return SharedPlace(place, cache=folder, cache_bytes=int(float(most) * 1e9) if colon else None)


def _data_root(dataset: str, given: Path | None, store: "Path | SharedPlace", smoke: bool) -> Path:
    if given is not None:
        return given.absolute()
    if dataset != SYNTHETIC:
        raise FerError(f"dataset '{dataset}' is not rendered here: say where it is, --data-root.")
    return _own_root(store, smoke)


def _own_root(store: "Path | SharedPlace", smoke: bool) -> Path:
    from fer_core.storage.shared_store import folder  # NumPy takes 0.1 s, which --help has not

    subjects = SMOKE_SUBJECTS if smoke else SUBJECTS
    return folder(store).absolute() / "datasets" / f"{SYNTHETIC}-s{subjects}-seed0"


def _existing(surface: Path) -> Path:
    if not surface.is_file():
        raise FerError(f"--surface: file {surface} does not exist.")
    return surface.absolute()


def _weights(named: Sequence[str]) -> dict[str, str]:
    """Read NAME=FILE pairs."""
    found = {}
    for pair in named:
        name, equals, file = pair.partition("=")
        if not equals:
            raise FerError(
                f"--weights is '{pair}'; it must be NAME=FILE, as in vgg16=vgg_face.pth."
            )
        try:
            blocks_of(name)
        except ConfigError as error:
            raise FerError(f"--weights: {error}") from error
        if not os.path.isfile(file):
            raise FerError(f"--weights: file {file} does not exist.")
        found[name] = os.path.abspath(file)
    return found
