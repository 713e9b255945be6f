"""SCAE: four convolutions, each of which first learns to give back what it reads.

Ruiz-Garcia et al. 2017, https://doi.org/10.1109/IJCNN.2017.7966040. Its channel and kernel sizes
are our guess, and it reads local contrast. Unlike theirs, a decoder begins as the mean of what it
has to give back, so that the large errors of a random one do not switch rectifiers off for good;
and a fitted block is scaled to outputs of unit deviation (Mishkin and Matas 2016,
https://arxiv.org/abs/1511.06422), a scale that reconstruction leaves open and training feels.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer_core.config import PretrainConfig, StreamConfig
from fer_core.models.backbones.backbone import Backbone, scaled
from fer_core.models.backbones.unsupervised import Curves, fit_greedily, unfitted

LAYERS = ((20, 5), (40, 5), (60, 3), (80, 3))  # channels, kernel; a guess
LEAST_DEVIATION = 1e-6


def build(stream: StreamConfig, _file: Path | None, generator: torch.Generator) -> Backbone:
    """Build the first blocks with random weights; each halves (B, C, H, W)."""
    blocks, channels = nn.ModuleList(), 1
    for size, kernel in LAYERS[: stream.blocks]:
        size = scaled(size, stream.width)
        convolution = nn.Conv2d(channels, size, kernel, padding="same")
        blocks.append(nn.Sequential(convolution, nn.ReLU(inplace=True), nn.MaxPool2d(2)))
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
        weight, _ = self.encoder = list(block.parameters())
        self.block = block
        self.weight = torch.zeros_like(weight.transpose(0, 1), requires_grad=True)
        self.bias = maps.mean(dim=(0, 2, 3)).requires_grad_()
        self.optimizer = torch.optim.Adam([*self.encoder, self.weight, self.bias], pretrain.lr)

    def step(self, maps: Tensor, _epoch: int) -> dict[str, Tensor]:
        code = functional.interpolate(self.block(maps), size=maps.shape[2:])
        given = functional.conv2d(code, self.weight, self.bias, padding="same")
        error = functional.mse_loss(given, maps)
        self.optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return {"reconstruction_error": error.detach()}

    @torch.no_grad()
    def finish(self, maps: Tensor) -> None:
        deviation = self.block(maps).std().clamp_min(LEAST_DEVIATION)
        for parameter in self.encoder:  # rectifier and pool let a scale through
            parameter.div_(deviation)
