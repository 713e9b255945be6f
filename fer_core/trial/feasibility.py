"""Whether a config can work on given data, said before anything is computed."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import nn

from fer_core import machine
from fer_core.config import (
    CHANGES,
    ONE_FRAME,
    ClipConfig,
    Config,
    GeometryConfig,
    Stream,
    StreamConfig,
)
from fer_core.data.study_data import StudyData
from fer_core.errors import ConfigError
from fer_core.features import extraction
from fer_core.models import backbones
from fer_core.models.network import Network, StreamInput, count

ENCODED = {"centred": 136, "distances": 2278, **dict.fromkeys(("procrustes", *CHANGES), 136)}
COPIES = {"sgd": 3, "adam": 4, "adamw": 4}  # of each parameter: itself, gradient, moments
SHARE = 0.8  # of the memory that weights, gradients and moments may take; not activations
_BYTES = 4  # of a number


def check(config: Config, study_data: StudyData) -> None:
    """Refuse a config that cannot work on these data.

    Raises: ConfigError that names the field, its value, and what would be right; WeightsError
        where weights are missing.
    """
    window = study_data.clip or config.clip
    for stream in config.streams:
        if isinstance(stream, GeometryConfig):
            _check_geometry(stream, window, study_data)
        elif (
            stream.weights == "file" and extraction.weights_file(stream, study_data.weights) is None
        ):
            name = stream.backbone
            raise ConfigError(f"{name} with weights 'file' needs --weights {name}=FILE.")
    dims = [_features(stream, window.frames) for stream in config.streams]
    _check_pca(config, study_data, window, dims)
    needed = _network_bytes(config, study_data.classes, window.frames)
    there = machine.total_bytes()
    if needed > SHARE * there:
        raise ConfigError(
            f"the trained weights take {needed / 2**30:.1f} GiB with {config.optimizer.name}, and "
            f"there are {there / 2**30:.1f} GiB; pool the map, use PCA, or lower head.fc_width."
        )


def _check_geometry(geometry: GeometryConfig, window: ClipConfig, study_data: StudyData) -> None:
    without = next((c.clip for c in study_data.manifest.clips if c.landmarks is None), None)
    if study_data.landmarks == "data" and without is not None:
        raise ConfigError(f"geometry needs landmarks, and clip '{without}' has none; use dlib's.")
    changes = geometry.encoding in CHANGES
    if changes and window == ONE_FRAME and study_data.manifest.stills:
        raise ConfigError(
            f"geometry.encoding is {geometry.encoding!r}; it must be another for photographs, "
            "which have no first frame to differ from."
        )


def _check_pca(
    config: Config, study_data: StudyData, window: ClipConfig, dims: Sequence[int]
) -> None:
    """Hold PCA to what the smallest fold's training frames allow, were every clip usable."""
    protocol = study_data.protocol
    clips = [clip.subject for clip in study_data.manifest.clips]
    for stream, dim in zip(config.streams, dims, strict=True):
        if not isinstance(stream, StreamConfig) or stream.pca_dim is None:
            continue
        for fold in protocol.folds:
            train = set(protocol.development) - set(fold)
            rows = sum(subject in train for subject in clips)
            rows *= 1 if stream.is_volume else window.frames
            if stream.pca_dim > min(rows - 1, dim):
                raise ConfigError(
                    f"stream.pca_dim is {stream.pca_dim}; {rows} training frames of {dim} features "
                    f"allow at most {min(rows - 1, dim)}."
                )


def _features(stream: Stream, frames: int) -> int:
    if isinstance(stream, GeometryConfig):
        return ENCODED[stream.encoding]
    maps = _mapped(stream.architecture, frames)
    positions = maps[1:].numel() if stream.pooling == "none" else 1
    return maps[0] * positions


def _network_bytes(config: Config, classes: tuple[str, ...], frames: int) -> int:
    """Count the bytes of what is trained, and of its gradients and moments.

    Raises: ConfigError where the parts do not fit together.
    """
    given = []
    with torch.device("meta"):
        for stream in config.streams:
            given.append(stand_in(config, stream, frames))
        network = Network(config, given, classes)
    unfrozen = sum(_block_sizes(s)[s.freeze_depth :].sum() for s in _trained(config))
    trained = count([network]) + int(unfrozen)
    return trained * COPIES[config.optimizer.name] * _BYTES


def stand_in(config: Config, stream: Stream, frames: int) -> StreamInput:
    """Give zeros in the shape of a clip of a stream's features, behind all its blocks."""
    dim = _features(stream, frames)
    if isinstance(stream, StreamConfig) and stream.pca_dim is not None:
        dim = stream.pca_dim
    if isinstance(stream, GeometryConfig):
        return StreamInput(torch.zeros(1, frames, dim), nn.ModuleList())
    maps = _mapped(stream.architecture, frames)
    if stream.is_volume:
        return StreamInput(torch.zeros(1, dim), nn.ModuleList())
    if config.recurrent is not None and config.recurrent.cell == "convlstm":
        shape = (int(maps[0]), int(maps[1]), int(maps[2]))
        return StreamInput(torch.zeros(1, frames, maps.numel()), nn.ModuleList(), maps=shape)
    return StreamInput(torch.zeros(1, frames, dim), nn.ModuleList())


def _trained(config: Config) -> list[StreamConfig]:
    return [stream for stream in config.images if not stream.frozen]


@cache
def _mapped(stream: StreamConfig, frames: int) -> torch.Size:
    """Run one image, or one volume, through a backbone: the shape of its last map.

    Raises: ConfigError where so few frames or pixels do not get through.
    """
    backbone = backbones.build(stream, weights_file=None, seed=0)
    side = extraction.crop_pixels(stream, backbone)
    crops = torch.zeros(1, frames if stream.is_volume else 1, side, side, 3)
    maps = extraction.preprocessed(crops, stream, backbone, torch.device("cpu"))
    maps = maps if stream.is_volume else maps.flatten(0, 1)
    try:
        with torch.inference_mode():
            for block in backbone.blocks.eval():
                maps = block(maps)
    except RuntimeError as error:
        read = f"{frames} frames of {side} pixels" if stream.is_volume else f"{side} pixels"
        raise ConfigError(
            f"stream.blocks is {stream.blocks}; {read} do not get through so many blocks of "
            f"{stream.backbone}: use larger crops, more frames, or fewer blocks."
        ) from error
    return maps.shape[1:]


def _block_sizes(stream: StreamConfig) -> torch.Tensor:
    return _sizes(stream.architecture)


@cache
def _sizes(stream: StreamConfig) -> torch.Tensor:
    blocks = backbones.build(stream, weights_file=None, seed=0).blocks
    return torch.tensor([count([block]) for block in blocks])
