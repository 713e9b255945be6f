"""Connect our pruning to Ray Tune, as one of Tune's schedulers.

At each rung the searcher decides which members leave their pack, and whether the pack goes on.
`search/cluster/tuner.py` hands this scheduler to Tune. In this file a *Tune trial* is what Tune
calls a trial, which for us is one pack. Two methods correct the bookkeeping of Tune 2.60.
"""

from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import RayTaskError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.drawing.space import describe
from search.study import parts
from search.study.folder import Folder
from search.study.searcher import StudySearcher


class PruningScheduler(FIFOScheduler):
    """Lets the searcher compare the members of a pack at each rung."""

    def __init__(self, searcher: StudySearcher, folder: Folder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's
        self._searcher, self._folder = searcher, folder

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Write which members leave to a file, which the worker reads before it goes on."""
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
        """Choose no Tune trial, so that Tune starts or reuses workers in the order of the queue.

        If one were chosen, Tune would give it an idle worker even while a worker of its own is
        starting, and would then end that one. With packs that are shorter than the start of a
        worker, there would never be as many workers as there may be.

        Packs that the searcher took back are stopped here, since this is called often.
        """
        if taken := self._searcher.taken_back:
            for trial in [t for t in tune_controller.get_live_trials() if t.trial_id in taken]:
                tune_controller.stop_trial(trial)
            taken.clear()

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Make Tune 2.60 forget a Tune trial that was stopped before it had a worker.

        Otherwise Tune would go on to ask for a worker for it.
        """
        super().on_trial_remove(tune_controller, trial)
        _unstage(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Note what the worker raised, and make Tune 2.60 forget a worker that died before its use.

        Otherwise Tune believes that it still waits for a worker, and keeps an idle one for it. A
        Tune trial of another shape may then wait in vain for that worker's share of the machine.
        """
        super().on_trial_error(tune_controller, trial)
        if raised := _raised(trial):
            self._searcher.errors[trial.trial_id] = raised
        _unstage(tune_controller, trial)


def _unstage(tune_controller: Any, trial: Any) -> None:
    if trial in tune_controller._staged_trials:
        tune_controller._unstage_trial_with_resources(trial)
    tune_controller._resetting_trials.discard(trial)


def _raised(trial: Any) -> str | None:
    """Describe what the worker of a Tune trial raised; None if the worker died of something else.

    Tune 2.60 wrote it to this file just before; `Trial.get_pickled_error` finds it only later.
    """
    if trial.pickled_error_file is None:
        return None
    error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return describe(error.cause) if isinstance(error, RayTaskError) else None
