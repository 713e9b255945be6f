"""Predict how long a study will take before it starts: the median, and the P90.

`fer_core.trial.timing` times for a moment what a trial trains, on stand-in numbers. Here configs
are timed for a few seconds, and the predictor of the progress line (`search.screen.remaining`)
simulates the study from them, with what pruning saves. `--dry-run` prints the result.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fer_core.config import Config
from fer_core.errors import ConfigError
from fer_core.trial.rungs import rungs
from search.screen.remaining import Pruning, predict
from search.screen.times import readable
from search.study.halving import LEAST, one_of

PROBE_SECONDS = 10.0  # no further config is timed after this
START_SECONDS = 8.0  # starting Ray and its workers; engine.md, section 3
HANDLING_SECONDS = 0.05  # the driver's work per trial; ibid.
GPU_GIB = 24.0  # assumed where this machine has no GPU: an A10G, as in cluster.yaml
CONTEXT_GIB = 0.5  # GPU memory that each process takes by itself; assumed, it differs by driver
SAFETY = 1.5  # factor for short-lived tensors, and for memory that torch keeps for later
MOST_HEADS = 8  # most workers on one GPU, whose processes take turns


@dataclass(frozen=True, kw_only=True)
class Duration:
    """The seconds from the start of a study to its leaderboard."""

    seconds: float  # median: the study takes less in half of all cases
    seconds_p90: float  # the study takes less in nine of ten cases
    stage_seconds: float  # share of these for stages, if the store is empty
    probed: int  # distinct configs that were timed
    workers: int
    head_gib: float | None = None  # most memory of a pack of heads; None: no trial is only a head
    gpu_gib: float | None = None  # memory of this machine's GPU; None: it has no GPU

    @property
    def gpu_share_advice(self) -> str | None:
        """Say how much memory a pack of heads takes, and which share of a GPU suits it."""
        if self.head_gib is None:
            return None
        gpu = self.gpu_gib or GPU_GIB
        return (
            f"trials that train only a head take at most {self.head_gib:.2f} GiB per pack "
            f"(counted on the CPU); --gpus-per-head {1 / heads_of(gpu, self.head_gib):g} suits "
            f"a GPU of {gpu:.0f} GiB"
        )

    def __str__(self) -> str:
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return (
            f"about {readable(self.seconds)} on {workers}, and less than "
            f"{readable(self.seconds_p90)} in 9 of 10 cases (P90); stages take "
            f"{readable(self.stage_seconds)} of it if the store has none of them"
        )


def heads_of(gpu_gib: float, head_gib: float) -> int:
    """Return how many workers, each with a pack of heads, fit on a GPU; at least 1."""
    return max(1, min(MOST_HEADS, int(gpu_gib / (SAFETY * head_gib + CONTEXT_GIB))))


def predict_duration(
    configs: Sequence[Config],
    fold_seconds: Callable[[Config], float],
    *,
    folds: int,
    raced: bool,
    stage_seconds: float,
    workers: int,
) -> Duration:
    """Time as many configs as `PROBE_SECONDS` allow, and predict the study from them.

    `fold_seconds` times a config: what one fold of it takes. `stage_seconds` is what one worker
    would take to make all stages that are missing.
    """
    timed = _timed(configs, fold_seconds)
    expected = predict(
        [folds * seconds for seconds in timed],
        len(configs),
        workers,
        least=1,
        pruning=expected_pruning(folds, raced=raced),
    )
    overhead = START_SECONDS + (stage_seconds + HANDLING_SECONDS * len(configs)) / workers
    return Duration(
        seconds=overhead + (expected.seconds if expected else 0.0),
        seconds_p90=overhead + (expected.p90 if expected else 0.0),
        stage_seconds=stage_seconds / workers,
        probed=len(timed),
        workers=workers,
    )


def expected_pruning(folds: int, *, raced: bool) -> Pruning:
    """Say how far trials train before they end, if each rung stops as many as it should."""
    course = rungs(folds, raced=raced)
    arriving = np.cumprod([1.0, *(1 / one_of(rung) for rung in course[:-1])])
    return Pruning(
        shares=np.array([len(rung.folds) - 1 + rung.epochs for rung in course]) / folds,
        chances=arriving - np.append(arriving[1:], 0.0),
        exempt=LEAST,
    )


def _timed(configs: Sequence[Config], fold_seconds: Callable[[Config], float]) -> list[float]:
    """Time distinct configs, in random order, until the time is up."""
    distinct = list(dict.fromkeys(configs))
    order = np.random.default_rng(0).permutation(len(distinct))
    started = time.monotonic()
    found: list[float] = []
    for position in order:
        if found and time.monotonic() - started > PROBE_SECONDS:
            break
        try:
            found.append(fold_seconds(distinct[position]))
        except (ConfigError, MemoryError, RuntimeError):  # this trial will fail at once
            found.append(0.0)
    return found
