"""What a config would take to train on this machine, from two steps on numbers of its shapes."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from fer_core.arrays import Array
from fer_core.config import Config
from fer_core.features import storing_rule
from fer_core.features.speed import MachineSpeed
from fer_core.models.network import Network, count
from fer_core.training import loop
from fer_core.training.fits import Fit, OneFit
from fer_core.trial import feasibility, pack, packing

_BATCHES = 2  # of each of two epochs: the first warms up
_BYTES = 4  # of a number


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What a config takes."""

    fold_seconds: float
    head_gib: float | None  # of a pack of as many as stack; None: it trains more than a head


def fold(
    config: Config, classes: tuple[str, ...], *, clips: int, folds: int, machine: MachineSpeed
) -> Probed:
    """Predict the training of one fold, of so many clips: the head is timed, blocks are counted.

    Raises: ConfigError where the config's parts do not fit together.
    """
    batch, frames = min(config.optimizer.batch_clips, clips), config.clip.frames
    step, head_bytes, parameters = _head(config, classes, frames, batch)
    step += batch * _block_seconds(config, frames, machine)
    stacked = min(packing.MOST_MEMBERS * folds, pack.STACKED // parameters)
    runs = max(1, stacked) if packing.stackable(config) else 1
    batches = loop.batch_count(clips, config.optimizer.batch_clips)
    return Probed(
        fold_seconds=step * config.optimizer.epochs * batches,
        head_gib=runs * head_bytes / 2**30 if packing.is_head(config) else None,
    )


def _head(
    config: Config, classes: tuple[str, ...], frames: int, batch: int
) -> tuple[float, int, int]:
    """Time a step of all that follows the blocks, on zeros; give its bytes and parameters too.

    The bytes are those of the batch, of weights, gradients and moments, and of what the backward
    pass is kept for; what is allocated and freed between is not seen.
    """
    given = [feasibility.stand_in(config, stream, frames) for stream in config.streams]
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
    group = OneFit(fit)
    kept: dict[int, int] = {}  # bytes by where they lie: the second batch lies where the first did

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = max(kept.get(tensor.data_ptr(), 0), tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        group.epoch()
    copies = feasibility.COPIES[config.optimizer.name] * count([network]) * _BYTES
    inputs = sum(batch * each.sample[:1].numel() * _BYTES for each in given)
    started = time.perf_counter()
    group.epoch()
    seconds = (time.perf_counter() - started) / _BATCHES
    return seconds, inputs + copies + sum(kept.values()), count([network])


def _block_seconds(config: Config, frames: int, machine: MachineSpeed) -> float:
    """Count what one clip's unfrozen blocks take, and frozen ones that nothing is stored of."""
    seconds = 0.0
    for stream in config.images:
        units = 1 if stream.is_volume else frames
        costs = storing_rule.costs(stream.architecture, frames if stream.is_volume else 1)
        flops = [0, *(cost.flops for cost in costs)]
        frozen = flops[stream.freeze_depth]
        again = frozen if config.is_live(stream) else 0
        seconds += units * (storing_rule.STEP * (flops[-1] - frozen) + again) / machine.single_flops
    return seconds
