"""How much do the 68 points of a face tell, alone or with a view, and how should they be encoded?

Fixed:    5 frames from 20 to 100 % of a clip; the view is aligned, its dlib ResNet-29 is frozen.
Searched: the encoding of the points and the layer that reads it; whether there is a view too, and
          where both are joined; frames that vote or a recurrent cell; FC layers; the optimiser.
          With photographs, two of the five encodings are refused, because they compare frames.
Cost:     2-6 s a trial on one of two busy CPU cores (204 photographs, 5 folds).
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

# What the field would try first: the points' change since the first frame, by frames that vote and
# by a GRU (Jung et al. 2015, https://doi.org/10.1109/ICCV.2015.341, for networks on landmarks).
_POINTS = {"points.encoding": "difference", "points.hidden": 64, "points.dropout": 0.0}
_HEAD = {"view": False, "head.fc_layers_more": 0, "head.dropout": 0.0}
_ADAMW = {"optimizer": "adamw", "adamw.lr": 3e-3, "weight_decay": 1e-2}
_GRU = {"recurrent.cell": "gru", "recurrent.hidden": 32, "recurrent.bidirectional": False}
FIRST = (
    {**_POINTS, **_HEAD, **_ADAMW, "recurrent.cell": "none"},
    {**_POINTS, **_HEAD, **_ADAMW, **_GRU},
)


def space(trial: Trial) -> Config:
    streams: tuple[Stream, ...] = (_points(trial),)
    fusion, before = None, 0
    if trial.suggest_categorical("view", [False, True]):
        streams += (_view(trial),)
        point = trial.suggest_categorical("fusion.point", ["conv", "fc1", "logits"])
        how = "concat"  # the only choice before an FC layer, since the streams differ in size
        if point != "conv":
            how = trial.suggest_categorical("fusion.how", ["concat", "sum", "product"])
        fusion, before = FusionConfig(point=point, how=how), int(point == "fc1")

    recurrent = None
    cell = trial.suggest_categorical("recurrent.cell", ["none", "rnn", "lstm", "gru"])
    if cell != "none":
        recurrent = RecurrentConfig(
            cell=cell,
            hidden=trial.suggest_int("recurrent.hidden", 16, 64, log=True),
            bidirectional=trial.suggest_categorical("recurrent.bidirectional", [False, True]),
        )

    optimizer = trial.suggest_categorical("optimizer", ["adamw", "sgd"])
    low, high = {"adamw": (3e-4, 1e-2), "sgd": (1e-3, 1e-1)}[optimizer]
    return Config(
        streams=streams,
        clip=ClipConfig(start=0.2, end=1.0, frames=5),
        fusion=fusion,
        recurrent=recurrent,
        head=HeadConfig(
            fc_layers=before + trial.suggest_int("head.fc_layers_more", 0, 1),
            fc_width=64,
            dropout=trial.suggest_float("head.dropout", 0.0, 0.5),
        ),
        optimizer=OptimizerConfig(
            name=optimizer,
            lr=trial.suggest_float(f"{optimizer}.lr", low, high, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
            epochs=30,
            updates=600,
        ),
    )


def _points(trial: Trial) -> GeometryConfig:
    hidden = trial.suggest_categorical("points.hidden", [0, 32, 64, 128])
    encodings = ["centred", "procrustes", "distances", "difference", "motion"]
    return GeometryConfig(
        encoding=trial.suggest_categorical("points.encoding", encodings),
        hidden=hidden,
        dropout=trial.suggest_float("points.dropout", 0.0, 0.5) if hidden else 0.0,
    )


def _view(trial: Trial) -> StreamConfig:
    depth = trial.suggest_int("freeze_depth", 3, 4)
    return StreamConfig(
        backbone="dlib_resnet",
        weights="package",
        blocks=depth,
        freeze_depth=depth,
        pooling=trial.suggest_categorical("pooling", ["none", "avg", "max", "gem"]),
    )
