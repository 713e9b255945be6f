"""Decide whether the output of a stream's frozen blocks is stored, or computed for each batch.

Storing everything is slower than storing only what pays (performance.md, section 3.3). The output
of a block is stored if all of these hold: a training step gets faster by enough, reading an
image's activations is faster than computing them, all later reads together save more time than
the writing takes, and the disk has room. The output of a backbone that is frozen as a whole is
always stored. A trial asks before it computes (`features.activations`), and `--dry-run` prints the
answer for every stream.
"""

import math
from dataclasses import dataclass

from fer_core.config import StreamConfig
from fer_core.features.speed import MachineSpeed
from fer_core.models.profile import profile

LEAST_GAIN = 1.3  # a training step must get this many times as fast; performance.md, section 3.3
STEP = 3  # forward passes that a training step costs: one, and a backward pass that costs two
FREE_SHARE = 0.2  # share of the free disk that one depth may take: one pass may store several


@dataclass(frozen=True, kw_only=True)
class Reads:
    """How often a stream's activations would be read, if they were stored."""

    clips: int
    frames: int  # frames per clip
    epochs: int
    folds: int
    trials: int = 1  # trials that read the same activations


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Whether a stream's activations are stored, and the figures that decided it."""

    stream: StreamConfig
    store: bool
    why: str  # the reason, in one line
    bytes: int  # size of the activations of all images
    gain: float  # a training step gets at most this many times as fast; inf: only a head is left
    seconds_saved: float  # by all trials together, if the activations are stored


def whether_to_store(
    stream: StreamConfig, reads: Reads, machine: MachineSpeed, *, free_bytes: int
) -> Choice:
    """Choose whether to store a stream's activations, or to compute them for each batch."""
    depth, backbone = stream.freeze_depth, profile(stream, reads.frames)
    flops, unit_bytes = backbone.flops(depth), backbone.blocks[depth - 1].stored_bytes
    after = STEP * (backbone.flops() - flops)
    gain = (flops + after) / after if after else math.inf
    units = reads.clips if stream.is_volume else reads.clips * reads.frames
    again = reads.epochs * reads.folds * reads.trials - 1  # the first pass computes them anyway
    computed, read = flops / machine.flops_of(stream), unit_bytes / machine.read_bytes
    saved = units * (again * (computed - read) - unit_bytes / machine.write_bytes)
    size = units * unit_bytes
    room = f"{size / 1e9:.2g} GB of {free_bytes / 1e9:.2g} GB free"
    against = None  # the reason not to store
    if not stream.frozen:
        if gain < LEAST_GAIN:
            against = f"a training step gets at most {gain:.2f}x as fast, under {LEAST_GAIN}x"
        elif read >= computed:
            against = f"reading an image takes {read:.2g} s, computing it takes {computed:.2g} s"
        elif saved <= 0:
            against = f"{again} further reads save less time than the writing takes"
        elif size > FREE_SHARE * free_bytes:
            against = f"it is too large, {room}"
    gains = f"a training step gets up to {gain:.2f}x as fast"
    gains = "only the head is trained" if stream.frozen else gains
    reason = against or f"{gains}, {again + 1} reads save {_seconds(saved)}, it takes {room}"
    what = f"{stream.backbone} up to block {depth} of {stream.blocks}"
    why = f"{what} is {'computed for each batch' if against else 'stored'}: {reason}"
    return Choice(
        stream=stream, store=not against, why=why, bytes=size, gain=gain, seconds_saved=saved
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.3g} s"
