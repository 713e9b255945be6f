"""How much of a face network should be kept, and what head should read it, frame by frame?

Fixed:    aligned faces; dlib's face ResNet-29, frozen; the frames of a clip vote.
Searched: how deep the network is cut, pooling, PCA, FC layers and their width, the optimiser.
Cost:     0.5-5 s a trial on one CPU core (204 photographs, 5 folds).
"""

from optuna import Trial

from fer_core.config import ClipConfig, Config, HeadConfig, OptimizerConfig, StreamConfig


def space(trial: Trial) -> Config:
    depth = trial.suggest_int("freeze_depth", 2, 5)
    pooling = trial.suggest_categorical("pooling", ["none", "avg", "max"])
    pca_dim = None
    if pooling == "none" and trial.suggest_categorical("pca", [False, True]):
        pca_dim = trial.suggest_int("pca.dim", 16, 100, log=True)

    fc_layers = trial.suggest_int("head.fc_layers", 0, 3)
    fc_width, dropout = 128, 0.0
    if fc_layers > 0:
        fc_width = trial.suggest_int("head.fc_width", 64, 512, log=True)
        dropout = trial.suggest_float("head.dropout", 0.0, 0.5)

    optimizer = trial.suggest_categorical("optimizer", ["adamw", "sgd"])
    low, high = {"adamw": (1e-4, 1e-2), "sgd": (1e-3, 1e-1)}[optimizer]
    lr = trial.suggest_float(f"{optimizer}.lr", low, high, log=True)
    weight_decay = trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True)

    return Config(
        stream=StreamConfig(
            backbone="dlib_resnet",
            weights="package",
            blocks=depth,
            freeze_depth=depth,
            pooling=pooling,
        ),
        clip=ClipConfig(start=0.5, end=0.8, frames=trial.suggest_int("clip.frames", 3, 5, step=2)),
        pca_dim=pca_dim,
        head=HeadConfig(fc_layers=fc_layers, fc_width=fc_width, dropout=dropout),
        optimizer=OptimizerConfig(name=optimizer, lr=lr, weight_decay=weight_decay, epochs=30),
    )
