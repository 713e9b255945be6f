"""Backbones, from a stream's choices to blocks with weights: own ones, and libraries' by name."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError, unknown
from fer_core.models.backbones import c3d, cdbn, dlib_resnet, libraries, scae, vgg16, volumes
from fer_core.models.backbones.backbone import Backbone

__all__ = ["BUILDERS", "Backbone", "build"]

Builder = Callable[[StreamConfig, Path | None, torch.Generator], Backbone]

BUILDERS: Mapping[str, Builder] = {
    "c3d": c3d.build,
    "c3d_study": c3d.build,
    "cdbn": cdbn.build,
    "dlib_resnet": dlib_resnet.build,
    "mc3_18": volumes.build,
    "r2plus1d_18": volumes.build,
    "r3d_18": volumes.build,
    "scae": scae.build,
    "vgg16": vgg16.build,
}


def build(stream: StreamConfig, *, weights_file: Path | None, seed: int) -> Backbone:
    """Build the first `stream.blocks` blocks of a backbone, on the CPU.

    `weights_file` is read where `stream.weights` asks for a file; `seed` draws random weights
    and leaves torch's global generator alone.

    Raises: ConfigError for an unknown backbone, a crop too small for its blocks, or weights
    "file" without one; WeightsError for a weights file that is absent or does not fit.
    """
    library, colon, _ = stream.backbone.partition(":")
    named = colon and library in libraries.LIBRARIES
    builder = libraries.build if named else BUILDERS.get(stream.backbone)
    if builder is None:
        names = [*BUILDERS, *(f"{library}:NAME" for library in libraries.LIBRARIES)]
        raise ConfigError(unknown("backbone", stream.backbone, names))
    with torch.random.fork_rng(devices=[]):  # constructing a layer draws weights, used or not
        return builder(stream, weights_file, torch.Generator().manual_seed(seed))
