"""ResNets of 18 layers over a volume of frames: R3D, MC3 and R(2+1)D, as torchvision builds them.

Tran et al. 2018, https://arxiv.org/abs/1711.11248. A weights file is the state dict of the whole
network, such as torchvision's Kinetics-400 weights. It is never downloaded: the user supplies it.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from fer_core.config import StreamConfig
from fer_core.models.backbones.backbone import Backbone, fill, normalise_unit, seed_library

CROP_PIXELS = 112  # Tran et al. 2018, section 4.1
# Kinetics-400, RGB of 0..1: torchvision/transforms/_presets.py, VideoClassification.
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


def build(stream: StreamConfig, file: Path | None, generator: torch.Generator) -> Backbone:
    """Build the stem and the first stages, as blocks that map (B, C, T, H, W).

    Raises: ConfigError for weights "file" without a file; WeightsError where it does not fit.
    """
    from torchvision.models import video  # the import takes a second, and only volumes need it

    seed_library(generator)
    network: Any = getattr(video, stream.backbone)(weights=None)
    weights_sha256, source = fill(network, stream, file, generator)
    stages = [network.stem, network.layer1, network.layer2, network.layer3, network.layer4]
    return Backbone(
        blocks=nn.ModuleList(stages[: stream.blocks]),
        crop_pixels=stream.crop_pixels or CROP_PIXELS,
        preprocess=normalise_unit(MEAN, STD, axes=3),
        weights_sha256=weights_sha256,
        source=source,
    )
