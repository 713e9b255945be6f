"""`Config`: all choices of one trial, written to JSON and read back, and hashed to a `config_id`.

A space returns one `Config` per trial, and the whole trial is computed from it. It describes a
network: streams (a view of the face through a backbone, or the 68 landmarks) that are joined at a
fusion point, then a recurrent cell over the frames or frames that vote, then a head of fully
connected layers. It also says which frames are read and how the network is trained. The module
imports the standard library only.
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
    FITTED,
    GIVEN,
    TASKS,
    VOLUMES,
    VOTINGS,
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

# Part of a config: its class, and its check.
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
    """Everything that a trial may choose. A part that a network does not have is None.

    Raises: ConfigError, when it is built, if the choices cannot work together.
    """

    streams: tuple[Stream, ...]
    clip: ClipConfig = field(default_factory=ClipConfig)
    fusion: FusionConfig | None = None  # None with one stream
    recurrent: RecurrentConfig | None = None  # None: each frame is scored alone
    voting: str = "mean_probability"  # from the scores of frames to that of a clip
    head: HeadConfig = field(default_factory=HeadConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentConfig | None = None
    task: str | None = None  # None: the task of the study
    stands_for: str | None = None  # key of the published result that it repeats

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

    @property
    def reads_landmarks(self) -> bool:
        """Whether a stream needs the landmarks of faces, as its input or to make its view."""
        return any(not isinstance(s, StreamConfig) or s.view != GIVEN for s in self.streams)

    def is_live(self, stream: StreamConfig) -> bool:
        """Whether training runs the whole backbone on images, so that no features are stored."""
        return stream.freeze_depth == 0 or self.augment is not None

    def stored_pooling(self, stream: StreamConfig) -> str:
        """Return how stored features are pooled; a ConvLSTM reads maps and pools later."""
        convlstm = self.recurrent is not None and self.recurrent.cell == "convlstm"
        return "none" if convlstm else stream.pooling

    @property
    def votes(self) -> bool:
        """Whether each frame is scored alone, and the frames then vote."""
        framewise = not all(stream.is_volume for stream in self.streams)
        return framewise and self.recurrent is None and self.voting != "attention"

    @property
    def rule(self) -> str:
        """The rule by which frames vote; a clip that is scored as a whole has a single vote."""
        return "mean_probability" if self.voting == "attention" else self.voting

    @property
    def family(self) -> str:
        """The kind of model, for example cnn, two_stream, cnn+geometry, c3d or cnn+gru."""
        kinds = [_kind(stream) for stream in self.streams]
        same = len(kinds) == 2 and kinds[0] == kinds[1] == "cnn"
        name = "two_stream" if same else "+".join(kinds)
        if self.recurrent is not None:
            return f"{name}+{self.recurrent.cell}"
        return f"{name}+attention" if self.voting == "attention" else name

    @property
    def config_id(self) -> str:
        """A hash of all active choices; two configs with equal choices have the same."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Write the canonical JSON: keys sorted, inactive choices left out, floats by `repr`."""
        values = asdict(self) | {"clip": self.clip.active()}
        return json.dumps(_active(values), sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Config:
    """Read a config that `Config.to_json` wrote.

    Raises: ConfigError if a field is unknown, missing or out of range.
    """
    values = json.loads(text)
    try:
        built = {k: _CHECKS[k][0](**v) if k in _CHECKS else v for k, v in values.items()}
        built["streams"] = tuple(map(_stream, values.get("streams", ())))
        return Config(**built)
    except TypeError as error:
        raise ConfigError(f"config {text}: {error}.") from error


def flat(config: Config) -> dict[str, str | int | float | None]:
    """Return the columns `config.*` of the leaderboard, one value each.

    Names that differ between streams are joined by `+`; a number that differs is left out (None).
    """
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
    """Refuse a config that cannot work with any data.

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
        right = (
            "None with augment, since PCA reads stored features and augmented images are not stored"
        )
        require(pca is None, "stream.pca_dim", pca, right)
        upright = not (config.geometry and config.augment.flip)
        right = "False with geometry, since its points are not mirrored"
        require(upright, "augment.flip", config.augment.flip, right)


def _check_fused(config: Config) -> None:
    several, fusion = len(config.streams) > 1, config.fusion
    right = f"{'a FusionConfig' if several else 'None'} with {len(config.streams)} streams"
    require(several == (fusion is not None), "fusion", fusion, right)
    needed = {"fc1": 1, "fc2": 2}.get(fusion.point, 0) if fusion else 0
    right = f"at least {needed}, since the streams are joined after that layer"
    require(config.head.fc_layers >= needed, "head.fc_layers", config.head.fc_layers, right)


def _check_temporal(config: Config) -> None:
    cell, framewise = config.recurrent, [s for s in config.streams if not s.is_volume]
    if cell is not None:
        volume = config.streams[0]
        name = volume.backbone if isinstance(volume, StreamConfig) else "geometry"
        right = f"None, since {name} reads the frames as one volume"
        require(bool(framewise), "recurrent", cell, right)
    if cell is not None or not framewise:
        right = "'mean_probability' if a clip is scored as a whole"
        require(config.voting == "mean_probability", "voting", config.voting, right)
    if cell is not None and cell.cell == "convlstm":
        one_map = len(config.images) == len(config.streams) == 1 and not config.images[0].pca_dim
        right = "rnn, lstm or gru, since a ConvLSTM reads one image stream without PCA"
        require(one_map, "recurrent.cell", cell.cell, right)
        right = "False for convlstm"
        require(not cell.bidirectional, "recurrent.bidirectional", cell.bidirectional, right)


def _kind(stream: Stream) -> str:
    """Return what a stream adds to the name of the family."""
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
