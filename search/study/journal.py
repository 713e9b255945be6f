"""The study's journal: the record of all trials, in Optuna's storage, that only the driver opens.

The searcher asks it for trials and tells it how they ended; `search/session/` opens it. A worker
writes the result of a trial to a file in `parts/` before it reports the trial's end, and the driver
tells Optuna from that file. So whatever is killed, the journal and these files together hold each
finished trial once.

A trial without a result, whose driver or worker died, is *interrupted*: the driver tells Optuna
that it failed, and queues its parameters again under a new number, as a *repeat*. A draw that
cannot become a trial is *redrawn*: Optuna is told that it failed, and the sampler learns nothing
from it (`search/drawing/draws.py`). The driver reads journal and results once, when it starts.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from fer_core import config as configs
from fer_core.config import Config
from fer_core.trial.rungs import Rung
from search.drawing.draws import Draws
from search.drawing.redraws import RedrawnError
from search.drawing.space import Space
from search.study import marks, parts
from search.study.folder import Folder
from search.study.halving import Halving
from search.study.journal_backends import DurableStorage
from search.study.parts import TrialResult
from search.study.queue import QueuedTrial

RETRIES = 3  # the same parameters are repeated so often; the next interruption fails them
LOSSES = 10  # after so many lost machines a trial has failed: it may be the cause


class Journal:
    """Asks Optuna for trials, and tells it how they ended."""

    def __init__(
        self,
        folder: Folder,
        storage: DurableStorage,
        draws: Draws,
        *,
        rungs: Sequence[Rung] = (),
    ) -> None:
        """Open a study's journal, or begin it; `draws` must be new. Rungs are for `Halving`."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self._storage, self.draws = folder, storage, draws
        self._study = optuna.create_study(
            storage=storage,
            study_name=marks.STUDY,
            direction="maximize",
            pruner=optuna.pruners.NopPruner(),  # `Halving` prunes instead
            load_if_exists=True,
        )
        self._study_id = storage.get_study_id_from_name(marks.STUDY)
        self._halving = Halving(rungs)
        self._draw_of: list[int] = []  # the draw of each trial; a repeat has that of its original
        self._repeated: set[int] = set()  # numbers of trials that another trial repeats
        self._waiting: deque[int] = deque()  # queued in Optuna, and not begun
        self._started: set[int] = set()  # given to a worker by this driver
        self._settled: set[int] = set()
        self._parts: dict[int, TrialResult] = {}
        trials = self._trials()
        self._settled.update(trial.number for trial in trials if marks.has_ended(trial))
        self._parts.update(folder.results(sorted(self._settled)))
        for trial in trials:
            self._recall(trial)

    def ask(self) -> Trial:
        """Begin the next trial: a repeat of an interrupted one if any waits, else a new draw."""
        if not self._waiting and (params := self.draws.parameters()) is not None:
            self._enqueue(params)
        queued = bool(self._waiting)
        number = self._waiting.popleft() if queued else self._number_next()
        self._study.sampler = self.draws.sampler(self._draw_of[number])
        # `ask` looks through all trials for a queued one, so it is called only if there is one.
        new = None if queued else self._storage.create_new_trial(self._study_id)
        trial = self._study.ask() if new is None else Trial(self._study, new)
        assert trial.number == number
        return trial

    def draw(self, trial: Trial, space: Space) -> Config:
        """Let the space make the trial's config, and note it, so that the trial can be repeated.

        Raises: RedrawnError where the draw is no trial, once Optuna was told; ConfigError where the
            space fails.
        """
        draw = self._draw_of[trial.number]
        try:
            config = self.draws.config(draw, space, trial)
        except RedrawnError as redrawn:
            self._storage.set_trial_user_attr(self._id(trial.number), marks.REDRAWN, redrawn.why)
            self._study.tell(trial.number, state=TrialState.FAIL)
            self.draws.redraw(redrawn.why)
            raise
        if offset := self.draws.seed_offset(draw, config):
            trial.set_user_attr(marks.SEED_OFFSET, offset)
        trial.set_user_attr(marks.CONFIG, config.to_json())
        return config

    @property
    def repeats_waiting(self) -> int:
        """How many trials wait that repeat interrupted ones."""
        return len(self._waiting)

    def possible(self, wanted: int) -> int:
        """Return how many of the `wanted` trials there can be: if no config is left, repeats."""
        return min(wanted, self.repeats_waiting) if self.draws.exhausted else wanted

    def queued_trial(self, number: int, config: Config) -> QueuedTrial:
        """Make the queue's entry of a trial, from what befell the trials that it repeats."""
        trial = self._storage.get_trial(self._id(number))
        past = trial.user_attrs
        return QueuedTrial(
            number,
            config,
            params=dict(trial.params),
            again=marks.REPEATS in past,
            alone=bool(past.get(marks.RETRY)) or past.get(marks.LOST, 0) > 1,
            larger=marks.LARGER in past,
            seed_offset=past.get(marks.SEED_OFFSET, 0),
        )

    def start(self, numbers: Iterable[int]) -> None:
        """Note that a worker is given these trials; from now on an interruption counts."""
        for number in numbers:
            self._storage.set_trial_user_attr(self._id(number), marks.STARTED, True)
            self._started.add(number)
        self._storage.sync()

    def sync(self) -> None:
        """Make durable what was noted so far.

        Raises: FerError where another driver goes on with the study.
        """
        self._storage.sync()

    def report(self, number: int, config: Config, value: float) -> None:
        """Tell Optuna, and the halving, the value with which a trial passes its next rung."""
        self._halving.add(number, config, value)
        step = self._halving.passed(number)
        self._storage.set_trial_intermediate_value(self._id(number), step, value)

    def keeps(self, number: int) -> bool:
        """Return whether a trial did well enough at its latest rung to go on training."""
        return self._halving.keeps(number)

    def finished(self) -> list[TrialResult]:
        """Return the results of all finished trials, in order of their numbers."""
        return [self._parts[number] for number in sorted(self._parts)]

    def finished_numbers(self) -> list[int]:
        """Return the numbers of all finished trials; one whose result is gone is not finished."""
        return sorted(self._parts)

    def lost_numbers(self) -> list[int]:
        """Return the numbers of trials that ended, and whose results are gone or damaged."""
        return sorted(self._settled - self._parts.keys())

    def finish(self, result: TrialResult) -> None:
        """Write a trial's result, then tell Optuna how the trial ended."""
        if result.number not in self._started:  # after a power cut a result needs its trial
            self._storage.sync()
        self.folder.write_result(result)
        self.tell(result)

    def tell(self, result: TrialResult) -> None:
        """Tell Optuna how a trial ended, from the result that its worker wrote."""
        if result.rung_uars and result.config_json:
            config = configs.from_json(result.config_json)
            for value in result.rung_uars[self._halving.passed(result.number) :]:
                self.report(result.number, config, value)
        self._study.tell(
            result.number,
            result.val_uar if result.state == "complete" else None,
            state=marks.STATES[result.state],
        )
        if result.state == "failed":
            self._halving.forget(result.number)
        self._settled.add(result.number)
        self._parts[result.number] = result

    def interrupt(
        self,
        number: int,
        *,
        counts: bool = True,
        larger: bool = False,
        lost: bool = False,
        error: str | None = None,
    ) -> TrialResult | None:
        """Queue the parameters of an interrupted trial again, or fail it after too many times.

        Only an interruption that `counts` can fail the trial; after the fourth one it is marked
        failed, because a trial that kills its worker again and again must end. A trial whose
        machine is `lost` twice is retried alone. After ten losses it is marked failed, because it
        may be the cause; a loss does not count otherwise. `larger`: the trial ran out of memory,
        and its repeat gets a larger share of a machine. `error`: what the worker raised, if it did.

        Returns the result of a trial that failed for good, else None. If the driver is killed
        between any two lines here, the next `reconcile` completes the work: it finds the trial
        still running, and perhaps its repeat already queued.
        """
        trial = self._trials()[number]
        past = trial.user_attrs
        retry = past.get(marks.RETRY, 0) + (counts and not lost and marks.STARTED in past)
        losses = past.get(marks.LOST, 0) + lost
        if retry > RETRIES or losses >= LOSSES:
            why = parts.why_given_up(retry, losses if losses >= LOSSES else 0, error)
            offset = past.get(marks.SEED_OFFSET, 0)
            result = parts.failed(
                number, why, config_json=past.get(marks.CONFIG), seed_offset=offset
            )
            self.finish(result)
            return result
        if number not in self._repeated:
            self._repeat(trial, larger=larger, retry=retry, losses=losses)
        self._storage.set_trial_user_attr(self._id(number), marks.INTERRUPTED, True)
        self._study.tell(number, state=TrialState.FAIL)
        self._halving.forget(number)
        return None

    def _repeat(self, trial: FrozenTrial, *, larger: bool, retry: int, losses: int) -> None:
        """Queue the parameters of a trial again."""
        past = trial.user_attrs
        # A trial interrupted while it was drawn has only some of its parameters: draw it anew.
        fixed = trial.system_attrs.get(marks.FIXED, {})
        params = trial.params if marks.CONFIG in past else fixed
        attrs = {marks.REPEATS: trial.number, marks.RETRY: retry, marks.LOST: losses}
        if larger or marks.LARGER in past:
            attrs[marks.LARGER] = True
        self._enqueue(params, attrs)

    def reconcile(self, *, counts: bool = True) -> None:
        """Settle the trials that still count as running, though no worker has them any more.

        Optuna is told of a trial that has a result; a trial without one is interrupted. `counts`:
        whether this is one of the interruptions after which a trial fails. It is not if the user
        stopped the study.
        """
        repeated = set(self._repeated)
        for trial in self._trials():
            if trial.state != TrialState.RUNNING:
                continue
            if marks.REDRAWN in trial.user_attrs:
                self._study.tell(trial.number, state=TrialState.FAIL)
                continue
            result = self.folder.result(trial.number)
            # A worker cut off from its driver may have written a result after its repeat.
            if result is None or trial.number in repeated:
                self.interrupt(trial.number, counts=counts)
            else:
                self.tell(result)
        if self.draws.enumerates:  # no other point can take the place of a lost one
            for number in set(self.lost_numbers()) - self._repeated:
                self._enqueue(self.draws.listed(self._draw_of[number]), {marks.REPEATS: number})
        self._storage.sync()

    def _recall(self, trial: FrozenTrial) -> None:
        """Restore what this object knew of a trial, from the journal."""
        past = trial.user_attrs
        self._number_next(past.get(marks.REPEATS))
        if trial.state == TrialState.WAITING:
            self._waiting.append(trial.number)
        if marks.REDRAWN in past:
            self.draws.redraw(past[marks.REDRAWN])
        lost = trial.number in self._settled and trial.number not in self._parts
        if marks.CONFIG not in past or lost:
            return
        config = configs.from_json(past[marks.CONFIG])
        self.draws.note(self._draw_of[trial.number], config, past.get(marks.SEED_OFFSET, 0))
        if trial.state != TrialState.FAIL and trial.intermediate_values:
            result, noted = self._parts.get(trial.number), trial.intermediate_values
            for value in (result and result.rung_uars) or [noted[step] for step in sorted(noted)]:
                self._halving.add(trial.number, config, value)  # it may have been rescored since

    def _number_next(self, repeats: int | None = None) -> int:
        """Count one more trial, new or a repeat, and return its number."""
        if repeats is None:
            self._draw_of.append(self.draws.begin())
        else:
            self._draw_of.append(self._draw_of[repeats])
            self._repeated.add(repeats)
        return len(self._draw_of) - 1

    def _enqueue(self, params: Mapping[str, Any], attrs: Mapping[str, Any] | None = None) -> None:
        self._study.enqueue_trial(dict(params), user_attrs=dict(attrs or {}))
        self._waiting.append(self._number_next((attrs or {}).get(marks.REPEATS)))

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
