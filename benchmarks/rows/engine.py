"""Run a study as `search.session` does, in the Ray that a row is connected to.

Two things of a session are left out, because they are no part of the search: the baselines and the
sealed test of the winners. Most rows of `benchmarks/search.py` run their studies with this module.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from fer_core.data.study_data import StudyData
from fer_core.trial import packing
from search.cluster import tuner
from search.drawing import space as spaces
from search.drawing.draws import Draws
from search.drawing.sampling import BoundedTPE
from search.results.board import Board
from search.study import folder as folders
from search.study import parts
from search.study.folder import Folder, Record
from search.study.journal import Journal
from search.study.journal_backends import file_storage
from search.study.parts import TrialResult
from search.study.searcher import StudySearcher


@dataclass(frozen=True, kw_only=True)
class Cost:
    """CPU seconds of the driver, in the sampler and outside it."""

    outside: float
    sampler: float


@dataclass(frozen=True, kw_only=True)
class EndedStudy:
    """A study that has ended."""

    seconds: float  # by the clock, from its space file to its board
    parts: tuple[TrialResult, ...]
    ends: tuple[float, ...]  # seconds from the study's start to each trial's end, in their order
    costs: tuple["Cost", ...]  # the driver's cost so far, at each trial's end

    def driver_cost(self, after: int = 0) -> Cost:
        """Return the mean cost of a trial, without that of the first `after` trials."""
        start = self.costs[after - 1] if after else Cost(outside=0.0, sampler=0.0)
        end, trials = self.costs[-1], len(self.costs) - after
        return Cost(
            outside=(end.outside - start.outside) / trials,
            sampler=(end.sampler - start.sampler) / trials,
        )

    def work(self, name: str) -> float:
        """Sum up one field of the trials' `Work`."""
        return sum(result.work.get(name, 0) for result in self.parts)


def run_study(text: str, study_data: StudyData, root: Path, *, trials: int) -> EndedStudy:
    """Run a study of a space, given as the text of its file, without pruning."""
    folder, record = _folder(text, study_data, root, trials)
    began, computed = time.perf_counter(), time.process_time()
    ends: list[float] = []
    costs: list[Cost] = []
    with _sampler_timed() as sampler:
        space = spaces.load(folder.space)
        streams = dict.fromkeys(s for config in spaces.check(space) for s in config.images)
        study_data = replace(study_data, streams=tuple(streams))
        journal = Journal(folder, file_storage(folder), Draws(seed=0, points=space.points))
        board = Board(folder, record)

        def on_finish(result: TrialResult) -> None:
            board.add(result)
            ends.append(time.perf_counter() - began)
            sampling = sum(sampler)
            outside = time.process_time() - computed - sampling
            costs.append(Cost(outside=outside, sampler=sampling))

        resources = tuner.divide_cluster(1.0, None)
        searcher = StudySearcher(
            journal,
            space,
            trials=trials,
            deadline=None,
            on_finish=on_finish,
            most_members=partial(packing.most_members, study_data=study_data),
            workers=resources.concurrent,
        )
        tuner.run(searcher, study_data, folder, resources, raced=False)
        board.write(journal.finished())
    study = EndedStudy(
        seconds=time.perf_counter() - began,
        parts=tuple(journal.finished()),
        ends=tuple(ends),
        costs=tuple(costs),
    )
    failed = [result.error for result in study.parts if result.state != "complete"]
    assert len(study.parts) == trials, f"{len(study.parts)} of {trials} trials have ended"
    assert not failed, failed[0]
    return study


def record_of(folder: Folder, study_data: StudyData, trials: int) -> Record:
    """Make the record of a study, with the fields that its board shows; other fields are blank."""
    blank: dict[str, Any] = {
        field.name: ""
        for field in fields(Record)
        if field.default is MISSING and field.default_factory is MISSING
    }
    known: dict[str, Any] = {
        "study": folder.name,
        "dataset": study_data.manifest.dataset,
        "task": study_data.task,
        "trials": trials,
        "seed": study_data.seed,
        "protocol": study_data.protocol.to_json(),
        "leaderboards": str(folder.path / "leaderboards"),
        "started_at": parts.now(),
    }
    return Record(**blank | known)


def _folder(text: str, study_data: StudyData, root: Path, trials: int) -> tuple[Folder, Record]:
    root.mkdir(parents=True, exist_ok=True)
    file = root / "space.py"
    file.write_text(text)
    folder = folders.create(root / "studies", space=file, dataset="stills")
    return folder, record_of(folder, study_data, trials)


@contextmanager
def _sampler_timed() -> Iterator[list[float]]:
    """Collect the CPU seconds of each of the sampler's calls."""
    seconds: list[float] = []
    names = ("infer_relative_search_space", "sample_relative", "sample_independent")
    plain = {name: getattr(BoundedTPE, name) for name in names}

    def timed(method: Any) -> Any:
        def call(*arguments: Any) -> Any:
            started = time.process_time()
            try:
                return method(*arguments)
            finally:
                seconds.append(time.process_time() - started)

        return call

    for name, method in plain.items():
        setattr(BoundedTPE, name, timed(method))
    try:
        yield seconds
    finally:
        for name, method in plain.items():
            setattr(BoundedTPE, name, method)
