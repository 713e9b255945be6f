"""Rows 1, 2, 3 and 5: a search of frozen pooled configs, against scripts that start from images.

Row 1 runs both sides whole. Rows 2 and 3 extrapolate the baseline from measured batches, and row 5
compares with the machine's floor; these three share one study of ours.
"""

import random
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.baselines import images as plain_script
from benchmarks.rows import engine, floor, stills
from benchmarks.rows.plain import rays_defaults, write_images
from benchmarks.rows.result import Ratio
from benchmarks.rows.timing import wall_seconds
from fer_core.config import Config, StreamConfig
from fer_core.data.study_data import StudyData
from fer_core.storage.store import Store
from search.cluster import connection

SPACE = '''"""Frozen VGG-16, pooled: which head?"""

from optuna import Trial

from fer_core.config import Config, HeadConfig, OptimizerConfig, StreamConfig


def space(trial: Trial) -> Config:
    stream = StreamConfig(
        backbone="vgg16",
        weights="random",
        blocks=5,
        freeze_depth=5,
        pooling=trial.suggest_categorical("pooling", ["avg", "max"]),
        crop_pixels={pixels},
    )
    head = HeadConfig(
        fc_layers=trial.suggest_int("fc_layers", 0, 2),
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


POINTS = {points}
'''
MEASURED_BATCHES = 2
PREPARED = "both begin with prepared faces: ours as views in its store, theirs as one .npz"


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of a search."""

    pixels: int
    configs: int
    images: int
    epochs: int

    @property
    def stream(self) -> StreamConfig:
        return StreamConfig(
            backbone="vgg16",
            weights="random",
            blocks=5,
            freeze_depth=5,
            pooling="avg",
            crop_pixels=self.pixels,
        )

    @property
    def points(self) -> list[dict[str, Any]]:
        """The configs, the same for both sides."""
        generator = random.Random(0)
        return [_point(generator) for _ in range(self.configs)]

    @property
    def space(self) -> str:
        points = f"({', '.join(map(repr, self.points))},)"
        return SPACE.format(pixels=self.pixels, epochs=self.epochs, points=points)


SMALL = Size(pixels=64, configs=16, images=64, epochs=5)
LARGE = Size(pixels=224, configs=64, images=256, epochs=10)


def against_plain(size: Size = SMALL) -> list[Ratio]:
    """Row 1: run both searches whole; ours runs before and after theirs."""
    with tempfile.TemporaryDirectory() as folder, connection.connected("local"):
        root = Path(folder)
        prepared = _prepared(size, root)
        ours = [_ours(size, prepared, root / "first").seconds]
        theirs = _plain_search(size, prepared, root)
        ours.append(_ours(size, prepared, root / "second").seconds)
    mean = sum(ours) / len(ours)
    both = " and ".join(f"{seconds:.1f}" for seconds in ours)
    return [
        Ratio(
            name="plain script",
            value=theirs / mean,
            target=50,
            came_from=f"theirs {theirs:.1f} s, ours {mean:.1f} s by the clock ({both})",
            notes=("nothing extrapolated; ray.init is left out of both", PREPARED),
        )
    ]


def against_images(size: Size = LARGE) -> list[Ratio]:
    """Row 2: the baseline pays for the backbone in every epoch of every trial."""
    passes = size.configs * size.epochs * size.images
    return [_extrapolated("images every epoch", size, passes, 1000)]


def against_extraction(size: Size = LARGE) -> list[Ratio]:
    """Row 3: the baseline pays for the backbone once a trial."""
    return [_extrapolated("extraction once a trial", size, size.configs * size.images, 100)]


def against_floor(size: Size = LARGE) -> list[Ratio]:
    """Row 5: the seconds of our workers, against the least that the machine's rates allow."""
    found = _measured(size)
    return floor.compared(
        found.ours,
        found.extraction_seconds,
        size.stream,
        images=size.images,
        train_rows=found.train_rows,
    )


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """Our search, and the time of the plain script for an image, measured in the same run."""

    ours: engine.EndedStudy
    extraction_seconds: float  # summed over our workers
    image_seconds: float  # by the plain script, in each of two processes
    train_rows: int


@cache
def _measured(size: Size) -> _Measured:
    with tempfile.TemporaryDirectory() as folder, connection.connected("local"):
        root = Path(folder)
        prepared = _prepared(size, root)
        ours = _ours(size, prepared, root / "ours")
        file = root / "images.npz"
        write_images(Config(streams=(size.stream,)), prepared, file)
        seconds = plain_script.image_seconds(file, MEASURED_BATCHES, stills.CORES)
        train = set(prepared.protocol.train)
        return _Measured(
            ours=ours,
            extraction_seconds=_stage_seconds(root / "ours" / "store", "features"),
            image_seconds=seconds,
            train_rows=sum(clip.subject in train for clip in prepared.manifest.clips),
        )


def _extrapolated(name: str, size: Size, passes: int, target: float) -> Ratio:
    found = _measured(size)
    theirs = found.image_seconds * passes / stills.CORES
    measured = MEASURED_BATCHES * plain_script.BATCH
    return Ratio(
        name=name,
        value=theirs / found.ours.seconds,
        target=target,
        came_from=f"theirs {theirs:,.0f} s extrapolated, ours {found.ours.seconds:.1f} s measured",
        notes=(
            f"extrapolated: {1000 * found.image_seconds:.0f} ms an image, of {measured} in each of "
            f"{stills.CORES} processes at once, times {passes:,} images over {stills.CORES}; their "
            "heads and the start of their processes are left out",
            PREPARED,
        ),
    )


def _prepared(size: Size, root: Path) -> StudyData:
    study_data = stills.study_data(size.images, root / "prepared")
    stills.faces(study_data)
    return study_data


def _ours(size: Size, prepared: StudyData, root: Path) -> engine.EndedStudy:
    """Run our search on a copy of the prepared store, which has faces and no features."""
    shutil.copytree(prepared.store, root / "store")
    study_data = replace(prepared, store=root / "store")
    return engine.run_study(size.space, study_data, root, trials=size.configs)


def _plain_search(size: Size, prepared: StudyData, root: Path) -> float:
    file = root / "images.npz"
    write_images(Config(streams=(size.stream,)), prepared, file)
    data = plain_script.Data(file=file, epochs=size.epochs)

    def search() -> None:
        assert plain_script.search(size.points, data, root / "plain") == size.configs

    with rays_defaults():
        return wall_seconds(search)


def _stage_seconds(store: Path, stage: str) -> float:
    """Sum up the seconds in which all workers made a stage's entries."""
    found = (Store(store).get(stage, path.stem) for path in (store / stage).glob("*.npy"))
    return sum(entry.seconds for entry in found if entry is not None)


def _point(generator: random.Random) -> dict[str, Any]:
    return {
        "pooling": generator.choice(["avg", "max"]),
        "fc_layers": generator.randint(0, 2),
        "fc_width": generator.choice([64, 128, 256]),
        "dropout": generator.uniform(0.0, 0.5),
        "lr": 10 ** generator.uniform(-4, -2),
        "weight_decay": 10 ** generator.uniform(-6, -2),
    }
