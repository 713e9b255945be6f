"""Measure how a study scales with the number of workers, by trials that only sleep.

    python benchmarks/scale.py [--json FILE]

Driver, journal, board and Tune are the real ones, so it is the driver that keeps the throughput
below linear. All workers run on one machine, and Ray is told that it has a CPU for each of them.
Throughput is the mean number of workers that sleep in a trial, from the moment when all workers
have begun to the end of the last trial. The benchmark takes 15 minutes.
"""

import argparse
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [path for path in sys.path if Path(path).resolve() != ROOT / "benchmarks"]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  # after the path

from benchmarks.rows.engine import record_of  # noqa: E402
from benchmarks.rows.result import Ratio, as_json, row_text  # noqa: E402
from fer_core.config import Config  # noqa: E402
from fer_core.data.manifest import Manifest  # noqa: E402
from fer_core.data.protocol import Protocol  # noqa: E402
from fer_core.data.study_data import StudyData  # noqa: E402
from fer_core.scoring import score  # noqa: E402
from search.cluster import tuner  # noqa: E402
from search.drawing import space as spaces  # noqa: E402
from search.drawing.draws import Draws  # noqa: E402
from search.results.board import Board  # noqa: E402
from search.screen.progress import QUIET, Progress  # noqa: E402
from search.study import folder as folders  # noqa: E402
from search.study.journal import Journal  # noqa: E402
from search.study.journal_backends import file_storage  # noqa: E402
from search.study.parts import TrialResult  # noqa: E402
from search.study.searcher import StudySearcher  # noqa: E402

import ray  # noqa: E402  # isort: skip  # after our settings, which `tuner` makes

# By default Ray starts a spare worker for each CPU, and gives its workers a low priority.
os.environ |= {"RAY_enable_worker_prestart": "0", "RAY_worker_niceness": "0"}
os.environ |= {"RAY_prestart_worker_first_driver": "0"}
LINEAR, CORES, GIB = 0.9, 1.0, 2.0  # targets: at least, at most, at most
WORKERS, SECONDS = (1, 2, 4, 8, 16), 2.0  # numbers of workers; how long a trial sleeps
CLIPS = 100  # that a trial scores
TRIALS_EACH = 12  # trials for each worker
MANY, MANY_WORKERS, MANY_SECONDS = 5000, 64, 8.0
SPACE = """
from fer_core.config import Config, OptimizerConfig, StreamConfig


def space(trial):
    stream = StreamConfig(backbone="c3d", weights="random", blocks=5, freeze_depth=0)
    lr = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True)
    batch = trial.suggest_categorical("batch", [8, 16, 32])
    optimizer = OptimizerConfig(lr=lr, weight_decay=decay, batch_clips=batch)
    return Config(streams=(stream,), optimizer=optimizer)
"""


@dataclass(frozen=True, kw_only=True)
class EndedStudy:
    """A study that has ended, with what it took."""

    parts: tuple[TrialResult, ...]
    workers: int
    seconds: float  # how long each trial slept
    wall: float  # seconds by the clock
    cpu: float  # CPU seconds of the driver
    peak_gib: float  # the driver's resident memory at its highest

    @property
    def throughput(self) -> float:
        """Mean number of workers that were asleep in a trial."""
        ends = np.array([datetime.fromisoformat(p.finished_at).timestamp() for p in self.parts])
        starts, first = ends - self.seconds, dict[str | None, float]()
        for result, start in zip(self.parts, starts, strict=True):
            first[result.device] = min(start, first.get(result.device, start))
        since = sorted(first.values())[: self.workers][-1]  # from here on all workers have begun
        slept = ends - np.maximum(starts, since)
        return float(slept[slept > 0].sum() / (ends.max() - since))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure how a study scales.")
    parser.add_argument("--json", type=Path, help="write the ratios there")
    options = parser.parse_args(arguments)
    ratios = measured()
    print(row_text(13, "trials that sleep", ratios))
    if options.json:
        options.json.write_text(json.dumps(as_json(ratios), indent=2) + "\n")
    return 0


