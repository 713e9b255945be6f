"""What a backbone costs, and which shapes it gives, known before any image is computed.

`profile` runs a stream's backbone once on PyTorch's meta device, which computes shapes and no
numbers, and remembers the answer. Whoever asks what a config costs reads it here: the check that
a config can work (`trial.feasibility`), the rule of what is stored (`features.storing_rule`), the
timing of a config (`trial.timing`) and the plan of a study (`search.planning`).
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError
from fer_core.models import backbones
from fer_core.models.backbones import Backbone, libraries
from fer_core.models.network import count

_STORED_BYTES = 2  # bytes per number: activations are stored in half precision


@dataclass(frozen=True, kw_only=True)
class BlockProfile:
    """One block of a backbone, run on a single image, or on a single volume of frames."""

    shape: tuple[int, ...]  # of its output: (C, H, W), or (C, T, H, W) for a volume
    flops: int  # floating-point operations of this block alone
    parameters: int  # numbers that training would change

    @property
    def stored_bytes(self) -> int:
        """The size of the output in the store."""
        return math.prod(self.shape) * _STORED_BYTES


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A backbone's costs and shapes for one image, or for one volume of frames.

    A depth counts blocks from the input: depth 0 is the preprocessed image, depth 1 the output
    of the first block, and so on, as `StreamConfig.freeze_depth` counts them.
    """

    input_shape: tuple[int, ...]  # of what the first block reads: (C, H, W), or (C, T, H, W)
    blocks: tuple[BlockProfile, ...]

    def shape(self, depth: int) -> tuple[int, ...]:
        """Give the shape of what leaves the first `depth` blocks."""
        return self.blocks[depth - 1].shape if depth else self.input_shape

    def flops(self, depth: int | None = None) -> int:
        """Count the floating-point operations of the first `depth` blocks; None: of all blocks."""
        return sum(block.flops for block in self.blocks[:depth])

    def parameters(self, depth: int = 0) -> int:
        """Count the parameters of all blocks that come after the first `depth`."""
        return sum(block.parameters for block in self.blocks[depth:])

    def features(self, pooling: str) -> int:
        """Count the features that the last block's output is pooled to."""
        shape = self.shape(len(self.blocks))
        return math.prod(shape) if pooling == "none" else shape[0]


def profile(stream: StreamConfig, frames: int) -> Profile:
    """Profile a stream's backbone for clips of `frames` frames; equal backbones share one answer.

    A volume network reads all frames of a clip at once; any other network reads one image.

    Raises: ConfigError where the backbone cannot be built, or where so few pixels or frames do
        not get through its blocks.
    """
    return _profile(stream.architecture, frames if stream.is_volume else 1)


@cache
def _profile(architecture: StreamConfig, frames: int) -> Profile:
    backbone = _without_numbers(architecture)
    side = architecture.crop_pixels or backbone.crop_pixels
    time = [frames] if architecture.is_volume else []
    with torch.no_grad():
        maps = backbone.preprocess(torch.zeros(1, 3, *time, side, side, device="meta"))
        input_shape, found = tuple(maps.shape[1:]), []
        try:
            for block in backbone.blocks:
                maps, flops = _counted(block, maps)
                found.append(
                    BlockProfile(
                        shape=tuple(maps.shape[1:]), flops=flops, parameters=count([block])
                    )
                )
        except RuntimeError as error:
            read = f"{frames} frames of {side} pixels" if time else f"{side} pixels"
            raise ConfigError(
                f"stream.blocks is {architecture.blocks}; {read} do not get through so many blocks "
                f"of {architecture.backbone}: use larger crops, more frames, or fewer blocks."
            ) from error
    return Profile(input_shape=input_shape, blocks=tuple(found))


def _without_numbers(architecture: StreamConfig) -> Backbone:
    """Build a backbone on the meta device, where its weights take no memory.

    A library's network is built on the CPU and moved: it is cut into blocks by running an image
    through it.
    """
    library, _, _ = architecture.backbone.partition(":")
    with torch.device("cpu" if library in libraries.LIBRARIES else "meta"):
        backbone = backbones.build(architecture, weights_file=None, seed=0)
    backbone.blocks.eval().to("meta")
    backbone.preprocess.to("meta")
    return backbone


def _counted(block: torch.nn.Module, maps: Tensor) -> tuple[Tensor, int]:
    """Run a block; give its output and the floating-point operations that it took."""
    with FlopCounterMode(display=False) as counter:
        maps = block(maps)
    return maps, counter.get_total_flops()
