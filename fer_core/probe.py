"""What a config would take to train on this machine, from two steps on numbers of its shapes."""

import time

import numpy as np
import torch

from fer_core import feasible, storing
from fer_core.config import Config
from fer_core.models.network import Network
from fer_core.precision import Machine
from fer_core.store import Array
from fer_core.training import loop
from fer_core.training.fits import Alone, Fit

_BATCHES = 2  # of each of two epochs: the first warms up


def fold_seconds(
    config: Config, classes: tuple[str, ...], *, clips: int, machine: Machine
) -> float:
    """Predict the training of one fold, of so many clips: the head is timed, blocks are counted.

    Raises: ConfigError where the config's parts do not fit together.
    """
    batch, frames = min(config.optimizer.batch_clips, clips), config.clip.frames
    step = _head_seconds(config, classes, frames, batch)
    step += batch * _block_seconds(config, frames, machine)
    return step * config.optimizer.epochs * loop.batch_count(clips, config.optimizer.batch_clips)


def _head_seconds(config: Config, classes: tuple[str, ...], frames: int, batch: int) -> float:
    """Time a step of all that follows the blocks, on zeros."""
    given = [feasible.stand_in(config, stream, frames) for stream in config.streams]
    network = Network(config, given, classes)

    def batches(rows: Array, _: np.random.Generator | None) -> list[torch.Tensor]:
        return [each.sample.expand(len(rows), *each.sample.shape[1:]) for each in given]

    rows = np.arange(_BATCHES * batch)
    fit = Fit(
        network=network,
        batches=batches,
        labels=rows % len(classes),
        rows=rows,
        config=config.optimizer,
        seed=0,
        order=0,
        data="",
    )
    group = Alone(fit)
    group.epoch()
    started = time.perf_counter()
    group.epoch()
    return (time.perf_counter() - started) / _BATCHES


def _block_seconds(config: Config, frames: int, machine: Machine) -> float:
    """Count what one clip's unfrozen blocks take, and frozen ones that nothing is stored of."""
    seconds = 0.0
    for stream in config.images:
        units = 1 if stream.is_volume else frames
        costs = storing.costs(stream.architecture, frames if stream.is_volume else 1)
        flops = [0, *(cost.flops for cost in costs)]
        frozen = flops[stream.freeze_depth]
        again = frozen if config.is_live(stream) else 0
        seconds += units * (storing.STEP * (flops[-1] - frozen) + again) / machine.single_flops
    return seconds