def measured(
    *,
    workers: Sequence[int] = WORKERS,
    seconds: float = SECONDS,
    trials_each: int = TRIALS_EACH,
    many: int = MANY,
    many_workers: int = MANY_WORKERS,
    many_seconds: float = MANY_SECONDS,
) -> list[Ratio]:
    """Measure throughput with each number of workers, then the driver with many."""
    studies = [
        run_study(workers=count, seconds=seconds, trials=count * trials_each) for count in workers
    ]
    most = run_study(workers=many_workers, seconds=many_seconds, trials=many)
    one = studies[0].throughput / studies[0].workers
    throughputs = [
        Ratio(
            name=f"{study.workers} workers against linear",
            value=study.throughput / study.workers / one,
            target=LINEAR,
            came_from=f"{study.throughput:.2f} workers asleep on the average of {study.workers}, "
            f"{len(study.parts)} trials of {study.seconds:g} s",
        )
        for study in studies
    ]
    of = f"{len(most.parts):,} trials of {most.seconds:g} s on {most.workers} workers"
    return [
        *throughputs,
        Ratio(
            name="the driver's cores",
            value=most.cpu / most.wall,
            target=CORES,
            at_most=True,
            came_from=f"{most.cpu:.0f} s of CPU in {most.wall:.0f} s, {of}",
            notes=(f"{most.throughput:.1f} of the {most.workers} workers were asleep",),
        ),
        Ratio(
            name="the driver's memory",
            value=most.peak_gib,
            target=GIB,
            at_most=True,
            came_from=f"GiB resident at most, {of}",
        ),
    ]


def run_study(*, workers: int, seconds: float, trials: int) -> EndedStudy:
    """Run a study whose trials sleep for a given time."""
    with tempfile.TemporaryDirectory() as root, _cluster(workers):
        file = Path(root) / "space.py"
        file.write_text(SPACE)
        folder = folders.create(Path(root) / "studies", space=file, dataset="none")
        study_data = _study_data(Path(root))
        journal = Journal(folder, file_storage(folder), Draws(seed=0))
        board = Board(folder, record_of(folder, study_data, trials))
        progress = Progress(verbosity=QUIET)
        progress.begin(trials, ())

        def on_finish(result: TrialResult) -> None:
            board.add(result)
            progress.finished(result)

        resources = tuner.divide_cluster(1.0, 0.0)
        searcher = StudySearcher(
            journal,
            spaces.load(file),
            trials=trials,
            deadline=None,
            on_finish=on_finish,
            most_members=lambda config: 1,
            workers=resources.concurrent,
        )
        began, computed = time.perf_counter(), time.process_time()
        tuner.run(
            searcher,
            study_data,
            folder,
            resources,
            raced=False,
            begin=_sleeping(seconds),
            progress=progress,
        )
        board.write(journal.finished())
        cpu, wall = time.process_time() - computed, time.perf_counter() - began
        parts = tuple(journal.finished())
    assert [result.state for result in parts] == ["complete"] * trials
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB
    return EndedStudy(
        parts=parts, workers=workers, seconds=seconds, wall=wall, cpu=cpu, peak_gib=peak
    )


def _sleeping(seconds: float) -> Any:
    """Make the function that begins a pack, whose trials only sleep for a given time."""

    def begin(
        drawn: Sequence[Config], study_data: StudyData, threads: int, raced: bool
    ) -> Iterator[list[Any]]:
        time.sleep(seconds)
        yield [
            SimpleNamespace(member=place, results=(_result(config),), error=None)
            for place, config in enumerate(drawn)
        ]

    return begin


def _result(config: Config) -> Any:
    """Make a stand-in for `FoldResult`, with a score that TPE can learn."""
    uar = float(np.exp(-(np.log10(config.optimizer.lr / 1e-3) ** 2)))
    labels = np.repeat([0, 1], CLIPS // 2)
    right = np.tile(np.arange(CLIPS // 2) < round(CLIPS // 2 * uar), 2)
    probabilities = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]
    return SimpleNamespace(
        fold=0,
        metrics=score(labels, probabilities),
        clips=tuple(map(str, range(CLIPS))),
        subjects=np.arange(CLIPS) // 10,
        fallback_share=None,
        labels=labels,
        probabilities=probabilities,
        frame_probabilities=np.repeat(probabilities[:, None], 8, axis=1),
        losses=(1.0,),
        train_seconds=1.0,
        params=1,
        peak_memory_gib=0.0,
        device=str(os.getpid()),  # identifies the worker
        weights_source="random",
        work=_Work(),
        skipped={},
        epochs_restored=0,
        still_improving=False,
        extended=False,
        note="",
    )


@dataclass(frozen=True)
class _Work:
    """The work of a trial that computes nothing."""

    stages_made: int = 0


def _study_data(root: Path) -> StudyData:
    return StudyData(
        manifest=Manifest(dataset="none", root=root, clips=()),
        protocol=Protocol(name="one", sealed=(), folds=(("a",),)),
        task="emotion",
        seed=0,
        store=root / "store",
        weights={},
        landmarks="data",
    )


@contextmanager
def _cluster(workers: int) -> Iterator[None]:
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ray.init(
        address="local",
        num_cpus=workers,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
    )
    try:
        yield
    finally:
        ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
