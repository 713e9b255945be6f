"""What `scae` and `cdbn` share: both are fitted to images without labels, block by block.

Each block is fitted to the maps that the fitted blocks before it give: Bengio et al. 2006,
https://papers.nips.cc/paper/3048. These maps are computed anew for each batch, since all of them
together would be several times as large as the images. `fer_core.features.pretraining` does the
fitting on the training frames, and stores the result.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer_core.config import PretrainConfig, StreamConfig
from fer_core.models.backbones.backbone import Backbone, initialise

CROP_PIXELS = 64
BATCH_IMAGES = 16  # small batches, since an auto-encoder needs many steps
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
WINDOW_PIXELS = 9  # Jarrett et al. 2009, section 2.1
LEAST_CONTRAST = 1.0  # a deviation in grey levels; images with less are not amplified further


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Record the fitting of one block over one epoch: means over its steps, as weights change."""

    reconstruction_error: float  # mean squared error of the block's reconstructed input
    free_energy_gap: float | None = None  # cdbn: of the maps minus of shuffled maps, per unit
    activation: float | None = None  # cdbn: mean of the hidden units, at most 1/4


Curves = list[list[Epoch]]  # for each block, its epochs


class LocalContrast(nn.Module):
    """Normalise the local mean and contrast: RGB of 0..255, (B, 3, H, W), to grey (B, 1, H, W).

    Jarrett et al. 2009, https://doi.org/10.1109/ICCV.2009.5459469. Unlike theirs, the mean over the
    window is not weighted. At the border the window is cut: no pixels are invented.
    """

    def forward(self, pixels: Tensor) -> Tensor:
        grey = (pixels * pixels.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        centred = grey - _local_mean(grey)
        deviation = _local_mean(centred.square()).sqrt()
        usual = deviation.mean(dim=(1, 2, 3), keepdim=True).clamp_min(LEAST_CONTRAST)
        return centred / torch.maximum(deviation, usual)


def unfitted(stream: StreamConfig, blocks: nn.ModuleList, generator: torch.Generator) -> Backbone:
    """Draw random weights for blocks that read local contrast, and return them as a backbone."""
    initialise(blocks, generator)
    return Backbone(
        blocks=blocks.to(memory_format=torch.channels_last),  # this is twice as fast on a CPU
        crop_pixels=stream.crop_pixels or CROP_PIXELS,
        preprocess=LocalContrast(),
        weights_sha256=f"random:{stream.backbone}:{generator.initial_seed()}:{stream.width!r}",
        source="random",
    )


class BlockFit(Protocol):
    """The fitting of one block; it is made from the block and a first batch of its input."""

    def step(self, maps: Tensor, epoch: int) -> Mapping[str, Tensor]:
        """Take one step on a batch of maps, and return the values of `Epoch`'s fields.

        Epochs are counted from 0.
        """

    def finish(self, batches: Iterable[Tensor]) -> None:
        """End the fitting, so that the block is an ordinary layer; `batches` are all its inputs."""


def fit_greedily(
    blocks: nn.ModuleList,
    images: Tensor,
    pretrain: PretrainConfig,
    seed: int,
    start: Callable[[nn.Module, Tensor, PretrainConfig, torch.Generator], BlockFit],
) -> Curves:
    """Fit blocks in place, one after the other, each by the `BlockFit` that `start` makes."""
    generator = torch.Generator().manual_seed(seed)
    curves = []
    for depth, block in enumerate(blocks):
        below = blocks[:depth]
        block_fit = start(block, next(_batches(below, images, generator)), pretrain, generator)
        curve = []
        for epoch in range(pretrain.epochs):
            batches = _batches(below, images, generator)
            curve.append(_mean([block_fit.step(maps, epoch) for maps in batches]))
        block_fit.finish(_batches(below, images, generator))
        curves.append(curve)
    return curves


def _batches(
    below: Iterable[nn.Module], images: Tensor, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield the maps that the blocks `below` give for all images, in random order, in batches."""
    order = torch.randperm(len(images), generator=generator).to(images.device)
    for batch in torch.tensor_split(order, math.ceil(len(images) / BATCH_IMAGES)):  # even sizes
        maps = images[batch]
        with torch.no_grad():
            for block in below:
                maps = block(maps)
        yield maps


def _mean(steps: Sequence[Mapping[str, Tensor]]) -> Epoch:
    names = steps[0]
    return Epoch(**{name: torch.stack([s[name] for s in steps]).mean().item() for name in names})


def _local_mean(maps: Tensor) -> Tensor:
    half = WINDOW_PIXELS // 2
    return functional.avg_pool2d(maps, WINDOW_PIXELS, 1, half, count_include_pad=False)
