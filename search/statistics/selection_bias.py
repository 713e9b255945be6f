"""Correct the best val_uar of a study for having been chosen as the best, without any training.

The more trials a search compares, the more the score of its best one flatters it. `comparisons.py`
puts the corrected score into the column `val_uar_corrected` of the best trial. It is computed from
the stored predictions by BBC-CV (Tsamardinos, Greasidou and Borboudakis 2018,
https://doi.org/10.1007/s10994-018-5714-4), with subjects in place of samples.
"""

import numpy as np

from search.statistics.paired import HitCounts, uars

RESAMPLES = 1000  # bootstrap samples of the subjects
_LEAST = 2  # trials; a single one was not chosen


def corrected(found: HitCounts, *, resamples: int = RESAMPLES, seed: int = 0) -> float | None:
    """Estimate the UAR of the trial that a search chooses as the best of these.

    In each resample of the subjects, the best trial is chosen by the subjects that were drawn, and
    scored on those that were not. The estimate is the mean of these scores; None for fewer than two
    trials or subjects.
    """
    trials, subjects = found.hits.shape[:2]
    if trials < _LEAST or subjects < _LEAST:
        return None
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples)
    others = drawn == 0
    usable = others.any(axis=1)
    drawn, others = drawn[usable].astype(np.float64), others[usable].astype(np.float64)
    best = uars(found, drawn).argmax(axis=1)
    scores = np.take_along_axis(uars(found, others), best[:, None], axis=1)
    return float(scores.mean())
