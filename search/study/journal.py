"""The study in Optuna's journal: the truth about its trials, opened by the driver alone.

A worker writes a trial's part before it returns its last result, and Optuna is told from the part;
so whatever is killed, the journal and the parts together hold every finished trial once. A trial
without a part whose driver or worker died is *interrupted*: Optuna is told that it failed, and
its parameters are queued again under a new number. Where a space enumerates its points, they are
queued one by one, each when its turn comes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from fer_core.config import Config
from search.space import Space, sampler
from search.study import parts
from search.study.folder import Folder
from search.study.parts import Part

RETRIES = 3  # of the parameters of an interrupted trial
_STUDY = "study"
_REPEATS = "repeats"  # user attribute: the number of the interrupted trial
_RETRY = "retry"  # user attribute: how often these parameters were interrupted
_CONFIG = "config_json"  # user attribute: what the space made of the parameters
_INTERRUPTED = "interrupted"  # user attribute: this trial does not count, another repeats it
_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def file_storage(folder: Folder) -> BaseStorage:
    """Open the journal's file, with a lock that also works on NFS."""
    path = str(folder.journal)
    return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))


class Journal:
    """Asks Optuna for trials, and tells it how they ended."""

    def __init__(
        self,
        folder: Folder,
        storage: BaseStorage,
        *,
        seed: int,
        points: Sequence[Mapping[str, Any]] = (),  # what is tried, in order; none: draws
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder = folder
        self._storage = storage
        self._seed, self._points = seed, points
        median = optuna.pruners.MedianPruner(n_startup_trials=5)
        self._study = optuna.create_study(
            storage=storage,
            study_name=_STUDY,
            direction="maximize",
            pruner=optuna.pruners.NopPruner() if points else median,
            load_if_exists=True,
        )

    def ask(self) -> Trial:
        """Begin the next trial: a repeat of an interrupted one if any waits, else a new draw."""
        waiting = (t.number for t in self._trials() if t.state == TrialState.WAITING)
        number = next(waiting, len(self._trials()))
        if number == len(self._trials()) and self._points:
            self._study.enqueue_trial(self._point(number))
        self._study.sampler = sampler(self._seed, self._draw_index(number))
        return self._study.ask()

    def draw(self, trial: Trial, space: Space) -> Config:
        """Let the space choose, and note what it chose, so that it can be repeated.

        Raises: ConfigError where the space makes no valid config.
        """
        config = space.draw(trial)
        trial.set_user_attr(_CONFIG, config.to_json())
        return config

    def finished(self) -> list[Part]:
        """Give the parts of all trials that count as finished, in order of their numbers."""
        found = (self.folder.part(number) for number in self._settled())
        return [part for part in found if part is not None]

    def finished_numbers(self) -> list[int]:
        """Give the numbers of the trials that count: a trial whose part is gone does not."""
        return [part.number for part in self.finished()]

    def lost_numbers(self) -> list[int]:
        """Give the numbers of trials that Optuna knows and whose parts are gone or damaged."""
        return sorted(set(self._settled()) - set(self.finished_numbers()))

    def _settled(self) -> list[int]:
        return [
            trial.number
            for trial in self._trials()
            if trial.state.is_finished() and _INTERRUPTED not in trial.user_attrs
        ]

    def finish(self, part: Part) -> None:
        """Write a trial's part, then tell Optuna from it."""
        self.folder.write_part(part)
        self._tell(part)

    def interrupt(self, number: int) -> Part | None:
        """Queue a trial's parameters again, or fail it where that was done often enough.

        Gives the part of a trial that failed for good. A kill between any two lines is mended by
        the next `reconcile`, which finds the trial still running and its repeat already queued.
        """
        trial = self._trials()[number]
        retry = trial.user_attrs.get(_RETRY, 0)
        if retry >= RETRIES:
            said = f"interrupted {retry + 1} times: its worker or driver died"
            part = parts.failed(number, said, config_json=trial.user_attrs.get(_CONFIG))
            self.finish(part)
            return part
        if number not in self._repeated():
            # What was interrupted while it was drawn has some of its parameters; draw it anew.
            params = trial.params if _CONFIG in trial.user_attrs else self._point(number)
            self._study.enqueue_trial(params, user_attrs={_REPEATS: number, _RETRY: retry + 1})
        self._storage.set_trial_user_attr(self._id(number), _INTERRUPTED, True)
        self._study.tell(number, state=TrialState.FAIL)
        return None

    def reconcile(self) -> None:
        """Settle the trials that were running when the last driver ended."""
        repeated = self._repeated()
        for trial in self._trials():
            if trial.state != TrialState.RUNNING:
                continue
            part = self.folder.part(trial.number)
            # An orphan may have written its part after its parameters were queued again.
            if part is None or trial.number in repeated:
                self.interrupt(trial.number)
            else:
                self._tell(part)
        if self._points:  # each of them is asked for: another cannot take its place
            for number in set(self.lost_numbers()) - repeated:
                self._study.enqueue_trial(self._point(number), user_attrs={_REPEATS: number})

    def _tell(self, part: Part) -> None:
        reported = self._trials()[part.number].intermediate_values
        for step in range(len(reported) + 1, len(part.fold_uars) + 1):
            value = running_mean(part, step)
            self._storage.set_trial_intermediate_value(self._id(part.number), step, value)
        self._study.tell(
            part.number,
            part.val_uar if part.state == "complete" else None,
            state=_STATES[part.state],
        )

    def _draw_index(self, number: int) -> int:
        """Count the draws before a trial; a repeat stands where the trial it repeats stood."""
        trials = self._trials()
        while number < len(trials) and _REPEATS in trials[number].user_attrs:
            number = trials[number].user_attrs[_REPEATS]
        return sum(_REPEATS not in trial.user_attrs for trial in trials[:number])

    def _point(self, number: int) -> dict[str, Any]:
        """Give the point that a trial tries; nothing of it where the space is drawn from."""
        return dict(self._points[self._draw_index(number)]) if self._points else {}

    def _repeated(self) -> set[int]:
        """Give the numbers of the trials that others repeat."""
        return {
            trial.user_attrs[_REPEATS] for trial in self._trials() if _REPEATS in trial.user_attrs
        }

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _id(self, number: int) -> int:
        study = self._storage.get_study_id_from_name(_STUDY)
        return self._storage.get_trial_id_from_study_id_trial_number(study, number)


def running_mean(part: Part, folds: int) -> float:
    """Give the mean UAR of the first folds: what the pruner compares at step `folds`."""
    uars = part.fold_uars[:folds]
    return sum(uars) / len(uars)


def pruned(part: Part) -> Part:
    """Close the part of a trial that is stopped after the folds it finished."""
    return replace(part, state="pruned", finished_at=parts.now())
