"""A study from its settings to its leaderboard: new, resumed, or interrupted."""

import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fer_core.config import Config
from fer_core.data.study_data import StudyData
from fer_core.errors import DataError, NoTrialSucceededError
from fer_core.storage.files import file_sha256
from fer_core.storage.paths import AnyPath
from fer_core.storage.s3_requests import OUTAGES
from fer_core.storage.shared_store import SharedPlace
from fer_core.trial import packing, rungs
from search.cluster import baseline_tasks, connection, nodes, reachability, tuner
from search.cluster.sealed_test import score_winners
from search.planning import first_draws
from search.request import data, find_faces, presets
from search.request.settings import Machines, Settings, check_weights_named, trials_of
from search.results.board import Board
from search.screen.progress import Progress
from search.study import folder as folders
from search.study import parts
from search.study import space as spaces
from search.study.folder import Folder, Record
from search.study.journal import Journal
from search.study.journal_backends import file_storage
from search.study.parts import TrialResult
from search.study.searcher import StudySearcher
from search.study.space import Space

_KNOWN = 300  # draws that tell what trials share


class InterruptedStudyError(Exception):
    """A study that the user stopped; nothing that finished is lost."""

    def __init__(self, study: str) -> None:
        super().__init__(study)
        self.study = study


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A study that has ended."""

    record: Record
    leaderboard: AnyPath
    skipped: frozenset[str]  # clips that could not be used
    may_grow: bool  # whether the space has more to try


@dataclass(frozen=True)
class _Study:
    """A study that goes on."""

    folder: Folder
    record: Record
    space: Space
    tasks: set[str]

    @property
    def raced(self) -> bool:
        """Whether the worse are stopped: each point of a space that enumerates is asked for."""
        return self.record.pruning and not self.space.points

    def journal(self, study_data: StudyData) -> Journal:
        return Journal(
            self.folder,
            file_storage(self.folder),
            seed=self.record.seed,
            points=self.space.points,
            rungs=rungs.rungs(len(study_data.protocol.folds), raced=True) if self.raced else (),
        )


def run(
    settings: Settings, machines: Machines, progress: Progress, folder: Folder | None
) -> Outcome:
    """Run a study until it has its trials or its time is up; `folder` is that of a resumed one.

    Raises: InterruptedStudyError at SIGINT or SIGTERM, once there is something to resume;
        NoTrialSucceededError where no trial is complete.
    """
    began, OUTAGES.print = time.monotonic(), progress.print
    machines = replace(machines, address=connection.resolved(machines.address))
    past = folder.record() if folder else None
    space = presets.runnable(spaces.load(settings.space), settings.options)
    drawn = spaces.check(space, seed=settings.options.seed)
    check_weights_named(drawn, settings)
    trials = trials_of(settings, len(space.points))
    cluster = machines.address != "local"
    with connection.connected(machines.address) if cluster else nullcontext():
        store = reachability.shared_store(settings, grows=cluster and nodes.may_grow())
        study_data = _study_data(settings, store, space, drawn, trials, progress, past)
        record, folder = _begun(settings, trials, study_data, past, folder)
        study_data = replace(study_data, checkpoints=folder.checkpoints)
        if said := presets.narrowing(drawn):
            progress.print(f"presets are {said}")
        study = _Study(folder, record, space, {config.task or study_data.task for config in drawn})
        with folder.locked():
            folder.write_record(record)
            try:
                deadline = None if machines.time_budget is None else began + machines.time_budget
                return _run(study, study_data, machines, progress, deadline)
            except KeyboardInterrupt as interrupt:
                with suppress(KeyboardInterrupt):  # the next start settles what is left
                    _settle(study, study_data)
                raise InterruptedStudyError(record.study) from interrupt


def _study_data(
    settings: Settings,
    store: Path | SharedPlace,
    space: Space,
    drawn: Sequence[Config],
    trials: int,
    progress: Progress,
    past: Record | None,
) -> StudyData:
    """Load the data, and make what all trials will need."""
    study_data = replace(data.prepare(settings, progress, past), store=store)
    first_draws.check_models(drawn, study_data)
    draws = spaces.draws(space, seed=settings.options.seed, count=min(trials, _KNOWN))
    known = [config for _, config in draws]
    study_data = replace(study_data, streams=first_draws.stored(known))
    first_draws.say_what_is_computed_again(known, study_data, progress)
    _prepare_faces(study_data, settings.options.max_missing, progress)
    return study_data


def _run(
    study: _Study,
    study_data: StudyData,
    machines: Machines,
    progress: Progress,
    deadline: float | None,
) -> Outcome:
    folder, record, journal = study.folder, study.record, study.journal(study_data)
    journal.reconcile()
    progress.print(f"study {record.study}")
    for number in journal.lost_numbers():
        progress.print(f"the part of trial {number} is gone or damaged: another takes its place")
    progress.begin(record.trials, journal.finished())
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
        beside = baseline_tasks.start(study.tasks, study_data, folder, each)
        searcher = _searcher(study, study_data, journal, board, progress, each.concurrent, deadline)
        tuner.run(searcher, study_data, folder, each, raced=study.raced, progress=progress)
        journal.reconcile()  # what was drawn and did not start in time waits for a resume
        baseline_tasks.finish(beside, progress)
        finished = journal.finished()
        score_winners(finished, study_data, folder, each, progress)
    journal.sync()  # which fails where another driver goes on: the board is that one's
    board.write(finished)
    folder.clear_checkpoints()
    _require_success(finished, folder)
    skipped = frozenset(clip for result in finished for clip in result.skipped)
    if skipped:
        clips = len(study_data.manifest.clips)
        progress.print(f"{len(skipped)} of {clips} clips could not be used, see above")
    may_grow = not study.space.points or record.trials < len(study.space.points)
    return Outcome(record=record, leaderboard=board.path, skipped=skipped, may_grow=may_grow)


def _searcher(
    study: _Study,
    study_data: StudyData,
    journal: Journal,
    board: Board,
    progress: Progress,
    workers: int,
    deadline: float | None,
) -> StudySearcher:
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


def _begun(
    settings: Settings,
    trials: int,
    study_data: StudyData,
    past: Record | None,
    folder: Folder | None,
) -> tuple[Record, Folder]:
    """Give a new study its folder, or a resumed one the number of trials that it has grown to."""
    if past is not None and folder is not None:
        if past.surface_sha256 != _surface_sha256(study_data):
            raise DataError(
                f"{past.surface} has changed since {past.study} began; start a new one."
            )
        return replace(past, trials=trials), folder
    folder = folders.create(
        settings.studies, space=settings.space, dataset=settings.options.dataset
    )
    return _record(settings, trials, study_data, folder), folder


def _record(settings: Settings, trials: int, study_data: StudyData, folder: Folder) -> Record:
    options: dict[str, Any] = asdict(settings.options)
    resolved: dict[str, Any] = {
        "data_root": str(settings.data_root),
        "task": study_data.task,
        "trials": trials,
        "landmarks": study_data.landmarks,
    }
    return Record(
        **options | resolved,
        study=folder.name,
        surface_sha256=_surface_sha256(study_data),
        clip=asdict(study_data.clip) if study_data.clip else None,
        protocol=study_data.protocol.to_json(),
        protocol_id=study_data.protocol.protocol_id,
        data_sha256=study_data.manifest.sha256,
        split_sha256=study_data.protocol.split_sha256,
        commit=folders.commit(),
        versions=folders.versions(),
        arguments=sys.argv[1:],
        started_at=parts.now(),
    )


def _settle(study: _Study, study_data: StudyData) -> None:
    """Leave a stopped study as a resume wants it: each trial told, the board complete."""
    journal = study.journal(study_data)
    journal.reconcile(counts=False)
    Board(study.folder, study.record).write(journal.finished())


def _surface_sha256(study_data: StudyData) -> str | None:
    return file_sha256(Path(study_data.surface)) if study_data.surface else None


def _prepare_faces(study_data: StudyData, max_missing: float, progress: Progress) -> None:
    """Find all faces before a trial needs one.

    Raises: DataError where too many clips show none or cannot be read.
    """
    prepared = find_faces.faces(
        study_data.manifest,
        engine=study_data.landmarks,
        store=study_data.store,
        workers=os.cpu_count() or 1,
        progress=progress.prepared,
    )
    find_faces.check_missing(study_data.manifest, prepared.skipped, max_missing)
    for clip, note in prepared.notes.items():
        progress.print(f"{clip}: {note}")


def _require_success(finished: Sequence[TrialResult], folder: Folder) -> None:
    if any(result.state == "complete" for result in finished):
        return
    if not finished:
        raise NoTrialSucceededError(
            f"the time budget was up before a trial of {folder.name} had ended; "
            f"go on with --resume {folder.name}."
        )
    first = next((result.error for result in finished if result.error), "no reason is known")
    raise NoTrialSucceededError(
        f"none of the {len(finished)} trials of {folder.name} succeeded; the first: "
        f"{first.rstrip('.')}; see {folder.path / 'failures'}."
    )
