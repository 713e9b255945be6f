"""What every backbone is made of: blocks to freeze or cut after, and its own input scale."""

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
    """A convolutional network as a list of blocks, each of which a stream may freeze or cut after.

    `preprocess` takes float RGB of 0..255, (B, 3, H, W), to what block 0 reads; a volume network
    likewise (B, 3, T, H, W). Block i maps (B, C, H, W) to (B, C', H', W'), or with T before H.
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


def normalise_unit(mean: Sequence[float], std: Sequence[float], *, axes: int = 2) -> Normalise:
    """Normalise by figures that a library gives for pixels of 0..1."""
    return Normalise([255 * m for m in mean], [255 * s for s in std], axes=axes)


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


def seed_library(generator: torch.Generator) -> None:
    """Seed what a library's own initialisation draws from; `build` restores it."""
    torch.default_generator.manual_seed(generator.initial_seed())  # not the devices' generators


def fill(
    network: nn.Module,
    stream: StreamConfig,
    file: Path | None,
    generator: torch.Generator,
    *,
    convert: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda state: state,
) -> tuple[str, str]:
    """Load a network's file, or leave its random weights: give `weights_sha256` and `source`.

    `convert` takes the file's state dict to the network's.

    Raises: ConfigError where weights "file" has none; WeightsError where the file does not fit.
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
