"""One small config of each kind of model that trials can train."""

from dataclasses import replace

from fer_core.config import (
    AugmentConfig,
    ClipConfig,
    Config,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    PretrainConfig,
    RecurrentConfig,
    StreamConfig,
)

FROZEN = StreamConfig(
    backbone="dlib_resnet", weights="package", blocks=4, freeze_depth=4, pooling="avg"
)
UNPOOLED = replace(FROZEN, pooling="none")
REDUCED = replace(UNPOOLED, pca_dim=20)
SMALL_VGG = StreamConfig(
    backbone="vgg16",
    weights="random",
    blocks=5,
    freeze_depth=0,
    pooling="max",
    width=1 / 32,
    crop_pixels=32,
)
SCAE = StreamConfig(
    backbone="scae",
    weights="fitted",
    blocks=3,
    freeze_depth=2,
    pooling="avg",
    crop_pixels=32,
    width=0.25,
    pretrain=PretrainConfig(epochs=1),
)
C3D = StreamConfig(
    backbone="c3d", weights="random", blocks=5, freeze_depth=0, width=1 / 16, crop_pixels=32
)
CHANGES = GeometryConfig(encoding="difference", hidden=16)
THREE, ONE_EPOCH = ClipConfig(frames=3), OptimizerConfig(epochs=1)
GRU = RecurrentConfig(cell="gru", hidden=8, bidirectional=True)
CNN = Config(streams=(FROZEN,), clip=THREE, optimizer=OptimizerConfig(lr=0.01, epochs=20))


def of(*streams, **choices):
    fusion = FusionConfig(point="fc1", how="sum") if len(streams) > 1 else None
    head = HeadConfig(fc_layers=1, fc_width=16, dropout=0.2)
    common = {"streams": streams, "fusion": fusion, "head": head}
    return replace(CNN, **common | choices)


KINDS = {
    "frames that vote": CNN,
    "pca": of(REDUCED),
    "gru on features": of(FROZEN, recurrent=GRU),
    "lstm on images": of(
        replace(FROZEN, freeze_depth=3),
        recurrent=RecurrentConfig(cell="lstm", hidden=8),
        optimizer=ONE_EPOCH,
    ),
    "convlstm": of(FROZEN, recurrent=RecurrentConfig(cell="convlstm", hidden=4)),
    "attention": of(FROZEN, voting="attention"),
    "nothing frozen": of(SMALL_VGG, optimizer=ONE_EPOCH),
    "augmented": of(
        replace(FROZEN, freeze_depth=3, crop_pixels=48),
        augment=AugmentConfig(shift=0.1, zoom=0.1),
        optimizer=ONE_EPOCH,
    ),
    "c3d": of(C3D, optimizer=ONE_EPOCH),
    "frozen c3d": of(replace(C3D, freeze_depth=5)),
    "scae": of(SCAE, optimizer=ONE_EPOCH),
    "geometry": of(CHANGES),
    "study's geometry": of(GeometryConfig(encoding="centred", hidden=0)),
    "two streams": of(FROZEN, replace(FROZEN, view="frontal")),
    "points and frames over time": of(REDUCED, CHANGES, recurrent=GRU),
    "two heads": of(FROZEN, task="hidden", head=HeadConfig(two_heads=True)),
    "early stopping": of(FROZEN, optimizer=replace(CNN.optimizer, patience=1, schedule="plateau")),
}
