"""SCAE: a stacked convolutional auto-encoder of four blocks, fitted to images without labels.

Each block first learns to reconstruct its input. Ruiz-Garcia et al. 2017,
https://doi.org/10.1109/IJCNN.2017.7966040; the channel and kernel sizes are our guess, and it reads
local contrast. Unlike theirs, a decoder starts by giving the mean of its target, so that the large
errors of a random one do not switch rectifiers off for good. And the maps of a fitted block are
standardised, as by a batch normalisation (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167)
that keeps the statistics of the training frames.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer_core.config import PretrainConfig, StreamConfig
from fer_core.models.backbones.backbone import Backbone, scaled
from fer_core.models.backbones.unsupervised import Curves, fit_greedily, unfitted

LAYERS = ((20, 5), (40, 5), (60, 3), (80, 3))  # channels and kernel of each block; a guess
LEAST_DEVIATION = 1e-2  # so that a channel which is hardly ever active is not amplified


class Block(nn.Module):
    """Convolve, rectify and max-pool maps (B, C, H, W) to half their size.

    Once fitted, the block also standardises them by the mean and deviation of each channel.
    """

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
        """Return the maps before they are standardised."""
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
    """Fit blocks in place to preprocessed images (N, 1, H, W) on the same device."""
    return fit_greedily(blocks, images, pretrain, seed, _AutoEncoder)


class _AutoEncoder:
    """Fit a block with a decoder, which up-samples and convolves the block's code to its input."""

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
        reconstruction = functional.conv2d(code, self.weight, self.bias, padding="same")
        error = functional.mse_loss(reconstruction, maps)
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
