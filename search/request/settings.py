"""What one call of the command asks for, checked before anything heavy is imported.

`search.run` turns its arguments into `Settings` (what to search, and where files lie) and
`Machines` (where trials run). The rooms above read these. Importing this module loads neither
NumPy nor torch nor Ray, so that `--help` and a mistyped option are answered at once.
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_core.config import Config, blocks_of
from fer_core.errors import ConfigError, FerError, unknown
from fer_core.storage import paths
from fer_core.storage.paths import AnyPath, S3Path
from search.request import machine_arguments, own_files
from search.study.options import PLACES, SEALED, SYNTHETIC, Options

if TYPE_CHECKING:  # these import NumPy, which takes 0.1 s: too long for --help
    from fer_core.storage.shared_store import SharedPlace
    from search.study.folder import Folder, Record

TRIALS, SMOKE_TRIALS = 24, 4  # of a space that draws, if the user names no number
SUBJECTS, SMOKE_SUBJECTS = 24, 10  # of the synthetic dataset; the protocol needs 10
# The options that a resumed study may change: how many trials it has, and where its files are.
MAY_CHANGE = frozenset({"trials", *PLACES})
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one call of the command searches: the options of its study, and where its files lie.

    The options are those that the user named, or those of study.json if a study is resumed.
    """

    options: Options
    space: AnyPath  # the file to load: the named one, or the copy in a resumed study's folder
    studies: AnyPath  # absolute
    cache: str | None = None  # DIR or DIR:GB, on each machine in front of a shared store
    rebuild: bool = False  # the resumed study's journal is made from its results
    folder: "Folder | None" = None  # of a resumed study
    notices: tuple[str, ...] = ()  # what to tell the user about the places of a resumed study

    @property
    def store(self) -> "Path | SharedPlace":
        """Where the results that trials share are stored."""
        return store_at(self.options.store, self.cache)

    @property
    def leaderboards(self) -> AnyPath:
        """Where the leaderboards of all datasets are."""
        return paths.parse(self.options.leaderboards)

    @property
    def data_root(self) -> Path:
        """The folder of the dataset: the named one, or where the synthetic dataset is rendered."""
        root = self.options.data_root
        return Path(root) if root is not None else self._rendered_root

    @property
    def renders(self) -> bool:
        """Whether the synthetic dataset may be rendered into its folder.

        It may if the folder is the project's own, in the store, or does not exist yet.
        """
        return self.data_root == self._rendered_root or not self.data_root.exists()

    @property
    def subjects(self) -> int:
        """How many subjects the synthetic dataset has."""
        return SMOKE_SUBJECTS if self.options.smoke else SUBJECTS

    @property
    def _rendered_root(self) -> Path:
        from fer_core.storage.shared_store import folder  # imports NumPy

        return folder(self.store).absolute() / "datasets" / rendered_name(self.subjects)


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Where trials run, and what each trial takes. A resumed study may run elsewhere."""

    address: str = "auto"  # "auto", "local", or HOST[:PORT] of a Ray cluster
    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None  # None: one if the cluster has any
    gpus_per_head: float | None = None  # of a trial that trains on stored features; None: a quarter
    time_budget: float | None = None  # seconds after which no trial starts


def options_of(arguments: Mapping[str, Any]) -> Options:
    """Take the options of a new study from the arguments of the command, which have their names.

    Raises: FerError if no space is named, or if --weights or --column are not NAME=VALUE.
    """
    values: dict[str, Any] = {option.name: arguments[option.name] for option in fields(Options)}
    if values["space"] is None:
        raise FerError("--space names no file; give one, such as --space spaces/temporal.py.")
    values["weights"] = _weights(values["weights"] or [])
    values["columns"] = own_files.columns_of(values["columns"] or [])
    paths_as_text = {name: str(value) for name, value in values.items() if isinstance(value, Path)}
    return Options(**values | paths_as_text)


def machines_of(arguments: Mapping[str, Any]) -> Machines:
    """Take what concerns the machines from the arguments of the command.

    Raises: FerError if the time budget is not a time.
    """
    values = {option.name: arguments[option.name] for option in fields(Machines)}
    machine_arguments.check_gpus(values["gpus_per_trial"])
    if values["time_budget"] is not None:
        values["time_budget"] = seconds(values["time_budget"])
    return Machines(**values)


def resolve(options: Options, *, studies: str, cache: str | None = None) -> Settings:
    """Check the options of a new study, and make their paths absolute, so that it can be resumed.

    The path of the space stays as it is: it is the space's name in messages and on the leaderboard.

    Raises: FerError that names the option.
    """
    from search.request import places as places_  # imports NumPy

    check_names(options.dataset, options.protocol_name)
    own_files.check(
        options.dataset, options.subject_pattern, options.columns, options.subject_table
    )
    if options.data_root is None and options.dataset != SYNTHETIC:
        raise FerError(
            f"dataset '{options.dataset}' needs its folder; say where it is with --data-root DIR."
        )
    for flag, text in {
        "--store": options.store,
        "--studies": studies,
        "--leaderboards": options.leaderboards,
    }.items():
        places_.check_folder(flag, text)
    root = str(Path(options.data_root).absolute()) if options.data_root else None
    whole = replace(
        options,
        data_root=root,
        subject_table=str(Path(options.subject_table).absolute())
        if options.subject_table
        else None,
        store=str(store_at(options.store, cache)),
        leaderboards=str(paths.parse(options.leaderboards).absolute()),
        surface=_existing(options.surface) if options.surface else None,
    )
    place = paths.parse(studies).absolute()
    return Settings(options=whole, space=Path(options.space), studies=place, cache=cache)


def resumed(
    record: "Record",
    folder: "Folder",
    *,
    trials: int | None,
    cache: str | None = None,
    rebuild: bool = False,
    places: Mapping[str, str | None] | None = None,
    needed: Collection[str] = PLACES,
) -> Settings:
    """Give the settings of a study that goes on: its record, its copy of the space, more trials.

    `places` are those that the user named, by option; the others are found (`places.found`).

    Raises: FerError if `trials` is below what the study was to have, or if a `needed` place cannot
        be found.
    """
    from search.request import places as places_  # imports NumPy

    if trials is not None and trials < record.trials:
        raise FerError(
            f"--trials {trials} is fewer than study {record.study} has, {record.trials}; "
            "a resumed study can only grow."
        )
    rendered = rendered_name(SMOKE_SUBJECTS if record.smoke else SUBJECTS)
    record, notices = places_.found(record, folder, places or {}, rendered, needed)
    return Settings(
        options=replace(record, trials=trials or record.trials),
        space=folder.space,
        studies=folder.path.parent.absolute(),
        cache=cache,
        rebuild=rebuild,
        folder=folder,
        notices=tuple(notices),
    )


def rendered_name(subjects: int) -> str:
    """Name the folder, in the store, into which the synthetic dataset is rendered."""
    return f"{SYNTHETIC}-s{subjects}-seed0"


def trials_of(settings: Settings, points: int) -> int:
    """Return how many trials a study has; `points` is how many its space enumerates, 0 if none.

    Raises: FerError if more are asked for than there are points.
    """
    asked = settings.options.trials
    if not points:
        return asked or (SMOKE_TRIALS if settings.options.smoke else TRIALS)
    if asked is not None and asked > points:
        raise FerError(
            f"--trials {asked} is more than the {points} points that {settings.space} enumerates; "
            "leave --trials out to run them all."
        )
    return asked or points


def check_weights_named(drawn: Iterable[Config], settings: Settings) -> None:
    """Refuse a space that draws weights from a file if the user named no file for them.

    Raises: FerError that names the option.
    """
    for stream in (stream for config in drawn for stream in config.images):
        if stream.weights == "file" and stream.backbone not in settings.options.weights:
            raise FerError(
                f"{settings.space} draws {stream.backbone} with weights from a file, and no file "
                f"is named; give --weights {stream.backbone}=FILE."
            )


def seconds(text: str) -> float:
    """Read a time such as 30s, 10m or 2h.

    Raises: FerError if it is not such a time.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text, re.ASCII)
    if match is None or not float(match[1]):
        raise FerError(f"--time-budget is '{text}'; it must be a time such as 30s, 10m or 2h.")
    return float(match[1]) * _SECONDS[match[2]]


def check_names(dataset: str, protocol: str = SEALED) -> None:
    """Refuse a dataset or a protocol that does not exist.

    Raises: FerError that lists the names that do exist.
    """
    from fer_core.data.datasets import DATASETS  # imports NumPy

    if dataset not in DATASETS:
        raise FerError(unknown("dataset", dataset, DATASETS))
    known = (SEALED, *DATASETS[dataset].protocols)
    if protocol not in known:
        raise FerError(unknown(f"protocol of {dataset}", protocol, known))


def store_at(text: str, cache: str | None = None) -> "Path | SharedPlace":
    """Read where the store is: a folder, or S3 with a cache on each machine."""
    place = paths.parse(text).absolute()
    return shared(place, cache) if isinstance(place, S3Path) else place


def shared(place: AnyPath, cache: str | None) -> "SharedPlace":
    """Put a cache, DIR or DIR:GB, in front of a store that several machines use.

    Raises: FerError that names the option.
    """
    from fer_core.storage.shared_store import CACHE, SharedPlace  # imports NumPy

    folder, colon, most = (cache or CACHE).partition(":")
    unsized = colon and not re.fullmatch(r"\d{1,9}(\.\d+)?", most, re.ASCII)
    if not folder or unsized or (folder.startswith("~") and not folder.startswith("~/")):
        raise FerError(f"--cache is '{cache}'; it must be DIR or DIR:GB, as in /scratch/fer:200.")
    if not folder.startswith("~"):  # which stands for each machine's own home
        folder = os.path.abspath(folder)
    return SharedPlace(place, cache=folder, cache_bytes=int(float(most) * 1e9) if colon else None)


def _existing(surface: str) -> str:
    if not os.path.isfile(surface):
        raise FerError(f"--surface: file {surface} does not exist.")
    return str(Path(surface).absolute())


def _weights(pairs: Sequence[str]) -> dict[str, str]:
    """Read NAME=FILE pairs: the file of each backbone's weights."""
    files = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not file:
            raise FerError(
                f"--weights is '{pair}'; it must be NAME=FILE, as in vgg16=vgg_face.pth."
            )
        try:
            blocks_of(name)
        except ConfigError as error:
            raise FerError(f"--weights: {error}") from error
        if not os.path.isfile(file):
            raise FerError(f"--weights: file {file} does not exist.")
        files[name] = os.path.abspath(file)
    return files
