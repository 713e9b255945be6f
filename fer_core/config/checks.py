"""What each part of a config must be, whatever the data. Standard library only."""

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
from fer_core.errors import ConfigError, unknown


def check_types(part: Any) -> None:
    """Hold each field to its annotation: a float is finite, a bool is no int, an int is a float."""
    for field_, hint in get_type_hints(type(part)).items():
        value, kinds = getattr(part, field_), get_args(hint) or (hint,)
        allowed = {*kinds, int} if float in kinds else {*kinds}
        finite = not isinstance(value, float) or math.isfinite(value)
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        require(type(value) in allowed and finite, field_, value, f"of type {names}")


def check_clip(clip: ClipConfig) -> None:
    window, right = (clip.start, clip.end), "fractions with 0 <= start < end <= 1"
    require(0 <= clip.start < clip.end <= 1, "clip.start, clip.end", window, right)
    require(clip.frames >= 1, "clip.frames", clip.frames, "at least 1")
    one_of("clip.sampling", clip.sampling, SAMPLINGS)
    require(clip.stride >= 1, "clip.stride", clip.stride, "at least 1")


def check_stream(stream: Stream) -> None:
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
        right = "None but for vgg16 with weights 'file'"
        require(is_face, "stream.mean_order", stream.mean_order, right)
    fitted = stream.weights == "fitted"
    right = "a PretrainConfig if weights are 'fitted', else None"
    require(fitted == (stream.pretrain is not None), "stream.pretrain", stream.pretrain, right)
    if stream.pretrain is not None:
        _check_pretrain(stream.pretrain)


def check_fusion(fusion: FusionConfig) -> None:
    one_of("fusion.point", fusion.point, POINTS)
    one_of("fusion.how", fusion.how, JOININGS)


def check_recurrent(recurrent: RecurrentConfig) -> None:
    one_of("recurrent.cell", recurrent.cell, CELLS)
    require(recurrent.hidden >= 1, "recurrent.hidden", recurrent.hidden, "at least 1")
    require(1 <= recurrent.layers <= 3, "recurrent.layers", recurrent.layers, "1 to 3")
    _share("recurrent.dropout", recurrent.dropout)
    between = recurrent.layers > 1 or not recurrent.dropout
    require(between, "recurrent.dropout", recurrent.dropout, "0 with one layer: it acts between")


def check_head(head: HeadConfig) -> None:
    require(0 <= head.fc_layers <= 3, "head.fc_layers", head.fc_layers, "0 to 3")
    require(head.fc_width >= 1, "head.fc_width", head.fc_width, "at least 1")
    _share("head.dropout", head.dropout)


def check_optimizer(optimizer: OptimizerConfig) -> None:
    one_of("optimizer.name", optimizer.name, OPTIMIZERS)
    one_of("optimizer.schedule", optimizer.schedule, SCHEDULES)
    clips = optimizer.batch_clips
    require(clips >= 2, "optimizer.batch_clips", clips, "at least 2: features are standardised")
    for name in ("lr", "epochs", "backbone_lr"):
        value = getattr(optimizer, name)
        require(value > 0, f"optimizer.{name}", value, "above 0")
    decay, patience = optimizer.weight_decay, optimizer.patience
    require(decay >= 0, "optimizer.weight_decay", decay, "at least 0")
    _share("optimizer.label_smoothing", optimizer.label_smoothing)
    enough = patience is None or patience >= 1
    require(enough, "optimizer.patience", patience, "at least 1, or None")


def check_augment(augment: AugmentConfig) -> None:
    for name in ("shift", "zoom", "brightness"):
        _share(f"augment.{name}", getattr(augment, name))
    for name in ("rotate_degrees", "shear_degrees"):
        value = getattr(augment, name)
        require(0 <= value <= 45, f"augment.{name}", value, "0 to 45")


def one_of(name: str, value: object, known: Any) -> None:
    if value not in known:
        raise ConfigError(unknown(name, value, known))


def require(holds: bool, name: str, value: object, right: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {value!r}; it must be {right}.")


def _share(name: str, value: float) -> None:
    require(0 <= value < 1, name, value, "in [0, 1)")


def _check_width(stream: StreamConfig) -> None:
    width, name = stream.width, "stream.width"
    require(0 < width <= 1, name, width, "in (0, 1]")
    own = stream.weights in ("random", "fitted")
    right = "1 unless weights are random or fitted: trained ones fit the published width only"
    require(width == 1 or own, name, width, right)
    scalable = blocks_of(stream.backbone) is not None and not stream.backbone.endswith("_18")
    require(width == 1 or scalable, name, width, f"1: {stream.backbone} has one width")


def _check_pca(stream: StreamConfig) -> None:
    if stream.pca_dim is not None:
        require(stream.pca_dim >= 1, "stream.pca_dim", stream.pca_dim, "at least 1, or None")
        right = "None unless freeze_depth == blocks: PCA reads stored features"
        require(stream.frozen, "stream.pca_dim", stream.pca_dim, right)


def _check_pretrain(pretrain: PretrainConfig) -> None:
    check_types(pretrain)
    require(pretrain.epochs >= 1, "pretrain.epochs", pretrain.epochs, "at least 1")
    require(pretrain.lr > 0, "pretrain.lr", pretrain.lr, "above 0")
    inside = 0 < pretrain.sparsity < 1
    require(inside, "pretrain.sparsity", pretrain.sparsity, "between 0 and 1")
