"""One trial's choices: frozen, JSON both ways, hashed to a `config_id`. Standard library only.

A network is a stream of face views through a backbone (frozen to some depth and pooled), an
optional PCA of its stored features, an optional recurrent cell over the frames, and a head of
fully connected layers. `validate` names the field, the value, and what would be right.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from types import NoneType
from typing import Any, get_args, get_type_hints

from fer_core.errors import ConfigError, unknown

VIEWS = ("crop", "aligned", "frontal", "frontal_soft", "frontal_conditional")
SAMPLINGS = ("window", "uniform", "stride", "last", "middle", "onset_apex")
BACKBONES: Mapping[str, int] = {"dlib_resnet": 6, "vgg16": 5, "c3d": 5}  # name: blocks to cut at
WEIGHTS: Mapping[str, tuple[str, ...]] = {  # backbone: where its weights may come from
    "dlib_resnet": ("package", "random"),
    "vgg16": ("file", "imagenet", "random"),
    "c3d": ("random",),
}
POOLINGS = ("none", "avg", "max")
CELLS = ("rnn", "lstm", "gru")
OPTIMIZERS = ("adam", "adamw", "sgd")


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Which `frames` of a clip are read; where it has too few, frames repeat."""

    start: float = 0.5  # fraction of the clip; 50-80 % is Garcia Zapata 2018's window
    end: float = 0.8
    frames: int = 5
    # window: evenly from start to end; uniform: the middles of equal parts of the clip;
    # stride: every `stride`-th from start on; last, middle: the last ones, or those in the middle,
    # `stride` apart; onset_apex: evenly from the onset of movement to its peak, by the landmarks.
    sampling: str = "window"
    stride: int = 1  # frames from one to the next

    def active(self) -> dict[str, str | int | float]:
        """Give the fields that its sampling heeds."""
        heeded = {"window": ("start", "end"), "stride": ("start", "stride")}
        spaced = ("stride",) if self.sampling in ("last", "middle") else ()
        names = ("sampling", "frames", *heeded.get(self.sampling, spaced))
        return {name: getattr(self, name) for name in names}


