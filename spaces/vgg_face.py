"""How much of VGG-Face should be frozen, and what should read it? The study's still question.

Fixed:    aligned faces, 5 frames that vote; VGG-Face, from `--weights vgg16=FILE`.
Searched: freeze depth, pooling, FC layers, PCA where all is frozen, the learning rate.
Cost:     a GPU's work; not measured yet.
"""

from optuna import Trial

from fer_core.config import ClipConfig, Config, HeadConfig, OptimizerConfig, StreamConfig


def space(trial: Trial) -> Config:
    freeze_depth = trial.suggest_int("freeze_depth", 0, 5)
    pca_dim = None
    if freeze_depth == 5 and trial.suggest_categorical("pca", [False, True]):
        pca_dim = trial.suggest_int("pca.dim", 25, 200, log=True)

    return Config(
        stream=StreamConfig(
            backbone="vgg16",
            weights="file",
            blocks=5,
            freeze_depth=freeze_depth,
            pooling=trial.suggest_categorical("pooling", ["none", "avg", "max"]),
        ),
        clip=ClipConfig(start=0.5, end=0.8, frames=5),
        pca_dim=pca_dim,
        head=HeadConfig(
            fc_layers=trial.suggest_int("head.fc_layers", 0, 3),
            fc_width=512,
            dropout=trial.suggest_float("head.dropout", 0.0, 0.5),
        ),
        optimizer=OptimizerConfig(
            lr=trial.suggest_float("adamw.lr", 1e-5, 1e-2, log=True), epochs=20
        ),
    )
