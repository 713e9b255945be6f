"""Check each part of a config on its own: the types, ranges and names that hold for any dataset.

`Config` calls these checks when it is built, so that a space that draws something impossible fails
before a study starts. What depends on several parts is checked in `config`; what depends on the
data, in `trial.feasibility`. The module imports the standard library only.
"""

import math
from types import NoneType
from typing import Any, get_args, get_type_hints

from fer_core.config.choices import (
    ANY_WEIGHTS,
    CELLS,
    ENCODINGS,
    JOININGS,
    OPTIMIZERS,
    ORDERS,
    POINTS,
    POOLINGS,
    SAMPLINGS,
    SCHEDULES,
    VIEWS,
    WEIGHTS,
    AugmentConfig,
    ClipConfig,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    PretrainConfig,
    RecurrentConfig,
    Stream,
    StreamConfig,
    blocks_of,
)
from fer_core.errors import ConfigError, suggestion


def check_types(part: Any) -> None:
    """Check that each field of a part has the type of its annotation.

    An int may stand for a float, a bool may not stand for an int, and a float must be finite.

    Raises: ConfigError
    """
    for name, hint in get_type_hints(type(part)).items():
        value, types = getattr(part, name), get_args(hint) or (hint,)
        allowed = {*types, int} if float in types else {*types}
        finite = not isinstance(value, float) or math.isfinite(value)
        names = " or ".join("None" if type_ is NoneType else type_.__name__ for type_ in types)
        require(type(value) in allowed and finite, name, value, f"of type {names}")


def check_clip(clip: ClipConfig) -> None:
    """Check which frames are read."""
    window, right = (clip.start, clip.end), "fractions with 0 <= start < end <= 1"
    require(0 <= clip.start < clip.end <= 1, "clip.start, clip.end", window, right)
    require(clip.frames >= 1, "clip.frames", clip.frames, "at least 1")
    one_of("clip.sampling", clip.sampling, SAMPLINGS)
    require(clip.stride >= 1, "clip.stride", clip.stride, "at least 1")


def check_stream(stream: Stream) -> None:
    """Check one view and its backbone, or the landmarks' encoding."""
    check_types(stream)
    if isinstance(stream, GeometryConfig):
        one_of("geometry.encoding", stream.encoding, ENCODINGS)
        require(stream.hidden >= 0, "geometry.hidden", stream.hidden, "at least 0")
        _share("geometry.dropout", stream.dropout)
        return
    blocks = blocks_of(stream.backbone)
    one_of("stream.weights", stream.weights, WEIGHTS.get(stream.backbone, ANY_WEIGHTS))
    one_of("stream.pooling", stream.pooling, POOLINGS)
    one_of("stream.view", stream.view, VIEWS)
    right = "at least 1" if blocks is None else f"1 to {blocks}"
    require(1 <= stream.blocks <= (blocks or stream.blocks), "stream.blocks", stream.blocks, right)
    right = f"0 to stream.blocks, {stream.blocks}"
    in_range = 0 <= stream.freeze_depth <= stream.blocks
    require(in_range, "stream.freeze_depth", stream.freeze_depth, right)
    _check_width(stream)
    side = stream.crop_pixels
    require(side is None or 32 <= side <= 224, "stream.crop_pixels", side, "32 to 224, or None")
    _check_pca(stream)
    if stream.mean_order is not None:
        one_of("stream.mean_order", stream.mean_order, ORDERS)
        is_face = (stream.backbone, stream.weights) == ("vgg16", "file")
        right = "None, except for vgg16 with weights 'file'"
        require(is_face, "stream.mean_order", stream.mean_order, right)
    fitted = stream.weights == "fitted"
    right = "a PretrainConfig with weights 'fitted', and None with others"
    require(fitted == (stream.pretrain is not None), "stream.pretrain", stream.pretrain, right)
    if stream.pretrain is not None:
        _check_pretrain(stream.pretrain)


def check_fusion(fusion: FusionConfig) -> None:
    """Check where and how streams are joined."""
    one_of("fusion.point", fusion.point, POINTS)
    one_of("fusion.how", fusion.how, JOININGS)


