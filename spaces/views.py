"""Which view of the face, and which frames of a clip, should a frozen face network see?

Fixed:    dlib's face ResNet-29, frozen and cut after its third block; a linear layer; frames vote.
Searched: the view (upright crop, aligned, frontal with each kind of symmetry), which frames are
          read and how many, pooling, the learning rate.
Cost:     2-4 s a trial on one CPU core (120 rendered clips, 5 folds), and 2-5 s more for the first
          trial with a view and sampling.
"""

from optuna import Trial

from fer_core.config import ClipConfig, Config, OptimizerConfig, StreamConfig


def space(trial: Trial) -> Config:
    view = trial.suggest_categorical(
        "view", ["crop", "aligned", "frontal", "frontal_soft", "frontal_conditional"]
    )
    sampling = trial.suggest_categorical(
        "clip.sampling", ["window", "uniform", "last", "middle", "onset_apex"]
    )
    stride = 1
    if sampling in ("last", "middle"):  # since neighbouring frames hardly differ
        stride = trial.suggest_int("clip.stride", 1, 10)

    return Config(
        streams=(
            StreamConfig(
                backbone="dlib_resnet",
                weights="package",
                blocks=3,
                freeze_depth=3,
                pooling=trial.suggest_categorical("pooling", ["none", "avg", "max", "gem"]),
                view=view,
            ),
        ),
        clip=ClipConfig(
            start=0.5,
            end=0.8,
            frames=trial.suggest_int("clip.frames", 1, 5, step=2),
            sampling=sampling,
            stride=stride,
        ),
        optimizer=OptimizerConfig(
            lr=trial.suggest_float("adamw.lr", 3e-4, 1e-2, log=True), updates=600
        ),
    )
