"""The configs whose models the tests of predicting export."""

from dataclasses import replace

from fer_core.config import (
    ClipConfig,
    Config,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
)

FROZEN = StreamConfig(
    backbone="dlib_resnet", weights="package", blocks=3, freeze_depth=3, pooling="avg"
)
VOTES = Config(
    streams=(FROZEN, GeometryConfig()),
    fusion=FusionConfig(),
    clip=ClipConfig(frames=3),
    task="hidden",
    head=HeadConfig(two_heads=True),
    optimizer=OptimizerConfig(epochs=20, lr=0.01),
)
GRU = replace(VOTES, recurrent=RecurrentConfig(cell="gru", hidden=8))
C3D = Config(
    streams=(
        StreamConfig(
            backbone="c3d", weights="random", blocks=4, freeze_depth=0, width=1 / 16, crop_pixels=32
        ),
    ),
    clip=ClipConfig(frames=4),
    optimizer=OptimizerConfig(epochs=1),
)