def check_recurrent(recurrent: RecurrentConfig) -> None:
    """Check the recurrent cell."""
    one_of("recurrent.cell", recurrent.cell, CELLS)
    require(recurrent.hidden >= 1, "recurrent.hidden", recurrent.hidden, "at least 1")
    require(1 <= recurrent.layers <= 3, "recurrent.layers", recurrent.layers, "1 to 3")
    _share("recurrent.dropout", recurrent.dropout)
    between = recurrent.layers > 1 or not recurrent.dropout
    require(
        between,
        "recurrent.dropout",
        recurrent.dropout,
        "0 with one layer, since it acts between layers",
    )


def check_head(head: HeadConfig) -> None:
    """Check the FC layers."""
    require(0 <= head.fc_layers <= 3, "head.fc_layers", head.fc_layers, "0 to 3")
    require(head.fc_width >= 1, "head.fc_width", head.fc_width, "at least 1")
    _share("head.dropout", head.dropout)


def check_optimizer(optimizer: OptimizerConfig) -> None:
    """Check how the network is trained."""
    one_of("optimizer.name", optimizer.name, OPTIMIZERS)
    one_of("optimizer.schedule", optimizer.schedule, SCHEDULES)
    clips = optimizer.batch_clips
    require(clips >= 2, "optimizer.batch_clips", clips, "at least 2, to standardise features")
    for name in ("lr", "epochs", "backbone_lr"):
        value = getattr(optimizer, name)
        require(value > 0, f"optimizer.{name}", value, "above 0")
    decay, patience = optimizer.weight_decay, optimizer.patience
    updates = optimizer.updates
    some = updates is None or updates >= 1
    require(some, "optimizer.updates", updates, "at least 1, or None")
    require(decay >= 0, "optimizer.weight_decay", decay, "at least 0")
    _share("optimizer.label_smoothing", optimizer.label_smoothing)
    enough = patience is None or patience >= 1
    require(enough, "optimizer.patience", patience, "at least 1, or None")


def check_augment(augment: AugmentConfig) -> None:
    """Check the random changes of the images."""
    for name in ("shift", "zoom", "brightness"):
        _share(f"augment.{name}", getattr(augment, name))
    for name in ("rotate_degrees", "shear_degrees"):
        value = getattr(augment, name)
        require(0 <= value <= 45, f"augment.{name}", value, "0 to 45")


def one_of(name: str, value: object, known: Any) -> None:
    """Raise ConfigError if the field `name` has a value that is not among the known ones."""
    if value not in known:
        raise ConfigError(f"{name} is {value!r}{suggestion(value, known)}")


def require(holds: bool, name: str, value: object, right: str) -> None:
    """Raise ConfigError that says what would be `right` for the field `name`, unless it holds."""
    if not holds:
        raise ConfigError(f"{name} is {value!r}; it must be {right}.")


def _share(name: str, value: float) -> None:
    require(0 <= value < 1, name, value, "in [0, 1)")


def _check_width(stream: StreamConfig) -> None:
    width, name = stream.width, "stream.width"
    require(0 < width <= 1, name, width, "in (0, 1]")
    own = stream.weights in ("random", "fitted")
    right = "1 unless weights are random or fitted, since trained ones fit the published width only"
    require(width == 1 or own, name, width, right)
    scalable = blocks_of(stream.backbone) is not None and not stream.backbone.endswith("_18")
    require(width == 1 or scalable, name, width, f"1, since {stream.backbone} has one width")


def _check_pca(stream: StreamConfig) -> None:
    if stream.pca_dim is not None:
        require(stream.pca_dim >= 1, "stream.pca_dim", stream.pca_dim, "at least 1, or None")
        right = "None unless freeze_depth equals blocks, since PCA reads stored features"
        require(stream.frozen, "stream.pca_dim", stream.pca_dim, right)


def _check_pretrain(pretrain: PretrainConfig) -> None:
    check_types(pretrain)
    require(pretrain.epochs >= 1, "pretrain.epochs", pretrain.epochs, "at least 1")
    require(pretrain.lr > 0, "pretrain.lr", pretrain.lr, "above 0")
    inside = 0 < pretrain.sparsity < 1
    require(inside, "pretrain.sparsity", pretrain.sparsity, "between 0 and 1")
