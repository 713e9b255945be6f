"""Which temporal model reads an expression best, and does it beat frames that vote?

Fixed:    aligned faces, 5 frames; dlib's face ResNet-29 for all but c3d, which starts from scratch.
Searched: the model (voting frames; a recurrent cell on stored features, with PCA or without; a
          recurrent cell on images, whose last blocks are trained along; c3d), its size, the window,
          pooling, the head, the learning rate.
Cost:     see README, measured there.
"""

from optuna import Trial

from fer_core.config import (
    ClipConfig,
    Config,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
)


def space(trial: Trial) -> Config:
    model = trial.suggest_categorical("model", ["frames", "features", "images", "c3d"])
    window = trial.suggest_categorical("clip.window", ["50-80", "20-100"])
    start, end = {"50-80": (0.5, 0.8), "20-100": (0.2, 1.0)}[window]

    recurrent, pca_dim = None, None
    fc_layers = trial.suggest_int("head.fc_layers", 0, 3)
    epochs = 20
    match model:
        case "c3d":
            width = trial.suggest_categorical("c3d.width", [0.125, 0.25])
            stream = StreamConfig(
                backbone="c3d",
                weights="random",
                blocks=5,
                freeze_depth=0,
                pooling="avg",
                width=width,
                crop_pixels=56,
            )
            epochs = 12
        case "images":
            stream = StreamConfig(
                backbone="dlib_resnet",
                weights="package",
                blocks=4,
                freeze_depth=3,
                pooling=trial.suggest_categorical("pooling", ["none", "avg", "max"]),
            )
            epochs = 4  # each costs as much as many epochs on stored features
        case _:
            depth = trial.suggest_int("freeze_depth", 3, 4)
            pooling = trial.suggest_categorical("pooling", ["none", "avg", "max"])
            stream = StreamConfig(
                backbone="dlib_resnet",
                weights="package",
                blocks=depth,
                freeze_depth=depth,
                pooling=pooling,
            )
            if pooling == "none" and trial.suggest_categorical("pca", [False, True]):
                pca_dim = trial.suggest_int("pca.dim", 25, 200, log=True)

    if model in ("features", "images"):
        recurrent = RecurrentConfig(
            cell=trial.suggest_categorical("recurrent.cell", ["rnn", "lstm", "gru"]),
            hidden=trial.suggest_int("recurrent.hidden", 32, 128, log=True),
        )

    return Config(
        stream=stream,
        clip=ClipConfig(start=start, end=end, frames=5),
        pca_dim=pca_dim,
        recurrent=recurrent,
        head=HeadConfig(
            fc_layers=fc_layers,
            fc_width=128,
            dropout=trial.suggest_float("head.dropout", 0.0, 0.5),
        ),
        optimizer=OptimizerConfig(
            lr=trial.suggest_float("adamw.lr", 1e-4, 1e-2, log=True), epochs=epochs
        ),
    )
