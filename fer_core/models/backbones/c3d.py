"""C3D: five groups of 3x3x3 convolutions over a volume of frames, with random weights.

Tran et al. 2015, https://arxiv.org/abs/1412.0767. Unlike the paper, which reads 16 frames, all
pools keep an incomplete last window (`ceil_mode`), so that clips of any length T >= 1 pass and
none of their frames is dropped: 5 frames become 5, 3, 2, 1, 1. For a crop of 112 that gives the
paper's maps: 56, 28, 14, 7, 4. Its Sports-1M weights and mean volume are in no package.
"""

from pathlib import Path

import torch
from torch import nn

from fer_core.config import StreamConfig
from fer_core.models.backbones.backbone import Backbone, Normalise, initialise, scaled

CROP_PIXELS = 112  # Tran et al. 2015, section 3.1
GROUPS = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # ibid., figure 3
HALF_RANGE = 127.5  # takes 0..255 to -1..1


def build(stream: StreamConfig, _file: Path | None, generator: torch.Generator) -> Backbone:
    """Build the first groups with random weights; blocks map (B, C, T, H, W)."""
    groups, channels = [], 3
    for i, sizes in enumerate(GROUPS[: stream.blocks]):
        layers: list[nn.Module] = []
        for size in (scaled(size, stream.width) for size in sizes):
            layers += [nn.Conv3d(channels, size, 3, padding=1), nn.ReLU(inplace=True)]
            channels = size
        kernel = (1, 2, 2) if i == 0 else (2, 2, 2)  # early frames are not merged, section 3.1
        groups.append(nn.Sequential(*layers, nn.MaxPool3d(kernel, ceil_mode=True)))
    blocks = nn.ModuleList(groups)
    initialise(blocks, generator)
    return Backbone(
        blocks=blocks,
        crop_pixels=stream.crop_pixels or CROP_PIXELS,
        preprocess=Normalise([HALF_RANGE] * 3, [HALF_RANGE] * 3, axes=3),
        weights_sha256=f"random:c3d:{generator.initial_seed()}:{stream.width!r}",
        source="random",
    )
