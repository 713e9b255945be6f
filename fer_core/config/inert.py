"""Leave out of a config what cannot matter, so that configs that differ in nothing are equal.

A search calls `canonical` for each config that it draws, before it computes the `config_id`: two
draws of one model are then one. Only what certainly makes no difference to the model, or to the
choices that it makes, is replaced, and always by one value. The module imports the standard library
only.
"""

from dataclasses import replace

from fer_core.config.choices import (
    AugmentConfig,
    ClipConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    Stream,
)
from fer_core.config.config import Config

_ONE_VOTE = "mean_probability"  # with one frame, all rules choose the class of that frame


def canonical(config: Config, fixed: ClipConfig | None = None) -> Config:
    """Return the config with one value for each choice that cannot matter.

    `fixed` are the frames that the data or a published protocol prescribe (`StudyData.clip`); with
    None the config chooses them.
    """
    clip = _clip(fixed or config.clip)
    return replace(
        config,
        streams=tuple(map(_stream, config.streams)),
        clip=clip,
        voting=_ONE_VOTE if clip.frames == 1 else config.voting,
        head=_head(config.head),
        optimizer=_optimizer(config),
        augment=_augment(config),
    )


def _clip(clip: ClipConfig) -> ClipConfig:
    """A single frame is no distance away from another, and the middle of a clip is its middle."""
    if clip.frames > 1:
        return clip
    sampling = "middle" if clip.sampling == "uniform" else clip.sampling
    return replace(clip, sampling=sampling, stride=1)


def _stream(stream: Stream) -> Stream:
    """The points' dropout acts on the input of a layer, which a stream without it does not have."""
    if isinstance(stream, GeometryConfig) and not stream.hidden:
        return replace(stream, dropout=0.0)
    return stream


def _head(head: HeadConfig) -> HeadConfig:
    """Without FC layers, there is nothing to be wide."""
    return head if head.fc_layers else replace(head, fc_width=HeadConfig.fc_width)


def _optimizer(config: Config) -> OptimizerConfig:
    """Without a trained block, no weight has the learning rate of the blocks."""
    trains_blocks = any(not stream.frozen for stream in config.images)
    if trains_blocks:
        return config.optimizer
    return replace(config.optimizer, backbone_lr=OptimizerConfig.backbone_lr)


def _augment(config: Config) -> AugmentConfig | None:
    """Only images are augmented."""
    return config.augment if config.images else None
