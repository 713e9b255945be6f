"""How long a study will take, from a probe of a few seconds: its median, and its P90.

`fer_core.trial.timing` times what a trial trains, on random numbers of its shapes. A simulation
plays many times which configs are drawn and what pruning spares.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_core.config import Config
from fer_core.errors import ConfigError
from fer_core.trial.rungs import rungs
from search.screen.times import readable
from search.study.halving import LEAST, one_of

Floats = NDArray[np.floating]
PROBE_SECONDS = 10.0  # after which no further config is probed
PLAYED = 500  # studies
START_SECONDS = 8.0  # of Ray and its workers; engine.md, section 3
GPU_GIB = 24.0  # where this machine has none: that of an A10G, as in cluster.yaml
CONTEXT_GIB = 0.5  # of each process on a GPU; assumed, as it differs by driver
SAFETY = 1.5  # what is allocated between, and what torch keeps for later
MOST_HEADS = 8  # on one GPU, whose processes take turns
HANDLING_SECONDS = 0.05  # of a trial by the driver; ibid.


@dataclass(frozen=True, kw_only=True)
class Duration:
    """The seconds from the start of a study to its board."""

    seconds: float  # as likely less as more
    seconds_p90: float  # nine times in ten less
    stage_seconds: float  # of them, of what all trials share, were the store empty
    probed: int  # distinct configs that were timed
    workers: int
    head_gib: float | None = None  # that a pack of heads takes at most; None: there is none
    gpu_gib: float | None = None  # of this machine's; None: it has none

    @property
    def heads(self) -> str | None:
        """Say what heads take, and which share of a GPU that is."""
        if self.head_gib is None:
            return None
        gpu = self.gpu_gib or GPU_GIB
        return (
            f"a pack of heads takes at most {self.head_gib:.2f} GiB (counted on cpu): "
            f"--gpus-per-head {1 / heads_of(gpu, self.head_gib):g} on a GPU of {gpu:.0f} GiB"
        )

    def __str__(self) -> str:
        return (
            f"about {readable(self.seconds)}, {readable(self.seconds_p90)} at P90, "
            f"on {self.workers} workers; {readable(self.stage_seconds)} of it for stages "
            "if the store holds none"
        )


def heads_of(gpu_gib: float, head_gib: float) -> int:
    """Say how many workers with a pack of heads each a GPU holds; at least 1."""
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
    """Probe what configs take, as many as the time allows, and play the study.

    `stage_seconds` are one worker's.
    """
    timed = _timed(configs, fold_seconds)
    chance = np.random.default_rng(0)
    costs_at, chances = _races(folds, raced=raced)
    played = np.zeros(PLAYED)
    for study in range(PLAYED):
        costs = chance.choice(timed, len(configs)) if timed else np.zeros(len(configs))
        reached = chance.choice(len(chances), len(configs), p=chances)
        reached[:LEAST] = len(chances) - 1
        trials = costs * costs_at[reached] + HANDLING_SECONDS
        played[study] = trials.sum() / workers + trials.max(initial=0.0) * (1 - 1 / workers)
    median, p90 = np.quantile(played, [0.5, 0.9]) + START_SECONDS + stage_seconds / workers
    return Duration(
        seconds=float(median),
        seconds_p90=float(p90),
        stage_seconds=stage_seconds / workers,
        probed=len(timed),
        workers=workers,
    )


def _races(folds: int, *, raced: bool) -> tuple[Floats, Floats]:
    """Give what a trial has cost at each rung, in folds, and how likely it ends there."""
    passed = rungs(folds, raced=raced)
    come = np.cumprod([1.0, *(1 / one_of(rung) for rung in passed[:-1])])  # to each rung
    return (
        np.array([len(rung.folds) - 1 + rung.epochs for rung in passed]),
        come - np.append(come[1:], 0.0),
    )


def _timed(configs: Sequence[Config], fold_seconds: Callable[[Config], float]) -> list[float]:
    """Time distinct configs, spread over the draws, until the time is up."""
    distinct = list(dict.fromkeys(configs))
    order = np.random.default_rng(0).permutation(len(distinct))
    began = time.monotonic()
    found: list[float] = []
    for place in order:
        if found and time.monotonic() - began > PROBE_SECONDS:
            break
        try:
            found.append(fold_seconds(distinct[place]))
        except (ConfigError, MemoryError, RuntimeError):  # this trial will fail at once
            found.append(0.0)
    return found
