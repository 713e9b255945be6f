"""Predict how long a config trains on this machine, from two short epochs on stand-in numbers.

The head is built and timed; backbone blocks that run in every step are not run, but priced by
their operations (`models.profile`) and the machine's speed (`features.speed`). The plan of a study
(`search.planning.costs`) calls `fold` for the configs that it probes.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch

from fer_core.arrays import Array
from fer_core.config import Config
from fer_core.features import storing_rule
from fer_core.features.speed import MachineSpeed
from fer_core.models.network import Network, count
from fer_core.models.profile import profile
from fer_core.training.fits import Fit, OneFit
from fer_core.trial import feasibility, pack, packing

_BATCHES = 2  # batches in each of the two epochs; the first epoch warms up


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What it takes to train a config."""

    fold_seconds: float  # training one fold
    head_gib: float | None  # memory of the largest pack of such heads; None: blocks are trained too


@dataclass(frozen=True, kw_only=True)
class _Head:
    """What a training step of the head takes: of all that follows the backbone's blocks."""

    step_seconds: float
    bytes: int  # batch, weights, gradients, moments, and values kept for the backward pass
    parameters: int


def fold(
    config: Config, classes: tuple[str, ...], *, clips: int, folds: int, machine: MachineSpeed
) -> Probed:
    """Predict what training one fold on `clips` clips takes.

    Raises: ConfigError where the config's parts do not fit together.
    """
    batch, frames = min(config.optimizer.batch_clips, clips), config.clip.frames
    head = _probed_head(config, classes, frames, batch)
    step = head.step_seconds + batch * _block_seconds(config, frames, machine)
    stacked = min(packing.MOST_MEMBERS * folds, pack.STACKED // head.parameters)
    members = max(1, stacked) if packing.stackable(config) else 1
    optimizer = config.optimizer
    updates = optimizer.batches(clips) * optimizer.epochs_for(clips)
    return Probed(
        fold_seconds=step * updates,
        head_gib=members * head.bytes / 2**30 if packing.is_head(config) else None,
    )


def _probed_head(config: Config, classes: tuple[str, ...], frames: int, batch: int) -> _Head:
    """Train the head for two short epochs on zeros, and time the second.

    The bytes leave out what a step allocates and frees again before it ends.
    """
    inputs = [feasibility.stand_in(config, stream, frames) for stream in config.streams]
    network = Network(config, inputs, classes)

    def batches(rows: Array, _: np.random.Generator | None) -> list[torch.Tensor]:
        return [each.sample.expand(len(rows), *each.sample.shape[1:]) for each in inputs]

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
    kept: dict[int, int] = {}  # address: bytes; the second batch reuses the addresses of the first

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = max(kept.get(tensor.data_ptr(), 0), tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        group.epoch()
    parameters, number_bytes = count([network]), feasibility.NUMBER_BYTES
    weights = feasibility.COPIES[config.optimizer.name] * parameters * number_bytes
    read = sum(batch * each.sample[:1].numel() * number_bytes for each in inputs)
    started = time.perf_counter()
    group.epoch()
    seconds = (time.perf_counter() - started) / _BATCHES
    return _Head(
        step_seconds=seconds, bytes=read + weights + sum(kept.values()), parameters=parameters
    )


def _block_seconds(config: Config, frames: int, machine: MachineSpeed) -> float:
    """Price a training step of one clip in the backbones' blocks.

    Blocks that are trained run forward and backward; frozen blocks run forward where nothing is
    stored of them.
    """
    seconds = 0.0
    for stream in config.images:
        units, backbone = 1 if stream.is_volume else frames, profile(stream, frames)
        frozen = backbone.flops(stream.freeze_depth)
        again = frozen if config.is_live(stream) else 0
        flops = storing_rule.STEP * (backbone.flops() - frozen) + again
        seconds += units * flops / machine.single_flops
    return seconds