ONE_FRAME = ClipConfig(start=0.0, end=1.0, frames=1)  # what is read of single photographs


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """A view of the face, and the backbone that reads it."""

    backbone: str
    weights: str  # "package", "file", "imagenet" or "random"; never chosen silently
    blocks: int  # how many blocks of the backbone are used
    freeze_depth: int  # how many of them keep their weights, from the input on
    pooling: str = "none"  # over the positions of the last block's map
    view: str = "aligned"
    width: float = 1.0  # factor on every channel count; 1.0 is the published network
    crop_pixels: int | None = None  # side of the square that the backbone reads; None: its own


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """A recurrent cell over the frames of a clip."""

    cell: str
    hidden: int
    layers: int = 1


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Fully connected layers between the features and the logits."""

    fc_layers: int = 0
    fc_width: int = 128
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How the trainable part is fitted."""

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    epochs: int = 20
    batch_clips: int = 32


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a trial may choose; what is inactive is None."""

    stream: StreamConfig
    clip: ClipConfig = field(default_factory=ClipConfig)
    pca_dim: int | None = None  # None: no PCA
    recurrent: RecurrentConfig | None = None  # None: frames are scored alone and vote
    head: HeadConfig = field(default_factory=HeadConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        validate(self)

    @property
    def family(self) -> str:
        """The kind of model, in the study's words: cnn, c3d, cnn+rnn, cnn+lstm, cnn+gru."""
        if self.stream.backbone == "c3d":
            return "c3d"
        return "cnn" if self.recurrent is None else f"cnn+{self.recurrent.cell}"

    @property
    def frozen(self) -> bool:
        """Whether the whole backbone keeps its weights, so that its features are stored."""
        return self.stream.freeze_depth == self.stream.blocks

    @property
    def config_id(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Write the canonical JSON: keys sorted, inactive choices absent, floats by repr."""
        values = asdict(self) | {"clip": self.clip.active()}
        return json.dumps(_active(values), sort_keys=True, separators=(",", ":"))


PARTS: Mapping[str, Callable[..., Any]] = {
    "stream": StreamConfig,
    "clip": ClipConfig,
    "recurrent": RecurrentConfig,
    "head": HeadConfig,
    "optimizer": OptimizerConfig,
}


def from_json(text: str) -> Config:
    """Read what `Config.to_json` wrote.

    Raises: ConfigError where a field is unknown, missing or out of range.
    """
    values = json.loads(text)
    try:
        built = {k: PARTS[k](**v) if k in PARTS else v for k, v in values.items()}
        return Config(**built)
    except TypeError as error:
        raise ConfigError(f"config {text}: {error}.") from error


def flat(config: Config) -> dict[str, str | int | float | None]:
    """Give the columns `config.*` of the leaderboard."""
    return {
        "config.views": config.stream.view,
        "config.backbone": config.stream.backbone,
        "config.freeze_depth": config.stream.freeze_depth,
        "config.pooling": config.stream.pooling,
        "config.fc_layers": config.head.fc_layers,
        "config.fusion_point": None,  # one stream has nothing to fuse
        "config.recurrent_cell": config.recurrent.cell if config.recurrent else None,
        "config.pca_dim": config.pca_dim,
        "config.frames": config.clip.frames,
        "config.optimizer": config.optimizer.name,
        "config.lr": config.optimizer.lr,
    }


def validate(config: Config) -> None:
    """Refuse a config that cannot work.

    Raises: ConfigError that names the field, its value, and what would be right.
    """
    for part in (config, *(getattr(config, name) for name in PARTS)):
        if part is not None:
            _check_types(part)
    _check_stream(config.stream)
    _check_clip(config.clip)
    _check_head(config.head)
    _check_optimizer(config.optimizer)
    is_volume = config.stream.backbone == "c3d"
    if config.recurrent is not None:
        _check_recurrent(config.recurrent)
        right = "None: c3d reads the frames as one volume"
        _require(not is_volume, "recurrent", config.recurrent, right)
    if config.pca_dim is not None:
        _require(config.pca_dim >= 1, "pca_dim", config.pca_dim, "at least 1, or None")
        right = "None unless freeze_depth == blocks: PCA reads stored features"
        _require(config.frozen, "pca_dim", config.pca_dim, right)


def _check_types(part: Any) -> None:
    """Hold each field to its annotation: a float is finite, a bool is no int, an int is a float."""
    for field_, hint in get_type_hints(type(part)).items():
        value, kinds = getattr(part, field_), get_args(hint) or (hint,)
        allowed = {*kinds, int} if float in kinds else {*kinds}
        finite = not isinstance(value, float) or math.isfinite(value)
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        _require(type(value) in allowed and finite, field_, value, f"of type {names}")


def _check_clip(clip: ClipConfig) -> None:
    window, right = (clip.start, clip.end), "fractions with 0 <= start < end <= 1"
    _require(0 <= clip.start < clip.end <= 1, "clip.start, clip.end", window, right)
    _require(clip.frames >= 1, "clip.frames", clip.frames, "at least 1")
    _one_of("clip.sampling", clip.sampling, SAMPLINGS)
    _require(clip.stride >= 1, "clip.stride", clip.stride, "at least 1")


def _check_head(head: HeadConfig) -> None:
    _require(0 <= head.fc_layers <= 3, "head.fc_layers", head.fc_layers, "0 to 3")
    _require(head.fc_width >= 1, "head.fc_width", head.fc_width, "at least 1")
    _require(0 <= head.dropout < 1, "head.dropout", head.dropout, "in [0, 1)")


def _check_optimizer(optimizer: OptimizerConfig) -> None:
    _one_of("optimizer.name", optimizer.name, OPTIMIZERS)
    for name in ("lr", "epochs", "batch_clips"):
        value = getattr(optimizer, name)
        _require(value > 0, f"optimizer.{name}", value, "above 0")
    decay = optimizer.weight_decay
    _require(decay >= 0, "optimizer.weight_decay", decay, "at least 0")


def _check_recurrent(recurrent: RecurrentConfig) -> None:
    _one_of("recurrent.cell", recurrent.cell, CELLS)
    _require(recurrent.hidden >= 1, "recurrent.hidden", recurrent.hidden, "at least 1")
    _require(1 <= recurrent.layers <= 3, "recurrent.layers", recurrent.layers, "1 to 3")


def _check_stream(stream: StreamConfig) -> None:
    _one_of("stream.backbone", stream.backbone, BACKBONES)
    blocks = BACKBONES[stream.backbone]
    _one_of("stream.weights", stream.weights, WEIGHTS[stream.backbone])
    _one_of("stream.pooling", stream.pooling, POOLINGS)
    _one_of("stream.view", stream.view, VIEWS)
    _require(1 <= stream.blocks <= blocks, "stream.blocks", stream.blocks, f"1 to {blocks}")
    _require(
        0 <= stream.freeze_depth <= stream.blocks,
        "stream.freeze_depth",
        stream.freeze_depth,
        f"0 to stream.blocks, {stream.blocks}",
    )
    _require(0 < stream.width <= 1, "stream.width", stream.width, "in (0, 1]")
    _require(
        stream.width == 1 or stream.weights == "random",
        "stream.width",
        stream.width,
        "1 unless weights are random: trained weights fit the published width only",
    )
    _require(
        stream.crop_pixels is None or 32 <= stream.crop_pixels <= 224,
        "stream.crop_pixels",
        stream.crop_pixels,
        "32 to 224, or None",
    )

    _require(
        stream.backbone != "c3d" or stream.freeze_depth == 0,
        "stream.freeze_depth",
        stream.freeze_depth,
        "0 for c3d: its weights are random, and nothing is worth freezing",
    )


def _one_of(name: str, value: object, known: Mapping[str, Any] | tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(unknown(name, value, known))


def _require(holds: bool, name: str, value: object, right: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {value!r}; it must be {right}.")


def _active(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _active(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }
