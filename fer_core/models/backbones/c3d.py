"""C3D: five groups of 3x3x3 convolutions over a volume of frames, in two variants.

`c3d` is the network of Tran et al. 2015, https://arxiv.org/abs/1412.0767; `c3d_study` reads five
frames, as in the study that this project reproduces. They differ in their pools. A weights file is
a state dict of https://github.com/DavideA/c3d-pytorch, whose network was trained on BGR minus the
mean of Sports-1M. Its fully connected layers are not used.
"""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from fer_core.config import StreamConfig
from fer_core.models.backbones.backbone import Backbone, Normalise, fill, initialise, scaled

CROP_PIXELS = 112  # Tran et al. 2015, section 3.1
GROUPS: tuple[Mapping[str, int], ...] = (  # number of filters by convolution; ibid., figure 3
    {"conv1": 64},
    {"conv2": 128},
    {"conv3a": 256, "conv3b": 256},
    {"conv4a": 512, "conv4b": 512},
    {"conv5a": 512, "conv5b": 512},
)
HALF_RANGE = 127.5  # as mean and std, it maps 0..255 to -1..1
SPORTS_MEAN = (101.41, 97.66, 90.25)  # RGB, https://github.com/DavideA/c3d-pytorch/issues/1
FULLY_CONNECTED = ("fc6", "fc7", "fc8")  # layers of the file that no block has


def build(stream: StreamConfig, file: Path | None, generator: torch.Generator) -> Backbone:
    """Build the first groups, each with its pool, as blocks that map (B, C, T, H, W).

    Raises: ConfigError for weights "file" without a file; WeightsError where it does not fit.
    """
    convolutions = _convolutions(stream.width)
    network = nn.ModuleDict(convolutions)
    initialise(network, generator)
    weights_sha256, source = fill(network, stream, file, generator, convert=_convolutional)
    mean, std = (HALF_RANGE,) * 3, (HALF_RANGE,) * 3
    if stream.weights == "file":
        mean, std = SPORTS_MEAN, (1.0, 1.0, 1.0)
        first = convolutions["conv1"].weight
        first.data = first.data.flip(1)  # from BGR to RGB
    blocks = [
        nn.Sequential(*(layer for name in names for layer in (convolutions[name], nn.ReLU())), pool)
        for names, pool in zip(GROUPS, POOLS[stream.backbone](), strict=True)
    ]
    return Backbone(
        blocks=nn.ModuleList(blocks[: stream.blocks]),
        crop_pixels=stream.crop_pixels or CROP_PIXELS,
        preprocess=Normalise(mean, std, axes=3),
        weights_sha256=weights_sha256,
        source=source,
    )


def _convolutions(width: float) -> dict[str, nn.Conv3d]:
    sizes = {name: scaled(size, width) for group in GROUPS for name, size in group.items()}
    pairs = itertools.pairwise([3, *sizes.values()])
    return {
        name: nn.Conv3d(before, after, 3, padding=1)
        for name, (before, after) in zip(sizes, pairs, strict=True)
    }


def _convolutional(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return {n: t for n, t in state.items() if n.partition(".")[0] not in FULLY_CONNECTED}


def _published_pools() -> list[nn.Module]:
    """Build the pools of `c3d`.

    Unlike those of Tran et al., they keep an incomplete last window of frames (`ceil_mode`), so
    that clips of any length T >= 1 pass; for their 16 frames that changes nothing.
    """
    return [
        nn.MaxPool3d((1, 2, 2), ceil_mode=True),  # it does not merge frames; ibid., section 3.1
        *(nn.MaxPool3d(2, ceil_mode=True) for _ in range(3)),
        nn.MaxPool3d(2, padding=(0, 1, 1), ceil_mode=True),
    ]


def _study_pools() -> list[nn.Module]:
    """Build the pools of `c3d_study`; of five frames they leave 5, 2, 1, 1 and 1.

    The last three take every second position, the last of them after adding a border of zeros.
    They need at least two frames.
    """
    return [
        nn.MaxPool3d((1, 2, 2)),
        nn.MaxPool3d(2),
        *(nn.MaxPool3d(1, stride=2) for _ in range(2)),
        nn.Sequential(nn.ZeroPad3d((1, 1, 1, 1, 0, 0)), nn.MaxPool3d(1, stride=2)),
    ]


POOLS: Mapping[str, Callable[[], list[nn.Module]]] = {
    "c3d": _published_pools,
    "c3d_study": _study_pools,
}
