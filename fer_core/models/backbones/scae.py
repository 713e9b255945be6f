"""SCAE: four convolutions, each of which first learns to give back what it reads.

Ruiz-Garcia et al. 2017, https://doi.org/10.1109/IJCNN.2017.7966040. Its channel and kernel sizes
are our guess, and it reads local contrast. Unlike theirs, a decoder begins as the mean of what it
has to give back, so that the large errors of a random one do not switch rectifiers off for good;
and the maps of a fitted block are standardised, as by a batch normalisation (Ioffe and Szegedy
2015, https://arxiv.org/abs/1502.03167) that keeps the training frames' figures.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer_core.config import PretrainConfig, StreamConfig
from fer_core.models.backbones.backbone import Backbone, scaled
from fer_core.models.backbones.unsupervised import Curves, fit_greedily, unfitted

LAYERS = ((20, 5), (40, 5), (60, 3), (80, 3))  # channels, kernel; a guess
LEAST_DEVIATION = 1e-2  # of a channel; one that is hardly ever on is not to be blown up


class Block(nn.Module):
    """Convolve, rectify, halve by max-pooling and, once fitted, standardise (B, C, H, W)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, size: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, size, kernel, padding="same")
        self.register_buffer("mean", torch.zeros(size, 1, 1))
        self.register_buffer("deviation", torch.ones(size, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return (self.code(maps) - self.mean) / self.deviation

    def code(self, maps: Tensor) -> Tensor:
        return functional.max_pool2d(functional.relu(self.convolution(maps)), 2)


def build(stream: StreamConfig, _file: Path | None, generator: torch.Generator) -> Backbone:
    """Build the first blocks with random weights."""
    blocks, channels = nn.ModuleList(), 1
    for size, kernel in LAYERS[: stream.blocks]:
        size = scaled(size, stream.width)
        blocks.append(Block(channels, size, kernel))
        channels = size
    return unfitted(stream, blocks, generator)


def fit(blocks: nn.ModuleList, images: Tensor, pretrain: PretrainConfig, seed: int) -> Curves:
    """Fit blocks in place to preprocessed images (N, 1, H, W), which are on the blocks' device."""
    return fit_greedily(blocks, images, pretrain, seed, _AutoEncoder)


class _AutoEncoder:
    """A block, the up-sampling and convolution that undo it, and what fits them."""

    def __init__(
        self, block: nn.Module, maps: Tensor, pretrain: PretrainConfig, _generator: torch.Generator
    ) -> None:
        assert isinstance(block, Block)
        self.block = block
        self.weight = torch.zeros_like(block.convolution.weight.transpose(0, 1)).requires_grad_()
        self.bias = maps.mean(dim=(0, 2, 3)).requires_grad_()
        decoder = [self.weight, self.bias]
        self.optimizer = torch.optim.Adam([*block.parameters(), *decoder], pretrain.lr)

    def step(self, maps: Tensor, _epoch: int) -> dict[str, Tensor]:
        code = functional.interpolate(self.block.code(maps), size=maps.shape[2:])
        given = functional.conv2d(code, self.weight, self.bias, padding="same")
        error = functional.mse_loss(given, maps)
        self.optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return {"reconstruction_error": error.detach()}

    @torch.no_grad()
    def finish(self, batches: Iterable[Tensor]) -> None:
        self.optimizer.zero_grad()
        axes = (0, 2, 3)
        codes = (self.block.code(maps) for maps in batches)
        moments = [torch.stack([c.mean(axes), c.square().mean(axes)]) for c in codes]
        mean, square = torch.stack(moments).mean(dim=0)[..., None, None]
        self.block.mean.copy_(mean)
        self.block.deviation.copy_((square - mean.square()).clamp_min(LEAST_DEVIATION**2).sqrt())
