"""Predict how long a study still takes, from what is known of how long its trials take.

There is one predictor, `predict`, and it is used twice. `--dry-run` asks it before the start, with
the seconds of trials that were timed for a moment (`search.planning.duration`). The progress line
asks it while the study runs, with the seconds of the trials that have finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.screen.times import readable

Floats = NDArray[np.floating]
LEAST = 3  # finished trials that the progress line waits for before it shows a prediction
_REPEATS = 200  # simulations of the rest of the study
_RECENT = 500  # of the known trials, only the latest ones are used, up to this number
_ONE_BY_ONE = (
    16  # the last trials per worker that are simulated one by one; earlier ones are summed
)
_Z = 1.2816  # 90 % of the values of a normal variable lie below it


@dataclass(frozen=True)
class Remaining:
    """Seconds until the study ends."""

    seconds: float  # median: it ends earlier in half of all cases
    p90: float  # it ends earlier in nine of ten cases

    def __str__(self) -> str:
        return f"{readable(self.seconds)} left (P90 {readable(self.p90)})"


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """How much of a trial pruning may leave out; beforehand only its full length is known."""

    shares: Floats  # (R,) share of its full length that a trial has trained when it ends at a rung
    chances: Floats  # (R,) how likely a trial ends there; they add up to 1
    exempt: int  # the first trials of a study, which have nothing to be compared with


def predict(
    seconds: Sequence[float],
    trials: int,
    workers: int,
    *,
    least: int = LEAST,
    pruning: Pruning | None = None,
) -> Remaining | None:
    """Predict when `trials` more trials are done; None if fewer than `least` are known.

    `seconds` says how long each known trial takes on one worker. Measured trials include what
    pruning ended early. For trials that were timed before the start, `pruning` says how early.

    This is a bootstrap: each simulation draws its own sample of the known trials, draws the
    remaining trials from that sample, and gives each to the worker that is free first. A few
    trials show too little spread, so the spread is widened as Student's t distribution is wider
    than the normal one.
    """
    if len(seconds) < least or trials <= 0:
        return None
    generator = np.random.default_rng(0)
    drawn = _drawn(np.asarray(seconds[-_RECENT:]), trials, generator)
    if pruning is not None:
        rungs = generator.choice(len(pruning.chances), drawn.shape, p=pruning.chances)
        rungs[:, : pruning.exempt] = len(pruning.chances) - 1
        drawn *= pruning.shares[rungs]
    median, p90 = np.quantile(_ends(drawn, workers), [0.5, 0.9])
    return Remaining(float(median), float(p90))


def _drawn(known: Floats, trials: int, generator: np.random.Generator) -> Floats:
    """Draw the seconds of the remaining trials: (simulations, trials)."""
    samples = known[generator.integers(len(known), size=(_REPEATS, len(known)))]
    chosen = generator.integers(len(known), size=(_REPEATS, trials))
    mean = known.mean()
    spread = np.take_along_axis(samples, chosen, axis=1) - mean
    widened: Floats = np.maximum(0.0, mean + _widening(len(known)) * spread)
    return widened


def _ends(drawn: Floats, workers: int) -> Floats:
    """Simulate when the last worker is done, from trials (simulations, trials) in order."""
    trials = drawn.shape[1]
    early = max(0, trials - _ONE_BY_ONE * workers)
    free_at = np.repeat(drawn[:, :early].sum(axis=1, keepdims=True) / workers, workers, axis=1)
    simulations = np.arange(len(drawn))
    for trial in range(early, trials):
        free_at[simulations, free_at.argmin(axis=1)] += drawn[:, trial]
    ends: Floats = free_at.max(axis=1)
    return ends


def _widening(count: int) -> float:
    """Return how much wider than the spread of `count` trials the true spread may be.

    It is Student's 90 % quantile over the normal one, approximated by Abramowitz and Stegun,
    26.7.5. A single trial shows no spread that could be widened.
    """
    freedom = count - 1
    if freedom == 0:
        return 1.0
    first = (_Z**3 + _Z) / 4
    second = (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    quantile = _Z + first / freedom + second / freedom**2
    return float(quantile / _Z * np.sqrt(count / freedom))
