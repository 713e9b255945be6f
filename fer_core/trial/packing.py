"""Decide which configs may train together as one pack, and how many; imports no torch.

A pack is one or more configs whose trainable parts have equal shapes, so that they train as one
stacked network (`fer_core.training.stacking.forward`), whatever their learning rates, weight
decays and dropouts. The search forms packs of the configs that it draws (`search.study.queue`),
and sends a pack to a worker that holds its stages in memory (`stage_key`).
"""

import json
from dataclasses import replace

from fer_core.config import Config, GeometryConfig, Stream, StreamConfig
from fer_core.data.study_data import StudyData

MOST_MEMBERS = 16
PACK_SECONDS = 0.6  # a pack trains about this long per fold: the driver spends 0.02 to 0.04 s on it
LIGHT_SECONDS = 0.1  # configs that take longer gain nothing by waiting for others
# A rough price of a training step on one CPU thread. It is a constant, and not measured or profiled
# (`models.profile`), because the size of packs decides what is drawn next: two runs of a study must
# draw alike on every machine. `benchmarks/search.py --rows 8` measures how true it is.
_STEP_SECONDS, _PARAMETER_SECONDS = 2e-4, 4e-9
_POOLED, _WHOLE = 512, 25_088  # features of VGG-16's last map, with and without pooling


def stackable(config: Config) -> bool:
    """Whether configs like this one may train as one stacked network.

    The config must train only a head on stored features, without early stopping, and without a
    ConvLSTM or dropout between recurrent layers.
    """
    cell = config.recurrent
    plain = cell is None or (cell.cell != "convlstm" and (cell.layers == 1 or not cell.dropout))
    return is_head(config) and plain and config.optimizer.patience is None


def pack_key(config: Config) -> str:
    """Name the shape of what is trained; configs with the same key may train as one pack."""
    if not stackable(config):
        return f"alone:{config.to_json()}"
    alike = replace(
        config,
        streams=tuple(map(_shape, config.streams)),
        head=replace(config.head, dropout=0.0),
        optimizer=replace(
            config.optimizer, lr=1.0, weight_decay=0.0, label_smoothing=0.0, class_weights=False
        ),
        stands_for=None,
    )
    return alike.to_json()


def is_head(config: Config) -> bool:
    """Whether only the head is trained, on stored features; such a trial is small."""
    return all(stream.frozen and not config.is_live(stream) for stream in config.images)


def stage_key(config: Config) -> str:
    """Name what a config reads from the store: configs with the same key read the same stages."""
    alike = replace(config, streams=tuple(map(_stage_inputs, config.streams)))
    values = json.loads(alike.to_json())
    return json.dumps({name: values[name] for name in ("streams", "clip")}, sort_keys=True)


def most_members(config: Config, study_data: StudyData) -> int:
    """Return how many configs like this one a pack should have, by how long one takes to train."""
    if not stackable(config):
        return 1
    seconds = _seconds(config, study_data)
    return 1 if seconds > LIGHT_SECONDS else min(MOST_MEMBERS, int(PACK_SECONDS / seconds))


def _seconds(config: Config, study_data: StudyData) -> float:
    """Price the training of one fold, in seconds."""
    optimizer, window = config.optimizer, study_data.clip or config.clip
    development = set(study_data.protocol.development)
    clips = sum(clip.subject in development for clip in study_data.manifest.clips)
    steps = optimizer.epochs_for(clips) * (clips / optimizer.batch_clips + 1)
    dim = sum(_dim(stream) for stream in config.streams)
    width = config.head.fc_width if config.head.fc_layers else 10
    parameters = dim * width + max(0, config.head.fc_layers - 1) * width**2
    price = _STEP_SECONDS
    if cell := config.recurrent:
        parameters += 4 * cell.layers * cell.hidden * (dim + cell.hidden)
        price *= 1 + window.frames / 2
    return steps * (price + parameters * _PARAMETER_SECONDS)


def _dim(stream: Stream) -> int:
    """Estimate how many features the head reads of a stream."""
    if isinstance(stream, GeometryConfig):
        return stream.hidden or 136
    return stream.pca_dim or (_WHOLE if stream.pooling == "none" else _POOLED)


def _stage_inputs(stream: Stream) -> Stream:
    """Reduce a stream to what decides the stage that it reads."""
    if isinstance(stream, GeometryConfig):
        return GeometryConfig(encoding=stream.encoding)
    assert isinstance(stream, StreamConfig)
    return replace(stream, pooling="none", pca_dim=None)


def _shape(stream: Stream) -> Stream:
    """Reduce a stream to what decides the shape of what is trained on it."""
    if isinstance(stream, GeometryConfig):
        return replace(stream, dropout=0.0)
    assert isinstance(stream, StreamConfig)
    return stream if stream.pooling == "none" else replace(stream, pooling="avg")
