"""Which is the best of all models that can be put together here?

Fixed:    only what a CPU could not bear otherwise: crops are 32 to 64 pixels wide, and networks
          that start from random weights are narrow. Only dlib's face ResNet-29 has trained weights,
          so that the user need not supply any.
Searched: everything else: up to three views of the face, each with a backbone of its own, and the
          68 points; freeze depth, pooling, PCA and fusion; frames that vote or a recurrent cell; FC
          layers; which frames are read; augmentation; the optimiser. Some draws are refused, and
          others drawn in their place: two heads for any task but hidden, more PCA components than
          there are training frames, and encodings that compare frames if the dataset has
          photographs.
Cost:     not measured as a search; one step on 12 clips takes up to 5 s on one CPU core.
"""

from optuna import Trial

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
    Stream,
    StreamConfig,
)

BACKBONES = {  # name: weights, blocks, crop pixels, width
    "dlib_resnet": ("package", 4, 64, 1.0),
    "scae": ("fitted", 4, 48, 1.0),
    "cdbn": ("fitted", 2, 48, 0.5),
    "vgg16": ("random", 5, 64, 0.125),
    "torchvision:resnet18": ("random", 3, 64, 1.0),
    "torchvision:mobilenet_v3_small": ("random", 4, 64, 1.0),
    "c3d": ("random", 4, 48, 0.125),
    "c3d_study": ("random", 4, 48, 0.125),
    "r3d_18": ("random", 2, 32, 1.0),
    "mc3_18": ("random", 2, 32, 1.0),
    "r2plus1d_18": ("random", 2, 32, 1.0),
}

# What the field would try first: a linear head on a frozen face network, and one on the points.
_HEAD = {"fc_layers": 0, "fc_width": 64, "dropout": 0.0, "two_heads": False}
_CLIP = {"clip.sampling": "window", "clip.start": 0.5, "clip.end": 1.0, "clip.frames": 4}
_FIT = {"optimizer": "adamw", "adamw.lr": 1e-3, "weight_decay": 1e-2, "batch_clips": 16}
_FIT |= {"schedule": "cosine", "label_smoothing": 0.0, "class_weights": False, "patience": False}
_VOTE = {"recurrent": False, "voting": "mean_probability"}
_FACE = {"image1.backbone": "dlib_resnet", "image1.dlib_resnet.freeze_depth": 4}
_FACE |= {"image1.pooling": "none", "image1.pca": False, "image1.view": "aligned"}
_POINTS = {"points.encoding": "procrustes", "points.hidden": 64}
FIRST = (
    {"images": 1, "points": False, "augment": False, **_FACE, **_VOTE, **_HEAD, **_CLIP, **_FIT},
    {"images": 0, **_POINTS, **_VOTE, **_HEAD, **_CLIP, **_FIT},
)


def space(trial: Trial) -> Config:
    images = trial.suggest_int("images", 0, 3)
    points = images == 0 or trial.suggest_categorical("points", [False, True])
    augmented = images > 0 and trial.suggest_categorical("augment", [False, True])
    streams: tuple[Stream, ...] = tuple(
        _image(trial, f"image{i}", augmented=augmented) for i in range(1, images + 1)
    )
    streams += (_points(trial),) if points else ()

    recurrent, voting = None, "mean_probability"
    if not all(stream.is_volume for stream in streams):
        if trial.suggest_categorical("recurrent", [False, True]):
            recurrent = _recurrent(trial, streams)
        else:
            rules = ["majority", "mean_probability", "mean_logit", "attention"]
            voting = trial.suggest_categorical("voting", rules)
    fusion = _fusion(trial, streams) if len(streams) > 1 else None
    return Config(
        streams=streams,
        clip=_clip(trial),
        fusion=fusion,
        recurrent=recurrent,
        voting=voting,
        head=_head(trial, fusion),
        optimizer=_optimizer(trial, streams),
        augment=_augment(trial, flip=not points) if augmented else None,
    )


def _image(trial: Trial, name: str, *, augmented: bool) -> StreamConfig:
    backbone = trial.suggest_categorical(f"{name}.backbone", list(BACKBONES))
    weights, blocks, crop_pixels, width = BACKBONES[backbone]
    freeze_depth, pca_dim, pretrain = 0, None, None
    if weights != "random":
        freeze_depth = trial.suggest_int(f"{name}.{backbone}.freeze_depth", 0, blocks)
    if weights == "fitted":
        pretrain = PretrainConfig(
            epochs=trial.suggest_int(f"{name}.pretrain.epochs", 1, 5),
            lr=trial.suggest_float(f"{name}.pretrain.lr", 1e-4, 1e-2, log=True),
        )
    pooling = trial.suggest_categorical(f"{name}.pooling", ["none", "avg", "max", "gem"])
    reducible = freeze_depth == blocks and pooling == "none" and not augmented
    if reducible and trial.suggest_categorical(f"{name}.pca", [False, True]):
        pca_dim = trial.suggest_int(f"{name}.pca.dim", 16, 256, log=True)
    return StreamConfig(
        backbone=backbone,
        weights=weights,
        blocks=blocks,
        freeze_depth=freeze_depth,
        pooling=pooling,
        pca_dim=pca_dim,
        view=trial.suggest_categorical(
            f"{name}.view", ["crop", "aligned", "frontal", "frontal_soft", "frontal_conditional"]
        ),
        width=width,
        crop_pixels=crop_pixels,
        pretrain=pretrain,
    )


