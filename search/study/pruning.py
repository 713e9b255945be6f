"""Our pruning as a Tune scheduler: who leaves a pack at a rung, and whether any of it goes on."""

from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.study import parts
from search.study.folder import Folder
from search.study.searcher import StudySearcher


class PruningScheduler(FIFOScheduler):
    """Lets the searcher compare the members of a pack at each rung."""

    def __init__(self, searcher: StudySearcher, folder: Folder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's
        self._searcher, self._folder = searcher, folder

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Say who leaves, in a file that the worker reads before it goes on."""
        go_on: str = TrialScheduler.CONTINUE
        if "node" in result:
            self._searcher.placed(trial.trial_id, result["node"])
        if result.get("done") or "parts" not in result:
            return go_on
        reached = [parts.from_json(text) for text in result["parts"]]
        try:
            leaving = self._searcher.on_rung(trial.trial_id, reached)
            if leaving:
                self._folder.write_leaving(result["pack"], leaving)
        except OSError as error:
            self._searcher.error, leaving = error, None
        stop: str = TrialScheduler.STOP
        return stop if leaving is None else go_on

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Choose none: Tune starts or reuses a worker for each trial that waits, in their order.

        One that is chosen is given an idle worker even while its own is starting, which Tune then
        ends: with packs shorter than a start, workers would never come to be as many as may be.
        What the searcher took back waits no more.
        """
        if taken := self._searcher.taken_back:
            for trial in [t for t in tune_controller.get_live_trials() if t.trial_id in taken]:
                tune_controller.stop_trial(trial)
            taken.clear()

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Tell Tune 2.60 that a trial which is stopped while it waits is given no worker."""
        super().on_trial_remove(tune_controller, trial)
        _unstage(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Tell Tune 2.60 what it forgets where the worker that it reuses turns out to be dead.

        It goes on to think that the trial waits for a worker, and keeps an idle one for it, whose
        share a trial of another shape may wait for in vain.
        """
        super().on_trial_error(tune_controller, trial)
        _unstage(tune_controller, trial)


def _unstage(tune_controller: Any, trial: Any) -> None:
    if trial in tune_controller._staged_trials:
        tune_controller._unstage_trial_with_resources(trial)
    tune_controller._resetting_trials.discard(trial)
