"""The sampler: Optuna's TPE, shown only the finished trials that matter most to it.

Without a bound, each draw would take longer than the one before, as the study grows. TPE models the
best 10 % of the trials, at most 25, against all others, and gives old trials among the others less
weight (Bergstra et al., 2013, http://proceedings.mlr.press/v28/bergstra13.pdf). So we show it the
best `BEST` trials, which it would choose itself, the latest of the others, and all trials that are
running. It is also shown the latest draws that were refused, as running: it counts those among the
worse trials, but not as results. TPE likes values that it has not seen, so it would otherwise draw
refused ones again and again: 863 times for 60 trials of `spaces/everything.py` on photographs.
`search/drawing/space.py` makes one such sampler for each draw.
"""

from collections.abc import Container, Sequence
from copy import copy
from heapq import nlargest
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from search.drawing.redraws import MARK, REFUSED

BEST = 25  # TPE calls the best ceil(n / 10) of n trials good, at most 25
MODELLED = 250  # the most finished trials that are shown
MODELLED_VALUES = 3000  # the most parameter values of them all; a draw takes about 10 us for each
MOST_REFUSED = 100  # refused draws that are shown
_SCORED = (TrialState.COMPLETE, TrialState.PRUNED)


class BoundedTPE(BaseSampler):
    """TPE that models at most `MODELLED` finished trials, chosen anew at each draw.

    If trials have many parameters, it models fewer trials, but at least 2 * `BEST`.
    """

    def __init__(self, seed: int) -> None:
        self._tpe = TPESampler(seed=seed)
        self._bounded: optuna.Study | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        self._bounded = _BoundedStudy(study)
        return self._tpe.infer_relative_search_space(self._bounded, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._tpe.sample_relative(self._bounded or study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        bounded = self._bounded or study
        return self._tpe.sample_independent(bounded, trial, param_name, param_distribution)


class _BoundedStudy(optuna.Study):
    """A study that shows only the trials worth modelling, as they were when this was made."""

    def __init__(self, study: optuna.Study) -> None:
        super().__init__(study.study_name, study._storage)
        trials = study.get_trials(deepcopy=False)
        scored = [trial for trial in trials if trial.state in _SCORED]
        most = _most_shown(scored)
        if len(scored) > most:
            good = min(BEST, -(-most // 10))
            shown = {trial.number for trial in nlargest(good, scored, key=_rank)}
            others = [trial for trial in scored if trial.number not in shown]
            shown |= {trial.number for trial in others[good - most :]}
            scored = [trial for trial in scored if trial.number in shown]
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        refused = [trial for trial in trials if trial.user_attrs.get(MARK) == REFUSED]
        running += map(_as_running, refused[-MOST_REFUSED:])
        self._shown = sorted(scored + running, key=lambda trial: trial.number)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        return [trial for trial in self._shown if states is None or trial.state in states]


def _as_running(refused: FrozenTrial) -> FrozenTrial:
    trial = copy(refused)
    trial.state = TrialState.RUNNING
    return trial


def _most_shown(scored: Sequence[FrozenTrial]) -> int:
    """Return how many trials may be shown, from the number of parameters of the latest ones."""
    sizes = [len(trial.params) for trial in scored[-BEST:]] or [1]
    mean = max(1.0, sum(sizes) / len(sizes))
    return min(MODELLED, max(2 * BEST, int(MODELLED_VALUES / mean)))


def _rank(trial: FrozenTrial) -> tuple[float, float]:
    """Return a key that orders trials as TPE does: complete ones first, by value.

    Pruned trials follow, ordered by the rung they reached and their value there.
    """
    if trial.state == TrialState.COMPLETE:
        return float("inf"), trial.value or 0.0
    steps = trial.intermediate_values
    return (max(steps), steps[max(steps)]) if steps else (0.0, 0.0)
