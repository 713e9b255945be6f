"""A study from its settings to its leaderboard: new, resumed, or interrupted."""

import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from fer_core import packs
from fer_core.config import Config
from fer_core.errors import DataError, NoTrialSucceededError
from fer_core.experiment import Experiment
from fer_core.manifest import file_sha256
from fer_core.places import OUTAGES, Place
from fer_core.tiers import Shared
from search import data, first_draws, preparing, presets
from search import space as spaces
from search.cluster import baselines, nodes, reach, tuner
from search.cluster.opening import open_winners
from search.cluster.progress import Progress
from search.results.board import Board
from search.settings import Machines, Settings, trials_of, weights_named
from search.space import Space
from search.study import folder as folders
from search.study import parts
from search.study.folder import Folder, Record
from search.study.journal import Journal, file_storage
from search.study.parts import Part
from search.study.searcher import StudySearcher

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
    leaderboard: Place
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

    def journal(self, experiment: Experiment) -> Journal:
        return Journal(
            self.folder,
            file_storage(self.folder),
            seed=self.record.seed,
            points=self.space.points,
            rungs=packs.rungs(len(experiment.protocol.folds), raced=True) if self.raced else (),
        )


def run(
    settings: Settings, machines: Machines, progress: Progress, folder: Folder | None
) -> Outcome:
    """Run a study until it has its trials or its time is up; `folder` is that of a resumed one.

    Raises: InterruptedStudyError at SIGINT or SIGTERM, once there is something to resume;
        NoTrialSucceededError where no trial is complete.
    """
    began, OUTAGES.say = time.monotonic(), progress.say
    machines = replace(machines, address=tuner.resolved(machines.address))
    past = folder.record() if folder else None
    space = presets.runnable(
        spaces.load(settings.space), dataset=settings.dataset, weights=settings.weights
    )
    drawn = spaces.check(space, seed=settings.seed)
    weights_named(drawn, settings)
    trials = trials_of(settings, len(space.points))
    cluster = machines.address != "local"
    with tuner.connected(machines.address) if cluster else nullcontext():
        store = reach.shared_store(settings, grows=cluster and nodes.may_grow())
        experiment = _experiment(settings, store, space, drawn, trials, progress, past)
        record, folder = _begun(settings, trials, experiment, past, folder)
        experiment = replace(experiment, checkpoints=folder.checkpoints)
        if said := presets.said(drawn):
            progress.say(f"presets are {said}")
        study = _Study(folder, record, space, {config.task or experiment.task for config in drawn})
        with folder.held():
            folder.write_record(record)
            try:
                deadline = None if machines.seconds is None else began + machines.seconds
                return _run(study, experiment, machines, progress, deadline)
            except KeyboardInterrupt as interrupt:
                with suppress(KeyboardInterrupt):  # the next start settles what is left
                    _settle(study, experiment)
                raise InterruptedStudyError(record.study) from interrupt


def _experiment(
    settings: Settings,
    store: Path | Shared,
    space: Space,
    drawn: Sequence[Config],
    trials: int,
    progress: Progress,
    past: Record | None,
) -> Experiment:
    """Load the data, and make what all trials will need."""
    experiment = replace(data.prepare(settings, progress, past), store=store)
    first_draws.check_models(drawn, experiment)
    draws = spaces.draws(space, seed=settings.seed, count=min(trials, _KNOWN))
    known = [config for _, config in draws]
    experiment = replace(experiment, streams=first_draws.stored(known))
    first_draws.say_what_is_computed_again(known, experiment, progress)
    _prepare_faces(experiment, settings.max_missing, progress)
    return experiment


def _run(
    study: _Study,
    experiment: Experiment,
    machines: Machines,
    progress: Progress,
    deadline: float | None,
) -> Outcome:
    folder, record, journal = study.folder, study.record, study.journal(experiment)
    journal.reconcile()
    progress.say(f"study {record.study}")
    for number in journal.lost_numbers():
        progress.say(f"the part of trial {number} is gone or damaged: another takes its place")
    progress.begin(record.trials, journal.finished())
    board = Board(folder, record)
    with tuner.connected(machines.address) as where:
        each = tuner.share(
            machines.cpus,
            machines.gpus,
            machines.head_gpus,
            growing=machines.address != "local",
        )
        progress.say(f"on {where}, {each.concurrent} trials at a time")
        progress.workers = each.concurrent
        beside = baselines.start(study.tasks, experiment, folder, each)
        searcher = _searcher(study, experiment, journal, board, progress, each.concurrent, deadline)
        tuner.run(searcher, experiment, folder, each, raced=study.raced, progress=progress)
        journal.reconcile()  # what was drawn and did not start in time waits for a resume
        baselines.finish(beside, progress)
        finished = journal.finished()
        open_winners(finished, experiment, folder, each, progress)
    journal.sync()  # which fails where another driver goes on: the board is that one's
    board.write(finished)
    folder.clear_checkpoints()
    _require_success(finished, folder)
    skipped = frozenset(clip for part in finished for clip in part.skipped)
    if skipped:
        clips = len(experiment.manifest.clips)
        progress.say(f"{len(skipped)} of {clips} clips could not be used, see above")
    may_grow = not study.space.points or record.trials < len(study.space.points)
    return Outcome(record=record, leaderboard=board.path, skipped=skipped, may_grow=may_grow)


