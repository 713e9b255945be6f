"""The study in Optuna's journal: the truth about its trials, opened by the driver alone.

A worker writes a trial's part before it returns its last result, and Optuna is told from the part;
so whatever is killed, the journal and the parts together hold every finished trial once. A trial
without a part whose driver or worker died is *interrupted*: Optuna is told that it failed, and
its parameters are queued again under a new number. Where a space enumerates its points, they are
queued one by one, each when its turn comes. Both are read from disk once, when a driver starts.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from fer_core import config as configs
from fer_core.config import Config
from fer_core.trial.rungs import Rung
from search.study import parts
from search.study.folder import Folder
from search.study.halving import Halving
from search.study.journal_backends import LogFile, LogObjects, open_log
from search.study.parts import TrialResult
from search.study.queue import QueuedTrial
from search.study.space import Space, sampler

RETRIES = 3  # of the parameters of an interrupted trial
LOSSES = 10  # of nodes, by a trial and its repeats: it may be the cause
_STUDY = "study"
_REPEATS = "repeats"  # user attribute: the number of the interrupted trial
_RETRY = "retry"  # user attribute: how often these parameters were interrupted
_LOST = "lost"  # user attribute: how often these parameters lost their node
_CONFIG = "config_json"  # user attribute: what the space made of the parameters
_STARTED = "started"  # user attribute: a worker was given it
_LARGER = "larger"  # user attribute: these parameters ran out of memory once
_INTERRUPTED = "interrupted"  # user attribute: this trial does not count, another repeats it
_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class Durable(JournalStorage):
    """Optuna's storage, of a journal that can be told to keep what it was given."""

    def __init__(self, log: LogFile | LogObjects) -> None:
        super().__init__(log)
        self.sync = log.sync


def file_storage(folder: Folder) -> Durable:
    """Open the journal's file; `Folder.locked` keeps other drivers away."""
    return Durable(open_log(folder.journal))


