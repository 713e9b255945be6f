"""Does everything run, from the dataset to the leaderboard?

Fixed:    frozen features of dlib's face ResNet-29; 3 frames of each clip; 3 epochs.
Searched: frames that vote or a GRU, with or without PCA, and the learning rate, so that each kind
          of branch is taken.
Cost:     seconds a trial on one CPU core.
"""

from optuna import Trial

from fer_core.config import ClipConfig, Config, OptimizerConfig, RecurrentConfig, StreamConfig

FIRST = ({"temporal": "vote", "pca": False, "adamw.lr": 3e-3},)  # a linear head on frozen features


def space(trial: Trial) -> Config:
    recurrent, pca_dim = None, None
    if trial.suggest_categorical("temporal", ["vote", "gru"]) == "gru":
        recurrent = RecurrentConfig(cell="gru", hidden=trial.suggest_int("gru.hidden", 8, 16))
    if trial.suggest_categorical("pca", [False, True]):
        pca_dim = trial.suggest_int("pca.dim", 4, 8)

    return Config(
        streams=(
            StreamConfig(
                backbone="dlib_resnet",
                weights="package",
                blocks=3,
                freeze_depth=3,
                pooling="avg",
                pca_dim=pca_dim,
            ),
        ),
        clip=ClipConfig(frames=3),
        recurrent=recurrent,
        optimizer=OptimizerConfig(
            lr=trial.suggest_float("adamw.lr", 1e-3, 1e-2, log=True), epochs=3
        ),
    )
