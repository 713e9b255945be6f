"""Backbones, from a stream's choices to blocks with weights: dlib's ResNet-29, VGG-16 and C3D."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError, unknown
from fer_core.models.backbones import c3d, dlib_resnet, vgg16
from fer_core.models.backbones.backbone import Backbone

__all__ = ["BUILDERS", "Backbone", "build"]

Builder = Callable[[StreamConfig, Path | None, torch.Generator], Backbone]

BUILDERS: Mapping[str, Builder] = {
    "c3d": c3d.build,
    "dlib_resnet": dlib_resnet.build,
    "vgg16": vgg16.build,
}


def build(stream: StreamConfig, *, weights_file: Path | None, seed: int) -> Backbone:
    """Build the first `stream.blocks` blocks of a backbone, on the CPU.

    `weights_file` is read where `stream.weights` asks for a file; `seed` draws random weights
    and leaves torch's global generator alone.

    Raises: ConfigError for an unknown backbone, a crop too small for its blocks, or weights
    "file" without one; WeightsError for a weights file that is absent or does not fit.
    """
    if stream.backbone not in BUILDERS:
        raise ConfigError(unknown("backbone", stream.backbone, BUILDERS))
    with torch.random.fork_rng(devices=[]):  # constructing a layer draws weights, used or not
        generator = torch.Generator().manual_seed(seed)
        return BUILDERS[stream.backbone](stream, weights_file, generator)
