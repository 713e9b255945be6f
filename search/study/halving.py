"""Successive halving: decide at each rung which trials go on and which stop.

A *rung* is a point at which the trials that reach it are compared: within the first fold after some
of the epochs, later after each fold. Within the first fold, whose scores say least, the best half
goes on; between folds, the best third. The journal uses this module to prune a study.

Jamieson and Talwalkar, 2016, https://arxiv.org/abs/1502.07943. As in its asynchronous form (Li et
al., 2020, https://arxiv.org/abs/1810.05934) no trial waits for a rung to fill. The state is the
values that the study's trials reported, which the journal keeps, so it outlives the driver. It is
not an Optuna pruner: a pruner would read all trials at each rung, and would slow the driver down as
the study grows.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence

from fer_core.config import Config
from fer_core.trial.rungs import Rung

OF_EPOCHS, OF_FOLDS = 2, 3  # one trial in so many goes on: within the first fold, between folds
LEAST = 4  # the fewest trials at a rung that are compared; before that, all go on

_Comparable = tuple[object, ...]  # trials with equal keys are compared with each other


def one_of(rung: Rung) -> int:
    """Return n: the best 1/n of the trials that reach this rung go on."""
    return OF_EPOCHS if rung.epochs < 1 else OF_FOLDS


class Halving:
    """Keeps the values that trials reported at each rung; without rungs it stops no trial."""

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self._rungs = rungs
        self._values: dict[_Comparable, list[float]] = defaultdict(list)  # each list is sorted
        self._passed: dict[int, list[tuple[_Comparable, float]]] = defaultdict(list)

    def passed(self, number: int) -> int:
        """Return how many rungs a trial has passed."""
        return len(self._passed[number]) if number in self._passed else 0

    def add(self, number: int, config: Config, value: float) -> None:
        """Note the value with which a trial passes its next rung."""
        key = self._comparable(self.passed(number), config)
        insort(self._values[key], value)
        self._passed[number].append((key, value))

    def forget(self, number: int) -> None:
        """Remove the values of a trial that failed or that another trial repeats."""
        for key, value in self._passed.pop(number, ()):
            values = self._values[key]
            del values[bisect_left(values, value)]

    def keeps(self, number: int) -> bool:
        """Return whether a trial is good enough to go on from the last rung that it passed."""
        if not self._rungs or not self.passed(number):
            return True
        key, value = self._passed[number][-1]
        values = self._values[key]
        better = len(values) - bisect_right(values, value)
        goes_on = -(-len(values) // one_of(self._rungs[self.passed(number) - 1]))
        return len(values) < LEAST or better < goes_on

    def _comparable(self, rung: int, config: Config) -> _Comparable:
        """Return the key that a trial shares with the trials it is compared with at a rung.

        Within the first fold a family is compared with itself only, since others learn at another
        pace. Two tasks are never compared: their numbers of classes differ.
        """
        inside = rung < len(self._rungs) and self._rungs[rung].epochs < 1
        return (rung, config.task, config.family if inside else None)
