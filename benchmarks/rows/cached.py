"""Rows 4, 11 and 12: our engine on stored features, against Ray Tune on the same in a file.

A trial trains a two-layer head for 10 epochs, on 512 training clips of 512 features, in batches of
32. Row 10 uses the same space and stream.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.baselines import features as hand_cached
from benchmarks.rows import engine, stills
from benchmarks.rows.plain import rays_defaults, write_features
from benchmarks.rows.result import Ratio
from fer_core.config import Config, StreamConfig
from fer_core.data.study_data import StudyData
from search.cluster import connection

SPACE = '''"""Frozen VGG-16 at 64 px, averaged: which two-layer head?"""

from optuna import Trial

from fer_core.config import Config, HeadConfig, OptimizerConfig, StreamConfig


def space(trial: Trial) -> Config:
    stream = StreamConfig(
        backbone="vgg16",
        weights="random",
        blocks=5,
        freeze_depth=5,
        pooling="avg",
        crop_pixels=64,
    )
    head = HeadConfig(
        fc_layers=1,
        fc_width=trial.suggest_categorical("fc_width", [64, 128, 256]),
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
    )
    optimizer = OptimizerConfig(
        name="adam",
        lr=trial.suggest_float("lr", 1e-4, 1e-2, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
        epochs={epochs},
        schedule="constant",
    )
    return Config(streams=(stream,), head=head, optimizer=optimizer)
'''
STREAM = StreamConfig(
    backbone="vgg16", weights="random", blocks=5, freeze_depth=5, pooling="avg", crop_pixels=64
)
IMAGES, EPOCHS = 640, 10  # 512 of the images train
HOURLY, DRIVER_TIMES, SAMPLER_SECONDS = 30_000, 1.2, 0.030
STARTING = 20  # trials that may end while workers still start
FIRST = 10  # trials left out of the driver's time a trial: its own start falls on them


def against_hand_cached(
    *, trials: int = 200, processes: int = 12, images: int = IMAGES, epochs: int = EPOCHS
) -> list[Ratio]:
    """Row 4: seconds by the clock for each trial; ours are measured before and after theirs."""
    with _features(images) as ready:
        data = hand_cached.Data(file=ready.file, epochs=epochs)

        def ours(place: str) -> _Taken:
            text, root = SPACE.format(epochs=epochs), ready.root / place
            began = time.perf_counter()
            study = engine.run_study(text, ready.study_data, root, trials=trials)
            return _taken(began, [began + seconds for seconds in study.ends])

        def reused(place: str, step_epochs: int) -> _Taken:
            root, began = ready.root / place, time.perf_counter()
            ends = hand_cached.search_reused(data, root, trials, step_epochs=step_epochs)
            return _taken(began, ends)

        first = ours("ours-1")
        with rays_defaults():
            whole, stepped = reused("reused", epochs), reused("reused-stepped", 1)
            began = time.perf_counter()
            ends = hand_cached.search_by_process(data, ready.root / "apart", processes)
            apart = _taken(began, ends)
        own = _average(first, ours("ours-2"))
    return [_by_process(own, apart, trials, processes), _reused(own, whole, stepped, trials)]


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """Mean seconds by the clock that a trial took."""

    mean: float  # over all trials, so with the start of the workers
    later: float  # over the trials after the first ones, so without that start


def _taken(began: float, ends: Sequence[float]) -> _Taken:
    first = min(STARTING, len(ends) // 2)
    later = (ends[-1] - ends[first - 1]) / (len(ends) - first)
    return _Taken(mean=(ends[-1] - began) / len(ends), later=later)


def _average(one: _Taken, other: _Taken) -> _Taken:
    return _Taken(mean=(one.mean + other.mean) / 2, later=(one.later + other.later) / 2)


def _by_process(own: _Taken, apart: _Taken, trials: int, processes: int) -> Ratio:
    return Ratio(
        name="process per trial",
        value=apart.mean / own.mean,
        target=30,
        came_from=f"theirs {apart.mean:.2f} s a trial of {processes}, ours {own.mean:.3f} s a "
        f"trial of {trials}",
        notes=("the start of our workers is shared among our trials; ray.init is in neither",),
    )


def _reused(own: _Taken, whole: _Taken, stepped: _Taken, trials: int) -> Ratio:
    return Ratio(
        name="reuse_actors",
        value=whole.later / own.later,
        target=3,
        came_from=f"theirs {whole.later:.3f} s, ours {own.later:.4f} s a trial, from the end of "
        f"trial {STARTING} of {trials} on: processes that stay start once in either",
        notes=(
            f"with their start, shared among all: theirs {whole.mean:.3f} s, ours {own.mean:.3f} "
            f"s, {whole.mean / own.mean:.2f}x",
            "their trial is one step of Tune, which is the fastest; with a step an epoch, as is "
            f"usual, {stepped.later:.3f} s a trial, {stepped.later / own.later:.2f}x",
        ),
    )


def hourly(*, trials: int = 300, images: int = IMAGES, epochs: int = EPOCHS) -> list[Ratio]:
    """Row 11: the whole engine, from the space file to the board, the workers' start included."""
    with _features(images) as ready:
        text = SPACE.format(epochs=epochs)
        study = engine.run_study(text, ready.study_data, ready.root / "ours", trials=trials)
    rate = 3600 * trials / study.seconds
    waited = study.ends[0]
    after = 3600 * (trials - 1) / max(study.ends[-1] - waited, 1e-9)
    training = sum(result.train_seconds for result in study.parts) / trials
    cost = study.driver_cost()
    return [
        Ratio(
            name="trials an hour over 30,000",
            value=rate / HOURLY,
            target=1,
            came_from=f"{trials} trials in {study.seconds:.1f} s by the clock, {rate:,.0f} an hour",
            notes=(
                f"the first ended after {waited:.1f} s, with the workers' start; from there on "
                f"{after:,.0f} an hour",
                f"a trial trains for {training:.3f} s of a worker; the driver computes for "
                f"{1000 * cost.outside:.1f} ms, and in the sampler for {1000 * cost.sampler:.1f}",
            ),
        )
    ]


