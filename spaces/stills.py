"""How much of a face network should be kept, and which head should read it, frame by frame?

Fixed:    aligned faces; dlib's face ResNet-29; the frames of a clip vote.
Searched: after which block the network is cut, whether its last block is trained, pooling, PCA, the
          number and the width of FC layers, how frames vote, the optimiser, label smoothing.
Cost:     on one of two busy CPU cores, 2-20 s a trial if all features are stored, 30-120 s if a
          block is trained (204 photographs or 288 clips, 5 folds).
"""

from optuna import Trial

from fer_core.config import ClipConfig, Config, HeadConfig, OptimizerConfig, StreamConfig

VOTINGS = ["majority", "mean_probability", "mean_logit", "attention"]

# What the field would try first: a linear head on the frozen network, and its last block fine-tuned
# at a tenth of the head's rate (Yosinski et al. 2014, https://arxiv.org/abs/1411.1792).
_PLAIN = {"head.fc_layers": 0, "optimizer": "adamw", "adamw.lr": 1e-3, "weight_decay": 1e-2}
_VOTED = {"clip.frames": 3, "voting": "mean_probability", "label_smoothing": 0.0}
FIRST = (
    {"freeze_depth": 4, "trained_blocks": 0, "pooling": "none", "pca": False, **_PLAIN, **_VOTED},
    {"freeze_depth": 3, "trained_blocks": 1, "pooling": "avg", "backbone_lr": 0.1}
    | {**_PLAIN, **_VOTED},
)


def space(trial: Trial) -> Config:
    freeze_depth = trial.suggest_int("freeze_depth", 2, 5)
    trained = trial.suggest_int("trained_blocks", 0, 1) if freeze_depth > 2 else 0
    pooling = trial.suggest_categorical("pooling", ["none", "avg", "max", "gem"])
    pca_dim = None
    if not trained and pooling == "none" and trial.suggest_categorical("pca", [False, True]):
        pca_dim = trial.suggest_int("pca.dim", 16, 100, log=True)
    backbone_lr = trial.suggest_float("backbone_lr", 0.03, 1.0, log=True) if trained else 1.0

    fc_layers = trial.suggest_int("head.fc_layers", 0, 3)
    fc_width, dropout = 128, 0.0
    if fc_layers > 0:
        fc_width = trial.suggest_int("head.fc_width", 64, 512, log=True)
        dropout = trial.suggest_float("head.dropout", 0.0, 0.5)

    stream = StreamConfig(
        backbone="dlib_resnet",
        weights="package",
        blocks=freeze_depth + trained,
        freeze_depth=freeze_depth,
        pooling=pooling,
        pca_dim=pca_dim,
    )
    optimizer = trial.suggest_categorical("optimizer", ["adam", "adamw", "sgd"])
    low, high = {"adam": (1e-4, 1e-2), "adamw": (1e-4, 1e-2), "sgd": (1e-3, 1e-1)}[optimizer]
    return Config(
        streams=(stream,),
        clip=ClipConfig(start=0.5, end=0.8, frames=trial.suggest_int("clip.frames", 3, 5, step=2)),
        voting=trial.suggest_categorical("voting", VOTINGS),
        head=HeadConfig(fc_layers=fc_layers, fc_width=fc_width, dropout=dropout),
        optimizer=OptimizerConfig(
            name=optimizer,
            lr=trial.suggest_float(f"{optimizer}.lr", low, high, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
            epochs=5 if trained else 30,
            updates=200 if trained else 600,
            backbone_lr=backbone_lr,
            label_smoothing=trial.suggest_float("label_smoothing", 0.0, 0.2),
        ),
    )
