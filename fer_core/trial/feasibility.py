"""Check that a config can work on a study's data, before anything is computed.

A trial runs `check` first, so that a config that cannot work fails at once and with a message that
names the field to change. A search runs `check_on_data` on each config that it draws, and draws
another in the place of one that is refused. The costs and shapes of backbones come from
`models.profile`; `trial.timing` builds its networks from the same `stand_in`.
"""

from collections.abc import Sequence

import torch
from torch import nn

from fer_core import machine
from fer_core.config import (
    CHANGES,
    GIVEN,
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
from fer_core.models.network import Network, StreamInput, count
from fer_core.models.profile import profile

ENCODED = {  # features per frame that each encoding of the 68 points gives
    "centred": 136,
    "distances": 2278,
    **dict.fromkeys(("procrustes", *CHANGES), 136),
}
COPIES = {  # numbers that each optimizer keeps per parameter: its value, gradient and moments
    "sgd": 3,
    "adam": 4,
    "adamw": 4,
}
# The largest share of given faces without landmarks that a stream of points can do without. It is
# more than the 8 % of FER2013's faces in which dlib finds none, and each of these counts as wrong.
MOST_WITHOUT_LANDMARKS = 0.1
SHARE = 0.8  # share of the memory that weights, gradients and moments may take together
NUMBER_BYTES = 4  # training is in single precision


def check(config: Config, study_data: StudyData) -> None:
    """Refuse a config that cannot work on these data, or not in the memory of this machine.

    Raises: ConfigError that names the field, its value, and what would be right; WeightsError
        where weights are missing.
    """
    needed, available = check_on_data(config, study_data), machine.total_bytes()
    if needed > SHARE * available:
        raise ConfigError(
            f"the trained weights take {needed / 2**30:.1f} GiB with {config.optimizer.name}, and "
            f"there are {available / 2**30:.1f} GiB; pool the map, use PCA, or lower head.fc_width."
        )


def check_on_data(config: Config, study_data: StudyData) -> int:
    """Refuse a config that cannot work on these data, on whichever machine.

    Returns the bytes of all trained weights, and of their gradients and moments.

    Raises: ConfigError and WeightsError as `check` does.
    """
    window = study_data.clip or config.clip
    _check_apex(config, window)
    for stream in config.streams:
        if isinstance(stream, GeometryConfig):
            _check_geometry(stream, window, study_data)
        elif (
            stream.weights == "file" and extraction.weights_file(stream, study_data.weights) is None
        ):
            name = stream.backbone
            raise ConfigError(f"{name} with weights 'file' needs --weights {name}=FILE.")
    dims = [_feature_count(stream, window.frames) for stream in config.streams]
    _check_pca(config, study_data, window, dims)
    return _training_bytes(config, study_data.classes, window.frames)


def _check_apex(config: Config, window: ClipConfig) -> None:
    """Refuse to look for the apex of an expression in whole pictures, which have no landmarks."""
    if window.sampling == "onset_apex" and any(s.view == GIVEN for s in config.images):
        raise ConfigError(
            "clip.sampling is 'onset_apex'; it must be another for the view 'given', since the "
            "apex is found by landmarks."
        )


def _check_geometry(geometry: GeometryConfig, window: ClipConfig, study_data: StudyData) -> None:
    """Refuse geometry where points are missing, or changes over time where there is one frame."""
    without = next((c.clip for c in study_data.manifest.clips if c.landmarks is None), None)
    if study_data.landmarks == "data" and without is not None:
        raise ConfigError(
            f"geometry needs landmarks, and clip '{without}' has none; use --landmarks dlib."
        )
    lacking = study_data.without_landmarks if study_data.missing != "leave-out" else None
    if lacking is not None and lacking > MOST_WITHOUT_LANDMARKS:
        raise ConfigError(
            f"geometry needs landmarks, and none are found in {lacking:.1%} of the clips; at "
            f"most {MOST_WITHOUT_LANDMARKS:.0%} may lack them, since they count as wrong."
        )
    changes = geometry.encoding in CHANGES
    if changes and window == ONE_FRAME and study_data.manifest.stills:
        raise ConfigError(
            f"geometry.encoding is {geometry.encoding!r}; it must be another for photographs, "
            "which have no first frame to differ from."
        )


def _check_pca(
    config: Config, study_data: StudyData, window: ClipConfig, dims: Sequence[int]
) -> None:
    """Refuse more PCA components than the training frames of any fold allow.

    Frames are counted as if every clip could be used; `dims` are the features of each stream.
    """
    protocol = study_data.protocol
    subjects = [clip.subject for clip in study_data.manifest.clips]
    for stream, dim in zip(config.streams, dims, strict=True):
        if not isinstance(stream, StreamConfig) or stream.pca_dim is None:
            continue
        for fold in protocol.folds:
            train = set(protocol.development) - set(fold)
            rows = sum(subject in train for subject in subjects)
            rows *= 1 if stream.is_volume else window.frames
            if stream.pca_dim > min(rows - 1, dim):
                raise ConfigError(
                    f"stream.pca_dim is {stream.pca_dim}; {rows} training frames of {dim} features "
                    f"allow at most {min(rows - 1, dim)}."
                )


def _feature_count(stream: Stream, frames: int) -> int:
    """Count the features of a frame, or of a volume, before PCA.

    Raises: ConfigError where so few frames or pixels do not get through the blocks.
    """
    if isinstance(stream, GeometryConfig):
        return ENCODED[stream.encoding]
    return profile(stream, frames).features(stream.pooling)


def _training_bytes(config: Config, classes: tuple[str, ...], frames: int) -> int:
    """Count the bytes of all trained weights, and of their gradients and moments.

    Raises: ConfigError where the parts of the config do not fit together.
    """
    with torch.device("meta"):
        inputs = [stand_in(config, stream, frames) for stream in config.streams]
        network = Network(config, inputs, classes)
    blocks = sum(profile(s, frames).parameters(s.freeze_depth) for s in config.images)
    trained = count([network]) + blocks
    return trained * COPIES[config.optimizer.name] * NUMBER_BYTES


def stand_in(config: Config, stream: Stream, frames: int) -> StreamInput:
    """Give zeros in place of a stream's features of one clip, in the shape that they will have.

    The features are those after all blocks of the backbone, so the network that reads them is the
    head alone.
    """
    dim = _feature_count(stream, frames)
    if isinstance(stream, StreamConfig) and stream.pca_dim is not None:
        dim = stream.pca_dim
    if isinstance(stream, GeometryConfig):
        return StreamInput(torch.zeros(1, frames, dim), nn.ModuleList())
    if stream.is_volume:
        return StreamInput(torch.zeros(1, dim), nn.ModuleList())
    if config.recurrent is not None and config.recurrent.cell == "convlstm":
        channels, height, width = profile(stream, frames).shape(stream.blocks)
        sample = torch.zeros(1, frames, channels * height * width)
        return StreamInput(sample, nn.ModuleList(), maps=(channels, height, width))
    return StreamInput(torch.zeros(1, frames, dim), nn.ModuleList())