def driver(
    *, few: int = 100, many: int = 1000, images: int = stills.SUBJECT_IMAGES * 10
) -> list[Ratio]:
    """Row 12: CPU seconds of the driver for each trial, without the sampler.

    Trials are as short as they can be. The first trials of both studies are left out, because
    imports and Tune's start fall on them.
    """
    with _features(images) as ready:
        text = SPACE.format(epochs=1)
        short, long = (
            engine.run_study(text, ready.study_data, ready.root / str(trials), trials=trials)
            for trials in (few, many)
        )
    costs = [study.driver_cost(FIRST) for study in (short, long)]
    last = long.driver_cost(many - few)
    verdict = "kept" if last.sampler <= SAMPLER_SECONDS else "NOT kept"
    return [
        Ratio(
            name=f"{many} trials against {few}",
            value=costs[1].outside / costs[0].outside,
            target=DRIVER_TIMES,
            at_most=True,
            came_from=f"{1000 * costs[0].outside:.2f} ms of CPU a trial of {few}, "
            f"{1000 * costs[1].outside:.2f} of {many}, after the first {FIRST} of each",
            notes=(
                f"of the last {few} of {many}: {1000 * last.outside:.2f} ms outside the sampler, "
                f"and {1000 * last.sampler:.1f} ms in it, at most "
                f"{1000 * SAMPLER_SECONDS:.0f} {verdict}",
            ),
        )
    ]


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """Features in a store and in a file, and a folder for the studies that read them."""

    root: Path
    study_data: StudyData
    file: Path


@contextmanager
def _features(images: int) -> Iterator[_Ready]:
    """Extract features into a store and a file, then connect to Ray."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        study_data = stills.study_data(images, root / "store")
        stills.faces(study_data)
        file = root / "features.npz"
        write_features(Config(streams=(STREAM,)), study_data, file)
        with connection.connected("local"):
            yield _Ready(root=root, study_data=study_data, file=file)
