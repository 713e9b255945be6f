"""Make a study's journal anew from the results of its trials, where the journal was lost.

A study whose journal is empty, or an older copy, would number its trials from the start again and
write over its results. `search.session` therefore calls `check` before it goes on with a study, and
`rebuild` if the user asks for it with `--rebuild`.
"""

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from fer_core.errors import FerError
from search.drawing.space import Space
from search.study.folder import Folder
from search.study.journal_backends import DurableStorage
from search.study.marks import CONFIG, INTERRUPTED, REPEATS, SEED_OFFSET, STATES, STUDY
from search.study.parts import TrialResult


def check(folder: Folder, storage: DurableStorage) -> None:
    """Refuse a study that has results of trials which its journal does not list.

    Raises: FerError that names the first of them.
    """
    listed = len(_optuna_study(storage).get_trials(deepcopy=False))
    unlisted = [number for number in folder.result_numbers() if number >= listed]
    if unlisted:
        raise FerError(
            f"{folder.journal} lists {listed} trials, and {folder.path / 'parts'} has results up "
            f"to trial {unlisted[-1]}: the journal is lost, or is an older copy. Put it back, or "
            "add --rebuild to list those trials again from their results."
        )


def rebuild(folder: Folder, storage: DurableStorage, space: Space) -> int:
    """List the trials that the journal lacks, from their results, and return how many.

    A result of an older version does not name the parameters of its trial: it counts, but the
    sampler learns nothing from it. A number without a result stands for a trial that was
    interrupted.
    """
    study = _optuna_study(storage)
    first, numbers = len(study.get_trials(deepcopy=False)), folder.result_numbers()
    missing = range(first, numbers[-1] + 1) if numbers else range(0)
    for number in missing:
        trial = _trial(folder.result(number), space)
        if INTERRUPTED in trial.user_attrs and number:
            # A later trial repeats it. Which one is lost, but one of the two must not count.
            trial.user_attrs[REPEATS] = number - 1
        study.add_trial(trial)
    if missing and space.points:
        _queue_points(study, space)
    storage.sync()
    return len(missing)


def _queue_points(study: optuna.Study, space: Space) -> None:
    """Queue the points that were begun and have no result: each of them must be tried."""
    trials = study.get_trials(deepcopy=False)
    drawn = sum(REPEATS not in trial.user_attrs for trial in trials)
    tried = [trial.params for trial in trials if INTERRUPTED not in trial.user_attrs]
    for point in space.points[:drawn]:
        if point not in tried:
            study.enqueue_trial(dict(point), user_attrs={REPEATS: len(trials) - 1})


def _optuna_study(storage: DurableStorage) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True
    )


def _trial(result: TrialResult | None, space: Space) -> FrozenTrial:
    if result is None:
        return create_trial(state=TrialState.FAIL, user_attrs={INTERRUPTED: True})
    params = dict(result.params_drawn or {})
    fixed = FixedTrial(params)
    try:
        space.draw(fixed)  # it tells the range of each parameter
    except FerError:
        params = {}
    attributes = {CONFIG: result.config_json, SEED_OFFSET: result.seed_offset}
    return create_trial(
        state=STATES[result.state],
        value=result.val_uar if result.state == "complete" else None,
        params=params,
        distributions={name: fixed.distributions[name] for name in params},
        user_attrs=attributes if result.config_json else {},
        intermediate_values=dict(enumerate(result.rung_uars, start=1)),
    )
