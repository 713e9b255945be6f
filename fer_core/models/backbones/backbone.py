"""What every backbone is made of: blocks to freeze or cut after, and its own input scale."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A convolutional network as a list of blocks, each of which a stream may freeze or cut after.

    `preprocess` takes float RGB of 0..255, (B, 3, H, W), to what block 0 reads; c3d likewise
    (B, 3, T, H, W). Block i maps (B, C, H, W) to (B, C', H', W'); c3d (B, C, T, H, W).
    """

    blocks: nn.ModuleList
    crop_pixels: int  # side of the square that `preprocess` reads
    preprocess: nn.Module  # without parameters
    weights_sha256: str  # of the weights file, or what made random weights; part of stage keys
    source: str  # what the row says: "package", "random", or a file's name and hash


class Normalise(nn.Module):
    """Channels (B, 3, ...) to (x - mean) / std, both in units of 0..255."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, axes: int = 2) -> None:
        super().__init__()
        shape = (3, *[1] * axes)  # axes: how many follow the channels, 2 for images
        self.register_buffer("mean", torch.tensor(mean).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(shape), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.std


def scaled(channels: int, width: float) -> int:
    """Scale a channel count by a width factor, to at least one channel."""
    return max(1, round(channels * width))


def initialise(blocks: nn.Module, generator: torch.Generator) -> None:
    """Draw all convolutions as in He et al. 2015, https://arxiv.org/abs/1502.01852; biases 0."""
    for module in blocks.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
