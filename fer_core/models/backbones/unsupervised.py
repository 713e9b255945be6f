"""What scae and cdbn share: what they read, and how they are fitted, block by block.

Bengio et al. 2006, https://papers.nips.cc/paper/3048. What the blocks below give is computed anew
for each batch: kept, it would be several times as large as the images.
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
BATCH_IMAGES = 16  # few, since what counts for an auto-encoder is the number of its steps
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
WINDOW_PIXELS = 9  # Jarrett et al. 2009, section 2.1
DARKEST = 1.0  # a deviation of grey levels, under which an image is taken for plain


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Means over one epoch of fitting one block, taken as its weights change."""

    reconstruction_error: float  # squared, of what the block reads
    free_energy_gap: float | None = None  # cdbn: of images less of shuffled ones, per unit
    activation: float | None = None  # cdbn: of a hidden unit, 1/4 at most


Curves = list[list[Epoch]]  # of each block


class LocalContrast(nn.Module):
    """RGB of 0..255, (B, 3, H, W), to grey (B, 1, H, W) without its local mean and contrast.

    Jarrett et al. 2009, https://doi.org/10.1109/ICCV.2009.5459469; unlike them, with a plain mean
    over the window instead of a weighted one. No pixel beyond the border is made up.
    """

    def forward(self, pixels: Tensor) -> Tensor:
        grey = (pixels * pixels.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        centred = grey - _local_mean(grey)
        deviation = _local_mean(centred.square()).sqrt()
        usual = deviation.mean(dim=(1, 2, 3), keepdim=True).clamp_min(DARKEST)
        return centred / torch.maximum(deviation, usual)


def unfitted(stream: StreamConfig, blocks: nn.ModuleList, generator: torch.Generator) -> Backbone:
    """Draw the weights of blocks that read local contrast."""
    initialise(blocks, generator)
    return Backbone(
        blocks=blocks.to(memory_format=torch.channels_last),  # twice as fast on a CPU
        crop_pixels=stream.crop_pixels or CROP_PIXELS,
        preprocess=LocalContrast(),
        weights_sha256=f"random:{stream.backbone}:{generator.initial_seed()}:{stream.width!r}",
        source="random",
    )


class Layer(Protocol):
    """A block and what fits it; made from the block, and from a first batch of what it reads."""

    def step(self, maps: Tensor, epoch: int) -> Mapping[str, Tensor]:
        """Take one step, in an epoch that counts from 0, and measure what `Epoch` holds."""

    def finish(self, batches: Iterable[Tensor]) -> None:
        """Leave the block as a layer of a network; `batches` are all that it reads once more."""


def fit_greedily(
    blocks: nn.ModuleList,
    images: Tensor,
    pretrain: PretrainConfig,
    seed: int,
    start: Callable[[nn.Module, Tensor, PretrainConfig, torch.Generator], Layer],
) -> Curves:
    """Fit blocks in place, from the first on, each as the layer that `start` makes of it."""
    generator = torch.Generator().manual_seed(seed)
    curves = []
    for depth, block in enumerate(blocks):
        below = blocks[:depth]
        layer = start(block, next(_batches(below, images, generator)), pretrain, generator)
        curve = []
        for epoch in range(pretrain.epochs):
            batches = _batches(below, images, generator)
            curve.append(_mean([layer.step(maps, epoch) for maps in batches]))
        layer.finish(_batches(below, images, generator))
        curves.append(curve)
    return curves


def _batches(
    below: Iterable[nn.Module], images: Tensor, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield what the blocks below give for all images, each once, in random order."""
    order = torch.randperm(len(images), generator=generator).to(images.device)
    for chosen in torch.tensor_split(order, math.ceil(len(images) / BATCH_IMAGES)):  # even sizes
        maps = images[chosen]
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
