"""Do two views of a face tell more than one, and where should their streams be joined?

Fixed:    dlib's face ResNet-29 twice, on aligned faces and on another view; 3 frames, which vote.
Searched: the other view, after which block the networks are cut, whether the last block of each is
          trained, pooling, PCA, where and how the streams are joined, the learning rate.
Cost:     on one of two busy CPU cores, 1-5 s a trial if all features are stored, 50-80 s if blocks
          are trained (288 clips, 5 folds).
"""

from optuna import Trial

from fer_core.config import (
    ClipConfig,
    Config,
    FusionConfig,
    HeadConfig,
    OptimizerConfig,
    StreamConfig,
)

# What the field would try first: a linear head on both frozen views, joined before it, and the same
# with the scores of two heads averaged.
_VIEWS = {"blocks": 4, "view": "crop", "aligned.trained_blocks": 0, "other.trained_blocks": 0}
_HEAD = {"head.fc_layers_more": 0, "head.dropout": 0.0, "adamw.lr": 1e-3}
FIRST = (
    {**_VIEWS, "pooling": "none", "pca": False}
    | {"fusion.point": "conv", "fusion.how": "concat", **_HEAD},
    {**_VIEWS, "pooling": "avg", "fusion.point": "logits", "fusion.how": "sum", **_HEAD},
)


def space(trial: Trial) -> Config:
    blocks = trial.suggest_int("blocks", 3, 5)  # same for both: a sum needs features of one size
    view = trial.suggest_categorical("view", ["crop", "frontal", "frontal_soft"])
    trained = {
        "aligned": trial.suggest_int("aligned.trained_blocks", 0, 1),
        view: trial.suggest_int("other.trained_blocks", 0, 1),
    }
    live = any(trained.values())
    pooling = trial.suggest_categorical("pooling", ["none", "avg", "max", "gem"])
    pca_dim = None
    if not live and pooling == "none" and trial.suggest_categorical("pca", [False, True]):
        pca_dim = trial.suggest_int("pca.dim", 16, 100, log=True)

    point = trial.suggest_categorical("fusion.point", ["conv", "fc1", "fc2", "logits"])
    streams = tuple(
        StreamConfig(
            backbone="dlib_resnet",
            weights="package",
            blocks=blocks,
            freeze_depth=blocks - count,
            pooling=pooling,
            pca_dim=pca_dim,
            view=shown,
        )
        for shown, count in trained.items()
    )
    how = trial.suggest_categorical("fusion.how", ["concat", "sum", "product"])
    return Config(
        streams=streams,
        clip=ClipConfig(frames=3),
        fusion=FusionConfig(point=point, how=how),
        head=_head(trial, point),
        optimizer=OptimizerConfig(
            lr=trial.suggest_float("adamw.lr", 1e-4, 1e-2, log=True),
            epochs=5 if live else 20,
            updates=200 if live else 600,
            backbone_lr=trial.suggest_float("backbone_lr", 0.03, 1.0, log=True) if live else 1.0,
        ),
    )


def _head(trial: Trial, point: str) -> HeadConfig:
    least = {"fc1": 1, "fc2": 2}.get(point, 0)  # the streams are joined after that layer
    fc_layers = least + trial.suggest_int("head.fc_layers_more", 0, 1)
    return HeadConfig(
        fc_layers=fc_layers,
        fc_width=trial.suggest_int("head.fc_width", 32, 256, log=True) if fc_layers else 128,
        dropout=trial.suggest_float("head.dropout", 0.0, 0.5),
    )
