"""Evaluate one config: a config and a study's data in, results or a model out, without Ray.

`cross_validate` scores a config on the development subjects, fold by fold, and never reads a
sealed one. `score_sealed` refits it on all development subjects and scores the sealed ones. `refit`
gives the model of that same fit. The search, the replay of a row and the export of a model call
them.
"""

from collections.abc import Iterator
from pathlib import Path

from fer_core.config import Config
from fer_core.data.study_data import StudyData
from fer_core.faces.frontal.surface import load
from fer_core.trial import pack
from fer_core.trial.fitted_model import Model
from fer_core.trial.results import FoldResult, SealedResult
from fer_core.trial.trial_data import FoldFit, TrialData, prepare_trial

__all__ = [
    "FoldResult",
    "SealedResult",
    "TrialData",
    "cross_validate",
    "prepare_trial",
    "refit",
    "score_sealed",
]


def cross_validate(
    config: Config, study_data: StudyData, *, raced: bool = False
) -> Iterator[FoldResult]:
    """Train and score a config on each fold, and yield the results in the order of the folds.

    With `raced`, folds are started in the same order as in a study that prunes. Other folds then
    train together, which may change the last bits of the scores.

    Raises: FerError where the config cannot work on these data.
    """
    for (last,) in pack.train([config], study_data, raced=raced):
        if last.error is not None:
            raise last.error
    yield from last.results


def score_sealed(config: Config, study_data: StudyData) -> SealedResult:
    """Refit a config on all development subjects and score the sealed ones."""
    trial_data = prepare_trial(config, study_data)
    test = trial_data.rows(study_data.protocol.sealed)
    return trial_data.sealed(test, _refitted(trial_data).scores(test))


def refit(config: Config, study_data: StudyData) -> Model:
    """Refit a config on all development subjects, as `score_sealed` does, and give the model."""
    trial_data = prepare_trial(config, study_data)
    fold_fit = _refitted(trial_data)
    context, surface = trial_data.context, study_data.surface
    return Model(
        config=config,
        task=trial_data.study_data.task,
        classes=trial_data.study_data.classes,
        encoders=fold_fit.encoders,
        network=fold_fit.fit.network.cpu(),
        clip=context.window,
        frame_seconds=context.frame_seconds(),
        landmarks=study_data.landmarks,
        missing=study_data.missing,
        surface=load(Path(surface)) if surface else None,
    )


def _refitted(trial_data: TrialData) -> FoldFit:
    fold_fit = trial_data.begin(
        trial_data.rows(trial_data.study_data.protocol.development), "sealed"
    )
    pack.train_fit(trial_data, fold_fit)
    return fold_fit
