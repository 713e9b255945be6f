"""The `Backbone` that every builder returns, and what the builders share.

Shared are the normalisation of pixels, scaled channel counts, random initialisation, and the
loading of a weights file. Only the modules of this room use these helpers; `Backbone` itself is
what the features and predict rooms get.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError
from fer_core.models.state_dicts import load_exact, read
from fer_core.storage.files import file_sha256
from fer_core.weight_files import existing


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """Hold a network as a list of blocks; a stream can end, or stop freezing, after each of them.

    `preprocess` maps float RGB pixels of 0..255, (B, 3, H, W), to what block 0 reads; for a volume
    network the pixels are (B, 3, T, H, W). A block maps (B, C, H, W) to (B, C', H', W'), or
    (B, C, T, H, W) to (B, C', T', H', W').
    """

    blocks: nn.ModuleList
    crop_pixels: int  # side of the square crop that `preprocess` reads
    preprocess: nn.Module  # it has no parameters
    weights_sha256: str  # hash of the file, or a text that identifies random weights; in stage keys
    source: str  # for the leaderboard: "package", "random", or the name and hash of a file


class Normalise(nn.Module):
    """Normalise pixels (B, 3, ...) to (x - mean) / std; mean and std are in units of 0..255."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, axes: int = 2) -> None:
        super().__init__()
        shape = (3, *[1] * axes)  # axes is the number of axes after the channels: 2 for images
        self.register_buffer("mean", torch.tensor(mean).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(shape), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.std


def normalise_unit(mean: Sequence[float], std: Sequence[float], *, axes: int = 2) -> Normalise:
    """Build a `Normalise` from a mean and std that a library gives for pixels of 0..1."""
    return Normalise([255 * m for m in mean], [255 * s for s in std], axes=axes)


def scaled(channels: int, width: float) -> int:
    """Scale a channel count by a width factor, to at least one channel."""
    return max(1, round(channels * width))


def initialise(blocks: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all convolutions, and set their biases to 0.

    The method is that of He et al. 2015, https://arxiv.org/abs/1502.01852.
    """
    for module in blocks.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def seed_library(generator: torch.Generator) -> None:
    """Seed torch's global generator, from which a library draws initial weights.

    `backbones.build` restores the generator afterwards. Those of GPUs are not touched.
    """
    torch.default_generator.manual_seed(generator.initial_seed())


def fill(
    network: nn.Module,
    stream: StreamConfig,
    file: Path | None,
    generator: torch.Generator,
    *,
    convert: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda state: state,
) -> tuple[str, str]:
    """Load the weights file into a network, unless its weights are to be random.

    `convert` changes the file's state dict into the network's. The two texts returned are
    `Backbone.weights_sha256` and `Backbone.source`.

    Raises: ConfigError for weights "file" without a file; WeightsError where it does not fit.
    """
    name = stream.backbone
    if stream.weights == "random":
        return f"random:{name}:{generator.initial_seed()}:{stream.width!r}", "random"
    if file is None:
        raise ConfigError(f"{name} with weights 'file' needs --weights {name}=FILE.")
    path = existing(file)
    load_exact(network, convert(read(path)), path, of=name)
    digest = file_sha256(path)
    return digest, f"file:{path.name}, sha256 {digest[:12]}"
