"""Backbones: build the networks that read images or volumes, as lists of blocks with weights.

In comes a stream's `StreamConfig`, with the user's weights file; out comes a `Backbone`. The
features room runs its frozen blocks and stores what they give, and a `Network` trains the others.

To add a backbone, write a module with a `build` function like the one in `vgg16.py`, and add it to
`BUILDERS` below. Add its number of blocks to `BACKBONES` in `fer_core/config/choices.py`, and to
`WEIGHTS` there if its weights are not from a file or random. The tests in
`tests/fer_core/models/backbones/test_backbones.py` then check it like all others; networks of
torchvision and timm need no code, as `libraries.py` builds them by name.
"""

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

    `weights_file` is read where `stream.weights` asks for a file. Random weights are drawn by
    `seed`; torch's global generator is left as it was.

    Raises: ConfigError for an unknown backbone, a crop too small for its blocks, or weights
        "file" without a file; WeightsError for a weights file that is absent or does not fit.
    """
    library, colon, _ = stream.backbone.partition(":")
    from_library = colon and library in libraries.LIBRARIES
    builder = libraries.build if from_library else BUILDERS.get(stream.backbone)
    if builder is None:
        names = [*BUILDERS, *(f"{library}:NAME" for library in libraries.LIBRARIES)]
        raise ConfigError(unknown("backbone", stream.backbone, names))
    with torch.random.fork_rng(devices=[]):  # creating a layer draws from the global generator
        return builder(stream, weights_file, torch.Generator().manual_seed(seed))