def _searcher(
    study: _Study,
    experiment: Experiment,
    journal: Journal,
    board: Board,
    progress: Progress,
    workers: int,
    deadline: float | None,
) -> StudySearcher:
    def on_finish(part: Part) -> None:
        board.add(part)
        progress.finished(part)

    for part in journal.finished():
        board.add(part)
    return StudySearcher(
        journal,
        study.space,
        trials=study.record.trials,
        deadline=deadline,
        on_finish=on_finish,
        most_members=partial(packs.most_members, experiment=experiment),
        workers=workers,
    )


def _begun(
    settings: Settings,
    trials: int,
    experiment: Experiment,
    past: Record | None,
    folder: Folder | None,
) -> tuple[Record, Folder]:
    """Give a new study its folder, or a resumed one the number of trials that it has grown to."""
    if past is not None and folder is not None:
        if past.surface_sha256 != _surface_sha256(experiment):
            raise DataError(
                f"{past.surface} has changed since {past.study} began; start a new one."
            )
        return replace(past, trials=trials), folder
    folder = folders.create(settings.studies, space=settings.space, dataset=settings.dataset)
    return _record(settings, trials, experiment, folder), folder


def _record(settings: Settings, trials: int, experiment: Experiment, folder: Folder) -> Record:
    return Record(
        study=folder.name,
        space=str(settings.space),
        dataset=settings.dataset,
        data_root=str(settings.data_root),
        task=experiment.task,
        trials=trials,
        seed=settings.seed,
        store=str(settings.store),
        leaderboards=str(settings.leaderboards),
        weights=settings.weights,
        landmarks=experiment.landmarks,
        surface=experiment.surface,
        surface_sha256=_surface_sha256(experiment),
        clip=asdict(experiment.clip) if experiment.clip else None,
        max_missing=settings.max_missing,
        smoke=settings.smoke,
        pruning=settings.pruning,
        protocol_name=settings.protocol,
        protocol=experiment.protocol.to_json(),
        protocol_id=experiment.protocol.protocol_id,
        data_sha256=experiment.manifest.sha256,
        split_sha256=experiment.protocol.split_sha256,
        commit=folders.commit(),
        versions=folders.versions(),
        arguments=sys.argv[1:],
        started_at=parts.now(),
    )


def _settle(study: _Study, experiment: Experiment) -> None:
    """Leave a stopped study as a resume wants it: each trial told, the board complete."""
    journal = study.journal(experiment)
    journal.reconcile(counts=False)
    Board(study.folder, study.record).write(journal.finished())


def _surface_sha256(experiment: Experiment) -> str | None:
    return file_sha256(Path(experiment.surface)) if experiment.surface else None


def _prepare_faces(experiment: Experiment, max_missing: float, progress: Progress) -> None:
    """Find all faces before a trial needs one.

    Raises: DataError where too many clips show none or cannot be read.
    """
    prepared = preparing.faces(
        experiment.manifest,
        engine=experiment.landmarks,
        store=experiment.store,
        workers=os.cpu_count() or 1,
        progress=progress.prepared,
    )
    preparing.check_missing(experiment.manifest, prepared.skipped, max_missing)
    for clip, note in prepared.notes.items():
        progress.say(f"{clip}: {note}")


def _require_success(finished: Sequence[Part], folder: Folder) -> None:
    if any(part.state == "complete" for part in finished):
        return
    if not finished:
        raise NoTrialSucceededError(
            f"the time budget was up before a trial of {folder.name} had ended; "
            f"go on with --resume {folder.name}."
        )
    first = next((part.error for part in finished if part.error), "no reason is known")
    raise NoTrialSucceededError(
        f"none of the {len(finished)} trials of {folder.name} succeeded; the first: "
        f"{first.rstrip('.')}; see {folder.path / 'failures'}."
    )
