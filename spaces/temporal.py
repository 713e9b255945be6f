"""Which temporal model reads an expression best, and does it beat frames that vote?

Fixed:    aligned faces, 5 frames; dlib's face ResNet-29 for all but c3d, which starts from scratch.
Searched: the model (voting frames; a recurrent cell on stored features, with PCA or without; a
          recurrent cell on images, whose last block is trained along; c3d), its size, the window,
          pooling, the head, the learning rate.
Cost:     on the synthetic set, 5 folds on one CPU core: 1-10 s on stored features, about 30 s on
          images, 50 s for c3d.
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
    stream = _stream(trial, model)

    pca_dim, recurrent = None, None
    stored = model in ("frames", "features")
    if stored and stream.pooling == "none" and trial.suggest_categorical("pca", [False, True]):
        pca_dim = trial.suggest_int("pca.dim", 25, 200, log=True)
    if model in ("features", "images"):
        recurrent = RecurrentConfig(
            cell=trial.suggest_categorical("recurrent.cell", ["rnn", "lstm", "gru"]),
            hidden=trial.suggest_int("recurrent.hidden", 32, 128, log=True),
        )

    window = trial.suggest_categorical("clip.window", ["50-80", "20-100"])
    start, end = {"50-80": (0.5, 0.8), "20-100": (0.2, 1.0)}[window]
    return Config(
        stream=stream,
        clip=ClipConfig(start=start, end=end, frames=5),
        pca_dim=pca_dim,
        recurrent=recurrent,
        head=HeadConfig(
            fc_layers=trial.suggest_int("head.fc_layers", 0, 3),
            dropout=trial.suggest_float("head.dropout", 0.0, 0.5),
        ),
        optimizer=OptimizerConfig(
            lr=trial.suggest_float("adamw.lr", 3e-4, 1e-2, log=True),
            epochs={"c3d": 12, "images": 4}.get(model, 20),
            batch_clips=32 if stored else 8,
        ),
    )


def _stream(trial: Trial, model: str) -> StreamConfig:
    pooling = trial.suggest_categorical("pooling", ["none", "avg", "max"])
    match model:
        case "c3d":  # an eighth of the published channels and small crops: for a CPU
            return StreamConfig(
                backbone="c3d",
                weights="random",
                blocks=4,
                freeze_depth=0,
                pooling=pooling,
                width=0.125,
                crop_pixels=48,
            )
        case "images":  # maps of 5x5 instead of 8x8: for a CPU
            return StreamConfig(
                backbone="dlib_resnet",
                weights="package",
                blocks=4,
                freeze_depth=3,
                pooling=pooling,
                crop_pixels=96,
            )
        case _:
            depth = trial.suggest_int("freeze_depth", 3, 4)
            return StreamConfig(
                backbone="dlib_resnet",
                weights="package",
                blocks=depth,
                freeze_depth=depth,
                pooling=pooling,
            )
