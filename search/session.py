"""Run a study from its settings to its leaderboard, whether it is new or resumed.

`search.run` calls `run`. It checks the space, loads the data, writes down what the study is of,
connects to Ray, and lets the cluster train trials until the study has them all or its time is up.
An interrupted study keeps every finished trial, and `--resume` continues it.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial

from fer_core.data.study_data import StudyData
from fer_core.errors import NoTrialSucceededError
from fer_core.storage.paths import AnyPath
from fer_core.storage.s3_requests import OUTAGES
from fer_core.trial import packing, rungs
from search.cluster import baseline_tasks, connection, nodes, reachability, tuner
from search.cluster.sealed_test import score_winners
from search.drawing import space as spaces
from search.drawing.draws import foreseen
from search.drawing.families import Families
from search.drawing.space import Space
from search.drawing.suited import suited
from search.planning import first_draws
from search.request import data, find_faces, presets, rebuild, rescore
from search.request.draws import draws_of, families_of
from search.request.record import begin
from search.request.settings import Machines, Settings, check_weights_named, trials_of
from search.results.board import Board
from search.screen.progress import Progress
from search.study.folder import Folder, Record
from search.study.journal import Journal
from search.study.journal_backends import file_storage
from search.study.parts import TrialResult
from search.study.searcher import StudySearcher

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


@dataclass(frozen=True)
class _Study:
    """A study that is being run."""

    folder: Folder
    record: Record
    space: Space
    tasks: set[str]  # those that its trials learn: a space may choose other than the study's
    rebuilds: bool = False  # whether its journal is made from its results first
    families: Families | None = None  # those that get their trials first

    @property
    def raced(self) -> bool:
        """Whether worse trials are stopped early. A space that lists its points has all trained."""
        return self.record.pruning and not self.space.points

    def journal(self, study_data: StudyData) -> Journal:
        """Open the journal of the study's trials.

        Raises: FerError if results are there that it does not list.
        """
        storage = file_storage(self.folder)
        rebuild.check(self.folder, storage)
        draws = draws_of(self.space, self.record, study_data.clip, self.families)
        raced = rungs.rungs(len(study_data.protocol.folds), raced=True) if self.raced else ()
        return Journal(self.folder, storage, draws, rungs=raced)


def run(
    settings: Settings, machines: Machines, progress: Progress, folder: Folder | None
) -> Outcome:
    """Run a study until it has all its trials, or its time is up.

    `folder` is that of a resumed study, None for a new one.

    Raises: InterruptedStudyError at SIGINT or SIGTERM, once the study can be resumed;
        NoTrialSucceededError if no trial is complete at the end.
    """
    started, OUTAGES.print = time.monotonic(), progress.print
    machines = replace(machines, address=connection.resolved(machines.address))
    past = folder.record() if folder else None
    space = presets.runnable(spaces.load(settings.space), settings.options)
    drawn = spaces.check(space, seed=settings.options.seed)
    check_weights_named(drawn, settings)
    trials = trials_of(settings, len(space.points))
    cluster = machines.address != "local"
    with connection.connected(machines.address) if cluster else nullcontext():
        store = reachability.shared_store(settings, grows=cluster and nodes.may_grow())
        study_data = replace(data.prepare(settings, progress, past), store=store)
        first_draws.check_models(drawn, study_data)
        space = suited(space, study_data)
        families = families_of(space, settings.options, trials=trials)
        study_data = _prepared(study_data, settings, space, families, trials, progress)
        folder, record = begin(settings, study_data, folder, trials=trials)
        study_data = replace(study_data, checkpoints=folder.checkpoints)
        if narrowing := presets.narrowing(drawn):
            progress.print(f"presets are {narrowing}")
        tasks = {config.task or study_data.task for config in drawn}
        study = _Study(folder, record, space, tasks, settings.rebuild, families)
        with folder.locked():
            folder.write_record(record)
            try:
                deadline = None if machines.time_budget is None else started + machines.time_budget
                return _run(study, study_data, machines, progress, deadline)
            except KeyboardInterrupt as interrupt:
                with suppress(KeyboardInterrupt):  # if it is cut off, the next start does the rest
                    _settle(study, study_data)
                raise InterruptedStudyError(record.study) from interrupt


def _prepared(
    study_data: StudyData,
    settings: Settings,
    space: Space,
    families: Families | None,
    trials: int,
    progress: Progress,
) -> StudyData:
    """Find all faces before the first trial, and note what the first trials will share."""
    draws = draws_of(space, settings.options, study_data.clip, families)
    expected = foreseen(space, draws, count=min(trials, _FORESEEN))
    study_data = replace(study_data, streams=first_draws.shared_streams(expected))
    first_draws.print_what_is_not_stored(expected, study_data, progress)
    find_faces.prepare(study_data, settings.options.max_missing, progress)
    return study_data


def _run(
    study: _Study,
    study_data: StudyData,
    machines: Machines,
    progress: Progress,
    deadline: float | None,
) -> Outcome:
    """Train the trials that the study still lacks, then test the winners and write the board.

    `deadline`, in the seconds of `time.monotonic`, is when no trial starts any more.
    """
    folder, record, journal = study.folder, study.record, _open_journal(study, study_data, progress)
    board = Board(folder, record)
    with connection.connected(machines.address) as where:
        each = tuner.divide_cluster(
            machines.cpus_per_trial,
            machines.gpus_per_trial,
            machines.gpus_per_head,
            growing=machines.address != "local",
        )
        progress.print(f"on {where}, {each.concurrent} trials at a time")
        progress.workers = each.concurrent
        baselines = baseline_tasks.start(study.tasks, study_data, folder, each)
        searcher = _searcher(study, study_data, journal, board, progress, each.concurrent, deadline)
        tuner.run(searcher, study_data, folder, each, raced=study.raced, progress=progress)
        journal.reconcile()  # trials that were drawn and did not start in time wait for a resume
        for line in journal.draws.summary():
            progress.print(line)
        baseline_tasks.finish(baselines, progress)
        finished = journal.finished()
        score_winners(finished, study_data, folder, each, progress)
    journal.sync()  # fails if another driver has taken over: then the board is that driver's
    board.write(finished)
    folder.clear_checkpoints()
    _require_success(finished, folder)
    return _outcome(study, study_data, journal, board.path, progress)


def _open_journal(study: _Study, study_data: StudyData, progress: Progress) -> Journal:
    """Open the journal, settle what an earlier run left, and show what the study has."""
    if rescored := rescore.rescore(study.folder, study_data):
        progress.print(f"{rescored} results of an older version were rescored as today's are")
    if study.rebuilds:
        listed = rebuild.rebuild(study.folder, file_storage(study.folder), study.space)
        progress.print(f"{listed} trials were listed in the journal again")
    journal = study.journal(study_data)
    journal.reconcile()
    progress.print(f"study {study.record.study}")
    for number in journal.lost_numbers():
        progress.print(f"the result of trial {number} is lost or damaged; a new trial replaces it")
    progress.begin(study.record.trials, journal.finished())
    return journal


def _outcome(
    study: _Study,
    study_data: StudyData,
    journal: Journal,
    leaderboard: AnyPath,
    progress: Progress,
) -> Outcome:
    skipped = frozenset(clip for result in journal.finished() for clip in result.skipped)
    if skipped:
        clips = len(study_data.manifest.clips)
        unusable = f"{len(skipped)} of {clips} clips could not be used"
        progress.print(f"{unusable}; parts/*.json in the study's folder say why (skipped)")
    points = len(study.space.points)
    may_grow = study.record.trials < points if points else not journal.draws.exhausted
    return Outcome(record=study.record, leaderboard=leaderboard, skipped=skipped, may_grow=may_grow)


def _searcher(
    study: _Study,
    study_data: StudyData,
    journal: Journal,
    board: Board,
    progress: Progress,
    workers: int,
    deadline: float | None,
) -> StudySearcher:
    """Build the searcher, and put the trials that are finished on the board."""

    def on_finish(result: TrialResult) -> None:
        board.add(result)
        progress.finished(result)

    for result in journal.finished():
        board.add(result)
    return StudySearcher(
        journal,
        study.space,
        trials=study.record.trials,
        deadline=deadline,
        on_finish=on_finish,
        most_members=partial(packing.most_members, study_data=study_data),
        workers=workers,
    )


def _settle(study: _Study, study_data: StudyData) -> None:
    """Tell the journal how every finished trial ended, and write the board, for a later resume."""
    journal = study.journal(study_data)
    journal.reconcile(counts=False)
    Board(study.folder, study.record).write(journal.finished(), corrects=False)


def _require_success(finished: Sequence[TrialResult], folder: Folder) -> None:
    if any(result.state == "complete" for result in finished):
        return
    if not finished:
        raise NoTrialSucceededError(
            f"the time budget was up before any trial of {folder.name} had ended; "
            f"continue with --resume {folder.name}."
        )
    first = next((result.error for result in finished if result.error), "no reason is known")
    raise NoTrialSucceededError(
        f"none of the {len(finished)} trials of {folder.name} succeeded; the first failed with: "
        f"{first.rstrip('.')}; the others are in {folder.path / 'failures'}."
    )
