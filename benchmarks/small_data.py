"""Measure whether a family of the shipped spaces is short of training on small data.

    nice -n 15 python benchmarks/small_data.py [--sizes 60,200,1000,10000]

On made sets of each size (`rows/made.py`) it scores the baselines, and of each model of `first.py`
and `temporal.py` that reads stored features or points the first config of the space, at the lowest
rate that the space may draw. It trains the config again with four times the updates. A family is
short of training if it does worse than the best baseline, and the longer fit does better than
itself, each by more than the noise: two standard errors of the difference over the clips, and 0.02.
Models that train on images are left out, since made sets have none, and so are ConvLSTMs, which
take minutes. All sizes take about 10 minutes on a quiet core.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [path for path in sys.path if Path(path).resolve() != ROOT / "benchmarks"]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  # after the path

from benchmarks.rows import made  # noqa: E402
from fer_core.arrays import Array  # noqa: E402
from fer_core.config import Config, Stream, StreamConfig  # noqa: E402
from fer_core.data.study_data import StudyData  # noqa: E402
from fer_core.machine import make_deterministic  # noqa: E402
from fer_core.scoring import pooled, score  # noqa: E402
from fer_core.trial import baselines  # noqa: E402
from fer_core.trial.evaluate import FoldResult, cross_validate  # noqa: E402
from search.drawing import space as spaces  # noqa: E402

SETS = {60: 3}  # sets of a size whose clips are pooled; one of the others
FOLDS = {1_000: 2, 10_000: 1}  # folds that are scored; five of the others
LONGER, LEAST = 4, 0.02
LEFT_OUT = ("images", "c3d", "convlstm")
PIXELS = 48  # side of the crops, instead of 96: heads on smaller maps train ten times as fast
_DRAWS = 60


@dataclass(frozen=True)
class Found:
    """The predictions of a model on the clips of all sets of a size."""

    labels: Array  # (N,)
    probabilities: Array  # (N, K)
    still_improving: int = 0  # folds whose loss was still falling at their end
    extended: int = 0  # folds that had more epochs than the config says

    @property
    def uar(self) -> float:
        return score(self.labels, self.probabilities).uar

    def noise(self, other: "Found") -> float:
        """Give two standard errors of the difference in accuracy, over the clips."""
        right = [each.probabilities.argmax(1) == each.labels for each in (self, other)]
        difference = right[0].astype(float) - right[1]
        return max(LEAST, float(2 * difference.std() / np.sqrt(len(difference))))


def main() -> int:
    """Print the table of each size; the exit status is 1 if a family is short of training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="60,200,1000,10000")
    sizes = [int(size) for size in parser.parse_args().sizes.split(",")]
    make_deterministic(1)
    configs = dict(_configs())
    streams = {s for config in configs.values() for s in config.images}
    streams |= set(baselines.BASELINES["features+logistic"].images)
    short = 0
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            sets = [
                made.study_data(
                    made.made(size, seed), Path(folder), list(_stored(streams)), FOLDS.get(size, 5)
                )
                for seed in range(SETS.get(size, 1))
            ]
            short += _compare(size, sets, configs)
    return 1 if short else 0


def _configs() -> Iterator[tuple[str, Config]]:
    """Yield the first config of each model of the spaces, at the space's lowest rate."""
    for name in ("first", "temporal"):
        seen = set(LEFT_OUT)
        for trial, config in spaces.draws(
            spaces.load(ROOT / "spaces" / f"{name}.py"), seed=0, count=_DRAWS
        ):
            model = trial.params["model"]
            if model not in seen:
                seen.add(model)
                low = trial.distributions["adamw.lr"].low
                config = replace(config, streams=tuple(map(_small, config.streams)))
                optimizer = replace(config.optimizer, lr=low)
                yield f"{name}: {model}", replace(config, optimizer=optimizer)


def _small(stream: Stream) -> Stream:
    return replace(stream, crop_pixels=PIXELS) if isinstance(stream, StreamConfig) else stream


def _stored(streams: set[StreamConfig]) -> Iterator[StreamConfig]:
    """Give one of the streams that read the same stored features."""
    yield from {
        (each.blocks, each.crop_pixels): replace(each, pooling="none", pca_dim=None)
        for each in sorted(streams, key=repr)
    }.values()


def _compare(size: int, sets: list[StudyData], configs: dict[str, Config]) -> int:
    """Print the rows of a size, and count the families that are short of training."""
    found = {
        name: _pooled(baselines.cross_validate(name, each) for each in sets)
        for name in baselines.BASELINES
    }
    best = max(found.values(), key=lambda each: each.uar)
    print(f"{size} clips", ", ".join(f"{n} {f.uar:.3f}" for n, f in found.items()), flush=True)
    short = 0
    for name, config in configs.items():
        began = time.monotonic()
        own = _pooled(cross_validate(config, each) for each in sets)
        text, verdict = "", "not below the baselines"
        if best.uar - own.uar > best.noise(own):
            longer = _pooled(cross_validate(_longer(config), each) for each in sets)
            is_short = longer.uar - own.uar > longer.noise(own)
            short += is_short
            text = f", {longer.uar:.3f} trained {LONGER} times as long"
            verdict = "SHORT OF TRAINING" if is_short else "below, not for want of training"
        print(
            f"  {name:26s} val_uar {own.uar:.3f}{text}: {verdict} "
            f"({own.extended} folds extended, {own.still_improving} still improving, "
            f"{time.monotonic() - began:.0f} s)",
            flush=True,
        )
    return short


def _longer(config: Config) -> Config:
    optimizer = config.optimizer
    updates = LONGER * optimizer.updates if optimizer.updates else None
    longer = replace(optimizer, epochs=LONGER * optimizer.epochs, updates=updates)
    return replace(config, optimizer=longer)


def _pooled(results: Iterable[Iterable[FoldResult]]) -> Found:
    """Pool the predictions of the folds of several sets."""
    folds = [result for each in results for result in each]
    labels, probabilities, _ = pooled(folds)
    return Found(
        labels,
        probabilities,
        sum(result.still_improving for result in folds),
        sum(result.extended for result in folds),
    )


if __name__ == "__main__":
    sys.exit(main())
