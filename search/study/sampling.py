"""Optuna's TPE over those finished trials that it weighs most, so that a draw's cost is bounded.

TPE models the best 10 %, at most 25, against all others, and of these it weighs the old ones down
in a ramp (Bergstra et al., 2013, http://proceedings.mlr.press/v28/bergstra13.pdf). We show it the
best `BEST`, which are what it would choose of all, and the latest others; it sees trials that run.
"""

from collections.abc import Container, Sequence
from heapq import nlargest
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

BEST = 25  # TPE takes for good ceil(n / 10) of n trials, and at most 25
MODELLED = 250  # finished trials at most
MODELLED_VALUES = 3000  # parameters of them all: a draw takes about 10 us for each
_SCORED = (TrialState.COMPLETE, TrialState.PRUNED)


class BoundedTPE(BaseSampler):
    """TPE that models at most `MODELLED` finished trials, chosen anew at each draw.

    Where trials have many parameters, it models fewer, at least twice as many as the best.
    """

    def __init__(self, seed: int) -> None:
        self._tpe = TPESampler(seed=seed)
        self._seen: optuna.Study | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        self._seen = _Seen(study)
        return self._tpe.infer_relative_search_space(self._seen, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._tpe.sample_relative(self._seen or study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        seen = self._seen or study
        return self._tpe.sample_independent(seen, trial, param_name, param_distribution)


class _Seen(optuna.Study):
    """A study of which only the trials worth modelling are seen, as they are when it is made."""

    def __init__(self, study: optuna.Study) -> None:
        super().__init__(study.study_name, study._storage)
        trials = study.get_trials(deepcopy=False)
        scored = [trial for trial in trials if trial.state in _SCORED]
        shown = _shown(scored)
        if len(scored) > shown:
            good = min(BEST, -(-shown // 10))
            best = {trial.number for trial in nlargest(good, scored, key=_rank)}
            others = [trial for trial in scored if trial.number not in best]
            best |= {trial.number for trial in others[good - shown :]}
            scored = [trial for trial in scored if trial.number in best]
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        self._shown = sorted(scored + running, key=lambda trial: trial.number)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        return [trial for trial in self._shown if states is None or trial.state in states]


def _shown(scored: Sequence[FrozenTrial]) -> int:
    """Say how many trials are modelled, by how many parameters the latest ones have."""
    sizes = [len(trial.params) for trial in scored[-BEST:]] or [1]
    mean = max(1.0, sum(sizes) / len(sizes))
    return min(MODELLED, max(2 * BEST, int(MODELLED_VALUES / mean)))


def _rank(trial: FrozenTrial) -> tuple[float, float]:
    """Order trials as TPE does: complete ones by value, pruned ones by how far they came."""
    if trial.state == TrialState.COMPLETE:
        return float("inf"), trial.value or 0.0
    steps = trial.intermediate_values
    return (max(steps), steps[max(steps)]) if steps else (0.0, 0.0)
