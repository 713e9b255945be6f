"""How much of VGG-Face should be frozen, and what should read its features?

It is the question of Garcia Zapata 2018 about single frames, put as a search.

Fixed:    aligned faces; 5 frames, which vote; VGG-Face, from the file `--weights vgg16=FILE`.
Searched: freeze depth, pooling, FC layers, PCA if all is frozen, in which order of colours the
          published mean is read, the learning rates and their schedule.
Cost:     needs a GPU; not measured yet.
"""

from optuna import Trial

from fer_core.config import ClipConfig, Config, HeadConfig, OptimizerConfig, StreamConfig

# What the field would try first: a linear head on the frozen network, and one on a network whose
# last block is fine-tuned.
_COMMON = {"pooling": "avg", "mean_order": "rgb", "head.fc_layers": 0, "head.dropout": 0.5}
_COMMON |= {"adamw.lr": 1e-3, "schedule": "cosine"}
FIRST = (
    {"freeze_depth": 5, **_COMMON},
    {"freeze_depth": 4, "backbone_lr": 0.1, **_COMMON},
)


def space(trial: Trial) -> Config:
    freeze_depth = trial.suggest_int("freeze_depth", 0, 5)
    pooling = trial.suggest_categorical("pooling", ["none", "avg", "max", "gem"])
    frozen, pca_dim = freeze_depth == 5, None
    if frozen and pooling == "none" and trial.suggest_categorical("pca", [False, True]):
        pca_dim = trial.suggest_int("pca.dim", 25, 200, log=True)

    return Config(
        streams=(
            StreamConfig(
                backbone="vgg16",
                weights="file",
                blocks=5,
                freeze_depth=freeze_depth,
                pooling=pooling,
                pca_dim=pca_dim,
                mean_order=trial.suggest_categorical("mean_order", ["rgb", "bgr"]),
            ),
        ),
        clip=ClipConfig(start=0.5, end=0.8, frames=5),
        head=HeadConfig(
            fc_layers=trial.suggest_int("head.fc_layers", 0, 3),
            fc_width=512,
            dropout=trial.suggest_float("head.dropout", 0.0, 0.5),
        ),
        optimizer=OptimizerConfig(
            lr=trial.suggest_float("adamw.lr", 1e-5, 1e-2, log=True),
            epochs=20,
            updates=600 if frozen else 200,
            schedule=trial.suggest_categorical("schedule", ["constant", "cosine", "plateau"]),
            backbone_lr=1.0 if frozen else trial.suggest_float("backbone_lr", 0.01, 1.0, log=True),
            mixed_precision=True,
        ),
    )
