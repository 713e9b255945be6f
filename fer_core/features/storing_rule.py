"""Whether a stream's activations are stored, or computed again from the views for each batch.

Storing all of them is slower than storing what pays: see performance.md, 3.3. A point where a
backbone may be frozen is stored where that can speed a step up by enough, where reading an image's
activations is faster than computing them, where the reads pay for the writing, and where there is
room. A backbone that is frozen as a whole is always stored.
"""

import math
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from fer_core.config import StreamConfig
from fer_core.features import extraction
from fer_core.features.speed import MachineSpeed
from fer_core.models import backbones

LEAST_GAIN = 1.3  # of a training step; performance.md, 3.3
STEP = 3  # a training step computes what follows forward, and backward twice
FREE_SHARE = 0.2  # of the free disk that one depth may take: a pass may tap several
_HALF = 2  # bytes of a number


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A backbone up to a block, for one image or one volume."""

    bytes: int  # of what leaves that block
    flops: int  # up to there


@dataclass(frozen=True, kw_only=True)
class Reads:
    """How often activations would be read."""

    clips: int
    frames: int  # of each
    epochs: int
    folds: int
    trials: int = 1  # that share them


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is done with a stream's activations, and the figures that it is chosen by."""

    stream: StreamConfig
    store: bool
    why: str  # one line
    bytes: int  # of all images
    gain: float  # the most that a training step can gain; infinite where nothing else is computed
    seconds_saved: float  # in all trials, if it is stored


def whether_to_store(
    stream: StreamConfig, demand: Reads, machine: MachineSpeed, *, free_bytes: int
) -> Choice:
    """Store a stream's activations, or compute them for each batch."""
    known = costs(stream.architecture, demand.frames if stream.is_volume else 1)
    cost = known[stream.freeze_depth - 1]
    after = STEP * (known[-1].flops - cost.flops)
    gain = (cost.flops + after) / after if after else math.inf
    units = demand.clips if stream.is_volume else demand.clips * demand.frames
    again = demand.epochs * demand.folds * demand.trials - 1  # the first computes them anyway
    computed, read = cost.flops / machine.flops_of(stream), cost.bytes / machine.read_bytes
    saved = units * (again * (computed - read) - cost.bytes / machine.write_bytes)
    size = units * cost.bytes
    room = f"{size / 1e9:.2g} GB, and {free_bytes / 1e9:.2g} GB are free"
    if stream.frozen:
        against = None
    elif gain < LEAST_GAIN:
        against = f"a step gains {gain:.2f}x at most, under {LEAST_GAIN}x"
    elif read >= computed:
        against = f"reading an image takes {read:.2g} s, and computing it {computed:.2g} s"
    elif saved <= 0:
        against = f"{again} further reads do not pay for the writing"
    else:
        against = f"it is too large: {room}" if size > FREE_SHARE * free_bytes else None
    most = "all but the head" if stream.frozen else f"{gain:.2f}x a step at most"
    pays = f"it gains {most}, saves {saved:.3g} s in {again + 1} reads, and takes {room}"
    where = f"{stream.backbone} to block {stream.freeze_depth} of {stream.blocks}"
    why = f"{where} is {f'computed again: {against}' if against else f'stored: {pays}'}"
    return Choice(
        stream=stream, store=not against, why=why, bytes=size, gain=gain, seconds_saved=saved
    )


def points(
    stream: StreamConfig, demand: Reads, machine: MachineSpeed, *, free_bytes: int
) -> tuple[Choice, ...]:
    """Choose for each block that a stream's backbone may be frozen to."""
    streams = (replace(stream, freeze_depth=depth) for depth in range(1, stream.blocks + 1))
    return tuple(whether_to_store(each, demand, machine, free_bytes=free_bytes) for each in streams)


@cache
def costs(architecture: StreamConfig, frames: int) -> tuple[Cost, ...]:
    """Count what a backbone computes of one unit up to each block; nothing is computed for it."""
    backbone = backbones.build(architecture, weights_file=None, seed=0)
    side = extraction.crop_pixels(architecture, backbone)
    crops = torch.zeros(1, frames, side, side, 3)
    x = extraction.preprocessed(crops, architecture, backbone, torch.device("cpu"))
    x = (x if architecture.is_volume else x.flatten(0, 1)).to("meta")
    found, flops = [], 0
    for block in backbone.blocks.eval().to("meta"):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            x = block(x)
        flops += counter.get_total_flops()
        found.append(Cost(bytes=x.numel() * _HALF, flops=flops))
    return tuple(found)