class Journal:
    """Asks Optuna for trials, and tells it how they ended."""

    def __init__(
        self,
        folder: Folder,
        storage: Durable,
        *,
        seed: int,
        points: Sequence[Mapping[str, Any]] = (),  # what is tried, in order; none: draws
        rungs: Sequence[Rung] = (),  # at which trials are compared; none: all go on to the end
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder = folder
        self._storage = storage
        self._seed, self._points = seed, points
        self._study = optuna.create_study(
            storage=storage,
            study_name=_STUDY,
            direction="maximize",
            pruner=optuna.pruners.NopPruner(),  # `Halving` decides
            load_if_exists=True,
        )
        self._study_id = storage.get_study_id_from_name(_STUDY)
        self._halving = Halving(rungs)
        self._draws: list[int] = []  # of each trial: the draw it stands for; a repeat, the same
        self._drawn = 0
        self._repeated: set[int] = set()
        self._waiting: deque[int] = deque()
        self._started: set[int] = set()  # by this driver
        self._settled: set[int] = set()
        self._parts: dict[int, TrialResult] = {}
        trials = self._trials()
        ended = [trial.number for trial in trials if _has_ended(trial)]
        self._settled.update(ended)
        self._parts.update(folder.results(ended))
        for trial in trials:
            self._recall(trial)

    @property
    def drawn(self) -> int:
        """How many draws or points were begun, repeats not counted."""
        return self._drawn

    @property
    def enumerates(self) -> bool:
        """Whether what is tried depends on no result."""
        return bool(self._points)

    def ask(self) -> Trial:
        """Begin the next trial: a repeat of an interrupted one if any waits, else a new draw."""
        if not self._waiting and self._points:
            self._enqueue(self._points[self._drawn])
        queued = bool(self._waiting)
        number = self._waiting.popleft() if queued else self._note()
        self._study.sampler = sampler(self._seed, self._draws[number])
        # For one that is queued Optuna looks through all trials.
        new = None if queued else self._storage.create_new_trial(self._study_id)
        trial = self._study.ask() if new is None else Trial(self._study, new)
        assert trial.number == number
        return trial

    def draw(self, trial: Trial, space: Space) -> Config:
        """Let the space choose, and note what it chose, so that it can be repeated.

        Raises: ConfigError where the space makes no valid config.
        """
        config = space.draw(trial)
        trial.set_user_attr(_CONFIG, config.to_json())
        return config

    @property
    def repeats_wait(self) -> bool:
        """Whether the next trial is one that repeats another."""
        return bool(self._waiting)

    def queued_trial(self, number: int, config: Config) -> QueuedTrial:
        """Say what is known of a trial from those that it repeats."""
        past = self._storage.get_trial(self._id(number)).user_attrs
        return QueuedTrial(
            number,
            config,
            again=_REPEATS in past,
            alone=bool(past.get(_RETRY)) or past.get(_LOST, 0) > 1,
            larger=_LARGER in past,
        )

    def start(self, numbers: Iterable[int]) -> None:
        """Note that a worker is given these trials: from now on an interruption counts."""
        for number in numbers:
            self._storage.set_trial_user_attr(self._id(number), _STARTED, True)
            self._started.add(number)
        self._storage.sync()

    def sync(self) -> None:
        """Keep what was noted.

        Raises: FerError where another driver goes on with the study.
        """
        self._storage.sync()

    def report(self, number: int, config: Config, value: float) -> None:
        """Tell Optuna the value with which a trial passes its next rung."""
        self._halving.add(number, config, value)
        step = self._halving.passed(number)
        self._storage.set_trial_intermediate_value(self._id(number), step, value)

    def keeps(self, number: int) -> bool:
        """Say whether a trial should go on from the rung that it passed last."""
        return self._halving.keeps(number)

    def finished(self) -> list[TrialResult]:
        """Give the parts of all trials that count as finished, in order of their numbers."""
        return [self._parts[number] for number in sorted(self._parts)]

    def finished_numbers(self) -> list[int]:
        """Give the numbers of the trials that count: a trial whose part is gone does not."""
        return sorted(self._parts)

    def lost_numbers(self) -> list[int]:
        """Give the numbers of trials that Optuna knows and whose parts are gone or damaged."""
        return sorted(self._settled - self._parts.keys())

    def finish(self, result: TrialResult) -> None:
        """Write a trial's part, then tell Optuna from it."""
        if result.number not in self._started:  # a part must not be of a trial that nobody recalls
            self._storage.sync()
        self.folder.write_result(result)
        self.tell(result)

    def tell(self, result: TrialResult) -> None:
        """Tell Optuna from a part that its worker wrote."""
        if result.rung_uars and result.config_json:
            config = configs.from_json(result.config_json)
            for value in result.rung_uars[self._halving.passed(result.number) :]:
                self.report(result.number, config, value)
        self._study.tell(
            result.number,
            result.val_uar if result.state == "complete" else None,
            state=_STATES[result.state],
        )
        if result.state == "failed":
            self._halving.forget(result.number)
        self._settled.add(result.number)
        self._parts[result.number] = result

    def interrupt(
        self, number: int, *, counts: bool = True, larger: bool = False, lost: bool = False
    ) -> TrialResult | None:
        """Queue a trial's parameters again, or fail it where that was done often enough.

        It is done often enough when it `counts` for the fourth time: what kills its worker again
        and again must end. That it `lost` its node does not count, but for the tenth time. A
        repeat is `larger` where memory was short. Gives the part of a trial that failed for good.
        A kill between any two lines is mended by the next `reconcile`, which finds the trial still
        running and its repeat already queued.
        """
        trial = self._trials()[number]
        past = trial.user_attrs
        retry = past.get(_RETRY, 0) + (counts and not lost and _STARTED in past)
        losses = past.get(_LOST, 0) + lost
        if retry > RETRIES or losses >= LOSSES:
            said = f"interrupted {retry} times: its worker or driver died"
            if losses >= LOSSES:
                said = f"lost its node {losses} times: it may be the cause"
            result = parts.failed(number, said, config_json=past.get(_CONFIG))
            self.finish(result)
            return result
        if number not in self._repeated:
            # What was interrupted while it was drawn has some of its parameters; draw it anew.
            params = trial.params if _CONFIG in past else self._point(number)
            attrs = {_REPEATS: number, _RETRY: retry, _LOST: losses}
            if larger or _LARGER in past:
                attrs[_LARGER] = True
            self._enqueue(params, attrs)
        self._storage.set_trial_user_attr(self._id(number), _INTERRUPTED, True)
        self._study.tell(number, state=TrialState.FAIL)
        self._halving.forget(number)
        return None

    def reconcile(self, *, counts: bool = True) -> None:
        """Settle the trials that were running when the last driver ended, or are still.

        Whether that `counts` as one of their interruptions: where the user asked for it, it is not.
        """
        repeated = set(self._repeated)
        for trial in self._trials():
            if trial.state != TrialState.RUNNING:
                continue
            result = self.folder.result(trial.number)
            # An orphan may have written its part after its parameters were queued again.
            if result is None or trial.number in repeated:
                self.interrupt(trial.number, counts=counts)
            else:
                self.tell(result)
        if self._points:  # each of them is asked for: another cannot take its place
            for number in set(self.lost_numbers()) - self._repeated:
                self._enqueue(self._point(number), {_REPEATS: number})
        self._storage.sync()

    def _recall(self, trial: FrozenTrial) -> None:
        """Take up what the journal says of a trial."""
        self._note(trial.user_attrs.get(_REPEATS))
        if trial.state == TrialState.WAITING:
            self._waiting.append(trial.number)
        if trial.state != TrialState.FAIL and trial.intermediate_values:
            config = configs.from_json(trial.user_attrs[_CONFIG])
            for _, value in sorted(trial.intermediate_values.items()):
                self._halving.add(trial.number, config, value)

    def _note(self, repeats: int | None = None) -> int:
        """Count a trial that comes next, and give its number."""
        if repeats is None:
            self._draws.append(self._drawn)
            self._drawn += 1
        else:
            self._draws.append(self._draws[repeats])
            self._repeated.add(repeats)
        return len(self._draws) - 1

    def _enqueue(self, params: Mapping[str, Any], attrs: Mapping[str, Any] | None = None) -> None:
        self._study.enqueue_trial(dict(params), user_attrs=dict(attrs or {}))
        self._waiting.append(self._note((attrs or {}).get(_REPEATS)))

    def _point(self, number: int) -> Mapping[str, Any]:
        """Give the point that a trial tries; nothing of it where the space is drawn from."""
        return self._points[self._draws[number]] if self._points else {}

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)


def _has_ended(trial: FrozenTrial) -> bool:
    """Whether a trial ended as it was to, and is not repeated by another."""
    return trial.state.is_finished() and _INTERRUPTED not in trial.user_attrs
