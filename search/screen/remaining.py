"""How long the rest of a study takes, from what its trials took so far."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.screen.times import readable

LEAST = 3  # finished trials, before anything is said
_REPEATS = 200  # imagined rests of the study
_RECENT = 500  # trials that it is imagined from
_ONE_BY_ONE = 16  # trials of each worker that are given out one by one; all before, as a sum
_Z = 1.2816  # 90 % of a normal variable's values lie below


@dataclass(frozen=True)
class Remaining:
    """Seconds to the end: as expected, and such that 9 of 10 studies have ended by then."""

    seconds: float
    p90: float

    def __str__(self) -> str:
        return f"{readable(self.seconds)} left (P90 {readable(self.p90)})"


def predict(seconds: Sequence[float], trials: int, workers: int) -> Remaining | None:
    """Predict when so many more trials are done, from the worker-seconds of those that are.

    A bootstrap: each repeat draws its own idea of what trials take, then trials from it, and gives
    each to the worker that is free first. As few trials show too little spread, it is widened as
    Student's t is against the normal. None where too little is known.
    """
    if len(seconds) < LEAST or trials <= 0:
        return None
    seen = np.asarray(seconds[-_RECENT:])
    generator, mean = np.random.default_rng(0), seen.mean()
    known = seen[generator.integers(len(seen), size=(_REPEATS, len(seen)))]
    chosen = generator.integers(len(seen), size=(_REPEATS, trials))
    drawn = np.take_along_axis(known, chosen, axis=1)
    drawn = np.maximum(0.0, mean + _widened(len(seen)) * (drawn - mean))
    early = max(0, trials - _ONE_BY_ONE * workers)
    free = np.repeat(drawn[:, :early].sum(axis=1, keepdims=True) / workers, workers, axis=1)
    rows = np.arange(_REPEATS)
    for place in range(early, trials):
        free[rows, free.argmin(axis=1)] += drawn[:, place]
    ends = free.max(axis=1)
    return Remaining(float(ends.mean()), float(np.quantile(ends, 0.9)))


def _widened(count: int) -> float:
    """Approximate Student's 90 % quantile by the normal one (Abramowitz and Stegun, 26.7.5)."""
    freedom = count - 1
    first = (_Z**3 + _Z) / 4
    second = (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    quantile = _Z + first / freedom + second / freedom**2
    return float(quantile / _Z * np.sqrt(count / freedom))
