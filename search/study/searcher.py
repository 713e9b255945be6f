"""Our searcher: Optuna's ask and tell behind Ray Tune's interface.

One Tune trial is one pack, today a config with all its folds. Why not Tune's own OptunaSearch: it
loses finished trials over a kill, tells stopped trials as complete, and leaves failed ones running
for ever (measured with Ray 2.60 and Optuna 5.0).
"""

import time
from collections.abc import Callable
from typing import Any

from optuna import Trial
from ray.tune.search import Searcher

from fer_core.errors import ConfigError
from search.space import Space
from search.study import parts
from search.study.journal import Journal, pruned
from search.study.parts import Part


class StudySearcher(Searcher):
    """Draws configs until the study has its number of trials, or its time is up."""

    def __init__(
        self,
        journal: Journal,
        space: Space,
        *,
        trials: int,
        deadline: float | None,
        on_finish: Callable[[Part], None],
    ) -> None:
        """Let no new trial start after `deadline`, on the clock of `time.monotonic`."""
        super().__init__()
        self.error: Exception | None = None  # Tune would take it for the trial's own
        self._journal = journal
        self._space = space
        self._trials = trials
        self._deadline = deadline
        self._on_finish = on_finish
        self._finished = len(journal.finished_numbers())
        self._live: dict[str, Trial] = {}
        self._stopped: dict[str, Part] = {}  # pruned, and not yet told

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Give the next config; None while others run that may yet need repeating."""
        while self._may_start():
            trial = self._journal.ask()
            try:
                config = self._journal.draw(trial, self._space)
            except ConfigError as error:
                self._finish(parts.failed(trial.number, str(error)))
                continue
            self._live[trial_id] = trial
            return {"number": trial.number, "config_json": config.to_json()}
        finished: Any = Searcher.FINISHED  # a string, which Ray's own type leaves out
        return None if self._live else finished

    def prune(self, trial_id: str, part: Part) -> bool:
        """Report the folds so far to Optuna, and say whether the trial should stop."""
        trial = self._live.get(trial_id)
        if trial is None or part.val_uar is None:
            return False
        trial.report(part.val_uar, len(part.fold_uars))
        if trial.should_prune():
            self._stopped[trial_id] = pruned(part)
            return True
        return False

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Settle a trial by its part; one that has none lost its worker."""
        trial = self._live.pop(trial_id, None)
        if trial is None:
            return
        try:
            self._settle(trial.number, self._stopped.pop(trial_id, None))
        except Exception as broken:
            self.error = broken

    def _settle(self, number: int, stopped: Part | None) -> None:
        part = stopped or self._journal.folder.part(number)
        if part is not None:
            self._finish(part)
            return
        given_up = self._journal.interrupt(number)
        if given_up is not None:
            self._count(given_up)

    def _may_start(self) -> bool:
        in_time = self._deadline is None or time.monotonic() < self._deadline
        wanted = self._finished + len(self._live) < self._trials
        return in_time and wanted and self.error is None

    def _finish(self, part: Part) -> None:
        self._journal.finish(part)
        self._count(part)

    def _count(self, part: Part) -> None:
        self._finished += 1
        self._on_finish(part)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its parts for `Tuner.restore`, which is never used

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a study is resumed from its journal, never from a Ray experiment."""
