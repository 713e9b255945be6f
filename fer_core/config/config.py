"""One trial's choices: frozen, JSON both ways, hashed to a `config_id`. Standard library only.

A network has streams (a face view through a backbone, frozen to some depth, pooled, perhaps
reduced by PCA; or the face's 68 points), which meet at a fusion point; a recurrent cell over the
frames, or frames that vote; and a head of fully connected layers. `validate` names the field, the
value, and what would be right.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fer_core.config.checks import (
    check_augment,
    check_clip,
    check_fusion,
    check_head,
    check_optimizer,
    check_recurrent,
    check_stream,
    check_types,
    one_of,
    require,
)
from fer_core.config.choices import (
    BACKBONES,
    CELLS,
    ENCODINGS,
    FITTED,
    JOININGS,
    ONE_FRAME,
    OPTIMIZERS,
    POINTS,
    POOLINGS,
    SAMPLINGS,
    SCHEDULES,
    TASKS,
    VIEWS,
    VOLUMES,
    VOTINGS,
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
)
from fer_core.errors import ConfigError

__all__ = [
    "BACKBONES",
    "CELLS",
    "ENCODINGS",
    "FITTED",
    "JOININGS",
    "ONE_FRAME",
    "OPTIMIZERS",
    "POINTS",
    "POOLINGS",
    "SAMPLINGS",
    "SCHEDULES",
    "VIEWS",
    "VOLUMES",
    "VOTINGS",
    "WEIGHTS",
    "AugmentConfig",
    "ClipConfig",
    "Config",
    "FusionConfig",
    "GeometryConfig",
    "HeadConfig",
    "OptimizerConfig",
    "PretrainConfig",
    "RecurrentConfig",
    "Stream",
    "StreamConfig",
    "flat",
    "from_json",
    "validate",
]

_CHECKS: Mapping[str, tuple[Callable[..., Any], Callable[[Any], None]]] = {
    "clip": (ClipConfig, check_clip),
    "fusion": (FusionConfig, check_fusion),
    "recurrent": (RecurrentConfig, check_recurrent),
    "head": (HeadConfig, check_head),
    "optimizer": (OptimizerConfig, check_optimizer),
    "augment": (AugmentConfig, check_augment),
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a trial may choose; what is inactive is None."""

    streams: tuple[Stream, ...]
    clip: ClipConfig = field(default_factory=ClipConfig)
    fusion: FusionConfig | None = None  # None: one stream has nothing to fuse
    recurrent: RecurrentConfig | None = None  # None: frames are scored alone and vote
    voting: str = "mean_probability"  # from frames to a clip, where they are scored alone
    head: HeadConfig = field(default_factory=HeadConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentConfig | None = None
    task: str | None = None  # None: the study's
    stands_for: str | None = None  # the published row that it repeats

    def __post_init__(self) -> None:
        validate(self)

    @property
    def images(self) -> tuple[StreamConfig, ...]:
        """The streams that read images."""
        return tuple(s for s in self.streams if isinstance(s, StreamConfig))

    @property
    def geometry(self) -> tuple[GeometryConfig, ...]:
        """The streams that read the 68 points."""
        return tuple(s for s in self.streams if isinstance(s, GeometryConfig))

    def is_live(self, stream: StreamConfig) -> bool:
        """Whether images go through the whole backbone in training, and nothing is stored."""
        return stream.freeze_depth == 0 or self.augment is not None

    def stored_pooling(self, stream: StreamConfig) -> str:
        """Say how stored features are pooled: a ConvLSTM reads maps, which are pooled after it."""
        convlstm = self.recurrent is not None and self.recurrent.cell == "convlstm"
        return "none" if convlstm else stream.pooling

    @property
    def votes(self) -> bool:
        """Whether each frame is scored, and the frames vote."""
        framewise = not all(stream.is_volume for stream in self.streams)
        return framewise and self.recurrent is None and self.voting != "attention"

    @property
    def rule(self) -> str:
        """How frames vote; where a clip is scored as one, there is one vote."""
        return "mean_probability" if self.voting == "attention" else self.voting

    @property
    def family(self) -> str:
        """The kind of model, in the study's words: cnn, two_stream, cnn+geometry, c3d, cnn+gru."""
        kinds = [_kind(stream) for stream in self.streams]
        same = len(kinds) == 2 and kinds[0] == kinds[1] == "cnn"
        name = "two_stream" if same else "+".join(kinds)
        if self.recurrent is not None:
            return f"{name}+{self.recurrent.cell}"
        return f"{name}+attention" if self.voting == "attention" else name

    @property
    def config_id(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Write the canonical JSON: keys sorted, inactive choices absent, floats by repr."""
        values = asdict(self) | {"clip": self.clip.active()}
        return json.dumps(_active(values), sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Config:
    """Read what `Config.to_json` wrote.

    Raises: ConfigError where a field is unknown, missing or out of range.
    """
    values = json.loads(text)
    try:
        built = {k: _CHECKS[k][0](**v) if k in _CHECKS else v for k, v in values.items()}
        built["streams"] = tuple(map(_stream, values.get("streams", ())))
        return Config(**built)
    except TypeError as error:
        raise ConfigError(f"config {text}: {error}.") from error


def flat(config: Config) -> dict[str, str | int | float | None]:
    """Give the columns `config.*` of the leaderboard; streams that differ are joined by +."""
    images, recurrent = config.images, config.recurrent
    depths, dims = {s.freeze_depth for s in images}, {s.pca_dim for s in images}
    names = [s.backbone if isinstance(s, StreamConfig) else "geometry" for s in config.streams]
    return {
        "config.views": "+".join(dict.fromkeys(s.view for s in images)) or None,
        "config.backbone": "+".join(names),
        "config.freeze_depth": depths.pop() if len(depths) == 1 else None,
        "config.pooling": "+".join(dict.fromkeys(s.pooling for s in images)) or None,
        "config.fc_layers": config.head.fc_layers,
        "config.fusion_point": config.fusion.point if config.fusion else None,
        "config.recurrent_cell": recurrent.cell if recurrent else None,
        "config.pca_dim": dims.pop() if len(dims) == 1 else None,
        "config.frames": config.clip.frames,
        "config.optimizer": config.optimizer.name,
        "config.lr": config.optimizer.lr,
    }


def validate(config: Config) -> None:
    """Refuse a config that cannot work, whatever the data.

    Raises: ConfigError that names the field, its value, and what would be right.
    """
    require(len(config.streams) > 0, "streams", config.streams, "one or more")
    for stream in config.streams:
        check_stream(stream)
    for name, (_, check) in _CHECKS.items():
        if (part := getattr(config, name)) is not None:
            check_types(part)
            check(part)
    one_of("voting", config.voting, VOTINGS)
    if config.task is not None:
        one_of("task", config.task, TASKS)
    _check_fused(config)
    _check_temporal(config)
    if config.augment is not None:
        pca = next((s.pca_dim for s in config.images if s.pca_dim), None)
        right = "None: augmented images are never stored, and PCA reads stored features"
        require(pca is None, "stream.pca_dim", pca, right)
        upright = not (config.geometry and config.augment.flip)
        right = "False beside geometry, whose points are not mirrored"
        require(upright, "augment.flip", config.augment.flip, right)


def _check_fused(config: Config) -> None:
    several, fusion = len(config.streams) > 1, config.fusion
    right = f"{'a FusionConfig' if several else 'None'} with {len(config.streams)} streams"
    require(several == (fusion is not None), "fusion", fusion, right)
    needed = {"fc1": 1, "fc2": 2}.get(fusion.point, 0) if fusion else 0
    right = f"at least {needed}: streams meet after that layer"
    require(config.head.fc_layers >= needed, "head.fc_layers", config.head.fc_layers, right)


def _check_temporal(config: Config) -> None:
    cell, framewise = config.recurrent, [s for s in config.streams if not s.is_volume]
    if cell is not None:
        volume = config.streams[0]
        name = volume.backbone if isinstance(volume, StreamConfig) else "geometry"
        right = f"None: {name} reads the frames as one volume"
        require(bool(framewise), "recurrent", cell, right)
    if cell is not None or not framewise:
        right = "'mean_probability' where a clip is scored as one"
        require(config.voting == "mean_probability", "voting", config.voting, right)
    if cell is not None and cell.cell == "convlstm":
        alone = len(config.images) == len(config.streams) == 1 and not config.images[0].pca_dim
        require(alone, "recurrent.cell", cell.cell, "another cell but for one stream of maps")
        right = "False for convlstm"
        require(not cell.bidirectional, "recurrent.bidirectional", cell.bidirectional, right)


def _kind(stream: Stream) -> str:
    if isinstance(stream, GeometryConfig):
        return "geometry"
    return stream.backbone if stream.backbone in (*VOLUMES, *FITTED) else "cnn"


def _stream(values: Mapping[str, Any]) -> Stream:
    if "backbone" not in values:
        return GeometryConfig(**values)
    pretrain = values.get("pretrain")
    return StreamConfig(**{**values, "pretrain": PretrainConfig(**pretrain) if pretrain else None})


def _active(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _cleaned(value) for key, value in values.items() if value is not None}


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return _active(value)
    return [_cleaned(item) for item in value] if isinstance(value, list | tuple) else value
