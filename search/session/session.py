"""Run a study from its settings to its leaderboard, whether it is new or resumed.

`search.run` calls `run`. It checks the space, loads the data, writes down what the study is of,
connects to Ray, and lets the cluster train trials until the study has them all or its time is up.
An interrupted study keeps every finished trial, and `--resume` continues it.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace

from fer_core.config import Config
from fer_core.data.study_data import StudyData
from fer_core.storage.paths import AnyPath
from fer_core.storage.s3_requests import OUTAGES
from search.cluster import connection, nodes, reachability
from search.drawing import kept_modules
from search.drawing import space as spaces
from search.drawing.draws import foreseen
from search.drawing.families import Families
from search.drawing.given_faces import about_given, shown_as_given
from search.drawing.space import Space
from search.drawing.suited import suited
from search.planning import first_draws
from search.request import data, find_faces, presets
from search.request.draws import check_ranges, draws_of, families_of
from search.request.record import begin
from search.request.settings import Machines, Settings, check_weights_named, trials_of
from search.results import leaderboard as leaderboards
from search.results import origin
from search.results.board import Board
from search.screen.progress import Progress
from search.session import nested, one_search
from search.session.one_search import OneSearch
from search.study.folder import Folder, Record
from search.study.journal import Journal

_FORESEEN = 300  # trials that are drawn ahead, to see which features they share


class InterruptedStudyError(Exception):
    """The user stopped the study `study`. Its finished trials are kept."""

    def __init__(self, study: str) -> None:
        super().__init__(study)
        self.study = study


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a study that has ended leaves behind."""

    record: Record
    leaderboard: AnyPath
    skipped: frozenset[str]  # clips that could not be used
    may_grow: bool  # whether the space has more to try


def run(
    settings: Settings, machines: Machines, progress: Progress, folder: Folder | None
) -> Outcome:
    """Run a study until it has all its trials, or its time is up; `folder` if it is resumed.

    Raises: InterruptedStudyError at SIGINT or SIGTERM, once the study can be resumed;
        NoTrialSucceededError if no trial is complete at the end.
    """
    resumable: list[str] = []
    try:
        return _run_study(settings, machines, progress, folder, resumable)
    except KeyboardInterrupt as interrupt:
        if not resumable:
            raise
        raise InterruptedStudyError(resumable[0]) from interrupt


def _run_study(
    settings: Settings,
    machines: Machines,
    progress: Progress,
    folder: Folder | None,
    resumable: list[str],
) -> Outcome:
    """Run a study as `run` does; put its name into `resumable` once it can be resumed."""
    started, OUTAGES.print = time.monotonic(), progress.print
    machines = replace(machines, address=connection.resolved(machines.address))
    space, drawn, modules = _checked_space(settings)
    trials = trials_of(settings, len(space.points))
    past = _past(space, settings, trials, progress) if folder else None
    cluster = machines.address != "local"
    stays = cluster or settings.options.nested  # a nested study has several searches
    with connection.connected(machines.address) if stays else nullcontext():
        store = reachability.shared_store(settings, grows=cluster and nodes.may_grow())
        study_data = replace(data.prepare(settings, progress, past), store=store)
        _check_models(drawn, study_data, progress)
        study_data = _with_faces(space, study_data, settings, progress)
        suited_space, families = _suited(space, study_data, settings, trials)
        study_data = _sharing(study_data, settings, suited_space, families, trials, progress)
        folder, record = begin(settings, study_data, folder, trials=trials, modules=modules)
        with folder.locked():
            record = origin.sign(folder, record, progress.print)
            folder.write_record(record)
            resumable.append(record.study)
            search = OneSearch(
                folder=folder,
                record=record,
                space=suited_space,
                plain_space=space,
                tasks={config.task or study_data.task for config in drawn},
                machines=machines,
                deadline=started + machines.time_budget if machines.time_budget else None,
                rebuilds=settings.rebuild,
                families=families,
            )
            journal = _run(search, replace(study_data, checkpoints=folder.checkpoints), progress)
        return _outcome(search, study_data, journal, progress)


def _past(space: Space, settings: Settings, trials: int, progress: Progress) -> Record:
    """Give the record of the study that goes on, and say where its files are if they were moved."""
    assert settings.folder is not None
    past = nested.checked_record(settings.folder, trials)
    check_ranges(space, settings.folder, seed=settings.options.seed)
    progress.print_all(settings.notices)
    if not settings.data_root.exists():
        progress.print(f"the synthetic dataset is rendered again, into {settings.data_root}")
    return past


def _checked_space(settings: Settings) -> tuple[Space, tuple[Config, ...], bytes | None]:
    """Load the space, and draw a few dozen configs from it to see that they are valid.

    Returns the space, those configs, and for a new study a copy of the modules that the space
    imports. A study that goes on has its own, or is of an earlier version, which kept none.
    """
    loaded, seed = spaces.load(settings.space), settings.options.seed
    space = presets.runnable(loaded, settings.options)
    drawn = spaces.check(space, seed=seed)
    check_weights_named(drawn, settings)
    return space, drawn, None if settings.folder else kept_modules.archive(loaded, seed=seed)


def _check_models(drawn: Sequence[Config], study_data: StudyData, progress: Progress) -> None:
    """Say how presets were narrowed, and load each model once, so that bad weights end it now."""
    if narrowing := presets.narrowing(drawn):
        progress.print(f"presets are {narrowing}")
    first_draws.check_models(drawn, study_data)


def _with_faces(
    space: Space, study_data: StudyData, settings: Settings, progress: Progress
) -> StudyData:
    """Find all faces before the first trial; given faces only if the space reads landmarks."""
    landmarks = True
    if study_data.given_faces:
        drawn = spaces.check(shown_as_given(space), seed=settings.options.seed)
        landmarks = any(config.reads_landmarks for config in drawn)
        progress.print_all(about_given(drawn))
    most = settings.options.max_missing
    return find_faces.prepare(study_data, most, progress, landmarks=landmarks)


def _run(search: OneSearch, study_data: StudyData, progress: Progress) -> Journal:
    """Run the search of a study, and those inside its folds if it is nested."""
    try:
        journal = one_search.run(search, study_data, progress)
        if search.record.nested:
            nested.run(search, study_data, progress)
            Board(search.folder, search.record).write(journal.finished())
        return journal
    except KeyboardInterrupt:
        with suppress(KeyboardInterrupt):  # if it is cut off, the next start does the rest
            one_search.settle(search, study_data)
        raise


def _suited(
    space: Space, study_data: StudyData, settings: Settings, trials: int
) -> tuple[Space, Families | None]:
    """Suit the space to the data, and find the families that come first."""
    suited_space = suited(space, study_data)
    return suited_space, families_of(suited_space, settings.options, trials=trials)


def _sharing(
    study_data: StudyData,
    settings: Settings,
    space: Space,
    families: Families | None,
    trials: int,
    progress: Progress,
) -> StudyData:
    """Note what the first trials will share, and print what of it will not be stored."""
    draws = draws_of(space, settings.options, study_data.clip, families)
    expected = foreseen(space, draws, count=min(trials, _FORESEEN))
    first_draws.print_what_is_not_stored(expected, study_data, progress)
    return replace(study_data, streams=first_draws.shared_streams(expected))


def _outcome(
    search: OneSearch,
    study_data: StudyData,
    journal: Journal,
    progress: Progress,
) -> Outcome:
    record = search.record
    skipped = frozenset(clip for result in journal.finished() for clip in result.skipped)
    if skipped:
        clips = len(study_data.manifest.clips)
        unusable = f"{len(skipped)} of {clips} clips could not be used"
        progress.print(f"{unusable}; parts/*.json in the study's folder say why (skipped)")
    points = len(search.space.points)
    may_grow = record.trials < points if points else not journal.draws.exhausted
    may_grow = may_grow and not record.nested
    leaderboard = leaderboards.path(record)
    return Outcome(record=record, leaderboard=leaderboard, skipped=skipped, may_grow=may_grow)
