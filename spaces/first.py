"""Which kind of model reads a facial expression best: still frames, their order, or the landmarks?

Fixed:    five aligned faces of 96 pixels from the last third of a clip; dlib's face ResNet-29,
          whose weights come with the install and stay as they are.
Searched: the model (frames that vote, a GRU over the frames, or a GRU over the 68 landmarks), after
          which block the network is cut, how its map is pooled, the size and the learning rate.
Cost:     `make run`, 16 trials on the embedded dataset (288 clips, 5 folds), takes 2 min 22 s on
          two CPU cores, rendering and finding the faces included.
"""

from optuna import Trial

from fer_core.config import (
    ClipConfig,
    Config,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    Stream,
    StreamConfig,
)

# What the field would try first: a linear head on a frozen face network, and a GRU on the points.
_HEAD = {"head.dropout": 0.0, "adamw.lr": 1e-3}
FIRST = (
    {"model": "frames", "blocks": 4, "pooling": "none", **_HEAD},
    {"model": "landmarks+gru", "gru.hidden": 32, **_HEAD},
)


def space(trial: Trial) -> Config:
    model = trial.suggest_categorical("model", ["frames", "frames+gru", "landmarks+gru"])
    stream: Stream
    if model == "landmarks+gru":
        stream = GeometryConfig(encoding="difference", hidden=32)
    else:
        blocks = trial.suggest_int("blocks", 3, 4)
        stream = StreamConfig(
            backbone="dlib_resnet",
            weights="package",
            blocks=blocks,
            freeze_depth=blocks,
            pooling=trial.suggest_categorical("pooling", ["none", "avg"]),
            pca_dim=None,
            crop_pixels=96,
        )
    recurrent = None
    if model != "frames":
        hidden = trial.suggest_categorical("gru.hidden", [16, 32, 64])
        recurrent = RecurrentConfig(cell="gru", hidden=hidden)
    return Config(
        streams=(stream,),
        clip=ClipConfig(start=0.7, end=1.0, frames=5),
        recurrent=recurrent,
        head=HeadConfig(dropout=trial.suggest_categorical("head.dropout", [0.0, 0.5])),
        optimizer=OptimizerConfig(
            lr=trial.suggest_float("adamw.lr", 3e-4, 1e-2, log=True),
            weight_decay=1e-2,
            epochs=30,
            updates=400,
            batch_clips=16,
        ),
    )
