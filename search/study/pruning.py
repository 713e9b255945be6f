"""Optuna's pruner as a Tune scheduler: its state is the study's, so it outlives any driver."""

from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.study import parts
from search.study.searcher import StudySearcher


class PruningScheduler(FIFOScheduler):
    """Stops a trial between two folds where the study's pruner says so."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Report the folds that a trial has finished."""
        going_on = not result.get("done") and "part" in result
        stop = going_on and self._searcher.prune(trial.trial_id, parts.from_json(result["part"]))
        decision: str = TrialScheduler.STOP if stop else TrialScheduler.CONTINUE
        return decision
