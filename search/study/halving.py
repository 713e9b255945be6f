"""Successive halving: at each rung the better ones of those that have come to it go on.

Within the first fold, which says least, that is one of two; where folds are compared, one of three.

Jamieson and Talwalkar, 2016, https://arxiv.org/abs/1502.07943; as in its asynchronous form (Li et
al., 2020, https://arxiv.org/abs/1810.05934) nobody waits for a rung to fill. Its state is the
values that the study's trials reported, so that it outlives any driver. It is no Optuna pruner:
one would look at all trials at each rung, and a driver must not slow down as a study grows.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence

from fer_core.config import Config
from fer_core.trial.rungs import Rung

OF_EPOCHS, OF_FOLDS = 2, 3  # one of so many goes on, within the first fold and between folds
LEAST = 4  # trials to compare at a rung before any is stopped there

_Rivals = tuple[object, ...]  # what the trials that are compared have in common


def one_of(rung: Rung) -> int:
    """Say of how many trials one goes on from a rung."""
    return OF_EPOCHS if rung.epochs < 1 else OF_FOLDS


class Halving:
    """Knows the values at each rung; without rungs it stops nobody."""

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self._rungs = rungs
        self._values: dict[_Rivals, list[float]] = defaultdict(list)  # sorted
        self._passed: dict[int, list[tuple[_Rivals, float]]] = defaultdict(list)

    def passed(self, number: int) -> int:
        """Say how many rungs a trial has passed."""
        return len(self._passed[number]) if number in self._passed else 0

    def add(self, number: int, config: Config, value: float) -> None:
        """Note the value with which a trial passes its next rung."""
        rivals = self._comparable(self.passed(number), config)
        insort(self._values[rivals], value)
        self._passed[number].append((rivals, value))

    def forget(self, number: int) -> None:
        """Strike a trial that another repeats."""
        for rivals, value in self._passed.pop(number, ()):
            values = self._values[rivals]
            del values[bisect_left(values, value)]

    def keeps(self, number: int) -> bool:
        """Say whether a trial is among the better ones at the last rung that it passed."""
        if not self._rungs or not self.passed(number):
            return True
        rivals, value = self._passed[number][-1]
        values = self._values[rivals]
        better = len(values) - bisect_right(values, value)
        goes_on = -(-len(values) // one_of(self._rungs[self.passed(number) - 1]))
        return len(values) < LEAST or better < goes_on

    def _comparable(self, rung: int, config: Config) -> _Rivals:
        """Within the first fold families are compared with their own: others learn at other paces.

        Tasks are never compared: each has its own number of classes.
        """
        inside = rung < len(self._rungs) and self._rungs[rung].epochs < 1
        return (rung, config.task, config.family if inside else None)
