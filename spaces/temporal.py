"""Which temporal model reads an expression best, and is it better than frames that vote?

Fixed:    aligned faces of 96 pixels, or 48 for c3d; dlib's face ResNet-29 for all models but c3d,
          which has an eighth of the published width and starts from random weights.
Searched: the model and its size: frames that vote; a recurrent cell on the points, on stored
          features (with or without PCA), on both, or on images, with the last block trained; a
          ConvLSTM on stored maps; c3d, as published or as in Garcia Zapata 2018. Also which frames
          are read and how many, pooling, the head, the learning rate.
Cost:     a trial on one of two busy CPU cores (288 clips, 5 folds): 3-20 s for frames that vote,
          9-26 s for points, 15-110 s for features, minutes for a ConvLSTM, images or c3d.
"""

from optuna import Trial

from fer_core.config import (
    ClipConfig,
    Config,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    Stream,
    StreamConfig,
)

EPOCHS = {"images": 5, "convlstm": 8, "c3d": 10}  # 30 for the other models

# What the field would try first: frames that vote, and a GRU on stored features or on the points.
_HEAD = {"head.fc_layers": 0, "head.dropout": 0.0, "adamw.lr": 1e-3}
_CLIP = {"clip.sampling": "50-100", "stored.frames": 5}
_VIEW = {"pooling": "none", "freeze_depth": 4, "pca": False}
_GRU = {"recurrent.cell": "gru", "recurrent.layers": 1, "recurrent.hidden": 32}
_ONE_WAY = {"recurrent.bidirectional": False}
_POINTS = {"points.encoding": "difference", "points.hidden": 32}
FIRST = (
    {"model": "frames", "voting": "mean_probability", **_VIEW, **_CLIP, **_HEAD},
    {"model": "features", **_VIEW, **_CLIP, **_GRU, **_ONE_WAY, **_HEAD},
    {"model": "points", **_POINTS, **_CLIP, **_GRU, **_ONE_WAY, **_HEAD},
)


def space(trial: Trial) -> Config:
    model = trial.suggest_categorical(
        "model", ["frames", "points", "features", "points+features", "images", "convlstm", "c3d"]
    )
    streams: tuple[Stream, ...] = ()
    if "points" in model:  # changes of the points, which a cell would have to learn from positions
        encoding = trial.suggest_categorical("points.encoding", ["difference", "motion"])
        hidden = trial.suggest_int("points.hidden", 8, 64, log=True)
        streams += (GeometryConfig(encoding=encoding, hidden=hidden),)
    if model != "points":
        streams += (_view(trial, model),)

    voting = "mean_probability"
    if model == "frames":
        voting = trial.suggest_categorical(
            "voting", ["majority", "mean_probability", "mean_logit", "attention"]
        )
    live = model in ("images", "c3d")
    return Config(
        streams=streams,
        clip=_clip(trial, live=live),
        fusion=FusionConfig(point="conv") if len(streams) > 1 else None,
        recurrent=None if model in ("frames", "c3d") else _recurrent(trial, model),
        voting=voting,
        head=HeadConfig(
            fc_layers=trial.suggest_int("head.fc_layers", 0, 2),
            dropout=trial.suggest_float("head.dropout", 0.0, 0.5),
        ),
        optimizer=OptimizerConfig(
            lr=trial.suggest_float("adamw.lr", 3e-4, 1e-2, log=True),
            weight_decay=1e-2,
            epochs=EPOCHS.get(model, 30),
            updates=150 if live else 400,
            batch_clips=8 if live else 16,
        ),
    )


def _view(trial: Trial, model: str) -> StreamConfig:
    pooling = trial.suggest_categorical("pooling", ["none", "avg", "max", "gem"])
    if model == "c3d":
        return StreamConfig(
            backbone=trial.suggest_categorical("backbone", ["c3d", "c3d_study"]),
            weights="random",
            blocks=4,
            freeze_depth=0,
            pooling=pooling,
            width=0.125,
            crop_pixels=48,
        )
    blocks = 4 if model == "images" else trial.suggest_int("freeze_depth", 3, 4)
    pca_dim = None
    reducible = model not in ("images", "convlstm") and pooling == "none"
    if reducible and trial.suggest_categorical("pca", [False, True]):
        pca_dim = trial.suggest_int("pca.dim", 25, 200, log=True)
    return StreamConfig(
        backbone="dlib_resnet",
        weights="package",
        blocks=blocks,
        freeze_depth=3 if model == "images" else blocks,
        pooling=pooling,
        pca_dim=pca_dim,
        crop_pixels=96,
    )


def _clip(trial: Trial, *, live: bool) -> ClipConfig:
    choices = ["50-80", "50-100", "uniform", "onset_apex"]
    sampling = trial.suggest_categorical("clip.sampling", choices)
    if live:  # more frames would take minutes a trial
        frames = trial.suggest_categorical("live.frames", [5, 8])
    else:
        frames = trial.suggest_categorical("stored.frames", [5, 8, 16])
    if sampling in ("uniform", "onset_apex"):
        return ClipConfig(sampling=sampling, frames=frames)
    return ClipConfig(start=0.5, end={"50-80": 0.8, "50-100": 1.0}[sampling], frames=frames)


def _recurrent(trial: Trial, model: str) -> RecurrentConfig:
    if model == "convlstm":
        channels = trial.suggest_int("convlstm.channels", 8, 32, log=True)
        return RecurrentConfig(cell="convlstm", hidden=channels)
    layers = trial.suggest_int("recurrent.layers", 1, 3)
    return RecurrentConfig(
        cell=trial.suggest_categorical("recurrent.cell", ["rnn", "lstm", "gru"]),
        hidden=trial.suggest_int("recurrent.hidden", 16, 64, log=True),
        layers=layers,
        bidirectional=trial.suggest_categorical("recurrent.bidirectional", [False, True]),
        dropout=trial.suggest_float("recurrent.dropout", 0.0, 0.5) if layers > 1 else 0.0,
    )