def _points(trial: Trial) -> GeometryConfig:
    encodings = ["centred", "procrustes", "distances", "difference", "motion"]
    return GeometryConfig(
        encoding=trial.suggest_categorical("points.encoding", encodings),
        hidden=trial.suggest_categorical("points.hidden", [0, 16, 32, 64, 128]),
    )


def _recurrent(trial: Trial, streams: tuple[Stream, ...]) -> RecurrentConfig:
    layers = trial.suggest_int("recurrent.layers", 1, 3)
    hidden = trial.suggest_int("recurrent.hidden", 8, 64, log=True)
    dropout = trial.suggest_float("recurrent.dropout", 0.0, 0.5) if layers > 1 else 0.0
    maps = len(streams) == 1 and isinstance(streams[0], StreamConfig) and not streams[0].pca_dim
    if maps and trial.suggest_categorical("convlstm", [False, True]):
        return RecurrentConfig(cell="convlstm", hidden=hidden, layers=layers, dropout=dropout)
    return RecurrentConfig(
        cell=trial.suggest_categorical("recurrent.cell", ["rnn", "lstm", "gru"]),
        hidden=hidden,
        layers=layers,
        bidirectional=trial.suggest_categorical("recurrent.bidirectional", [False, True]),
        dropout=dropout,
    )


def _fusion(trial: Trial, streams: tuple[Stream, ...]) -> FusionConfig:
    point = trial.suggest_categorical("fusion.point", ["conv", "fc1", "fc2", "logits"])
    if point == "conv" and len(set(map(_size, streams))) > 1:
        return FusionConfig(point=point)  # sum and product need streams with equally many features
    how = trial.suggest_categorical("fusion.how", ["concat", "sum", "product"])
    return FusionConfig(point=point, how=how)


def _size(stream: Stream) -> tuple[str, str, int | None]:
    """Return what decides how many features a stream has, in this space."""
    if isinstance(stream, GeometryConfig):
        return stream.encoding, "hidden", stream.hidden
    return stream.backbone, stream.pooling, stream.pca_dim


def _head(trial: Trial, fusion: FusionConfig | None) -> HeadConfig:
    point = fusion.point if fusion else "conv"
    least = {"fc1": 1, "fc2": 2}.get(point, 0)  # the streams are joined after that layer
    return HeadConfig(
        fc_layers=trial.suggest_int(f"{point}.fc_layers" if least else "fc_layers", least, 3),
        fc_width=trial.suggest_int("fc_width", 16, 128, log=True),
        dropout=trial.suggest_float("dropout", 0.0, 0.6),
        two_heads=trial.suggest_categorical("two_heads", [False, True]),
    )


def _clip(trial: Trial) -> ClipConfig:
    samplings = ["window", "uniform", "stride", "last", "middle", "onset_apex"]
    sampling = trial.suggest_categorical("clip.sampling", samplings)
    start, end, stride = 0.5, 0.8, 1
    if sampling in ("window", "stride"):
        start = trial.suggest_float("clip.start", 0.0, 0.6, step=0.1)
    if sampling == "window":
        end = trial.suggest_float("clip.end", 0.7, 1.0, step=0.1)
    if sampling in ("stride", "last", "middle"):
        stride = trial.suggest_int("clip.stride", 1, 4)
    frames = trial.suggest_int("clip.frames", 2, 10, step=2)
    return ClipConfig(start=start, end=end, frames=frames, sampling=sampling, stride=stride)


def _augment(trial: Trial, *, flip: bool) -> AugmentConfig:
    strength = trial.suggest_float("augment.strength", 0.2, 1.0)
    return AugmentConfig(
        flip=flip,
        shift=0.1 * strength,
        zoom=0.1 * strength,
        rotate_degrees=15 * strength,
        shear_degrees=10 * strength,
        brightness=0.3 * strength,
    )


def _optimizer(trial: Trial, streams: tuple[Stream, ...]) -> OptimizerConfig:
    name = trial.suggest_categorical("optimizer", ["adam", "adamw", "sgd"])
    low, high = {"adam": (1e-4, 1e-2), "adamw": (1e-4, 1e-2), "sgd": (1e-3, 1e-1)}[name]
    frozen = all(isinstance(s, GeometryConfig) or s.frozen for s in streams)
    return OptimizerConfig(
        name=name,
        lr=trial.suggest_float(f"{name}.lr", low, high, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
        epochs=30 if frozen else 8,
        updates=600 if frozen else 200,
        batch_clips=trial.suggest_categorical("batch_clips", [8, 16, 32]),
        schedule=trial.suggest_categorical("schedule", ["constant", "cosine", "plateau"]),
        backbone_lr=1.0 if frozen else trial.suggest_float("backbone_lr", 0.01, 1.0, log=True),
        label_smoothing=trial.suggest_float("label_smoothing", 0.0, 0.2),
        class_weights=trial.suggest_categorical("class_weights", [False, True]),
        patience=5 if trial.suggest_categorical("patience", [False, True]) else None,
    )
