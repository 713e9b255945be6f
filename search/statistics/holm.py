"""Correct p-values for how many tests were made: Holm's step-down method.

The more pairs of models one compares, the more often one of them seems to differ by chance. Holm
keeps the chance of even one such error below the level, whatever the tests depend on. SciPy has no
function for it.
"""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of several tests, and keep their places.

    The smallest is multiplied by the number of tests, the next by one less, and so on. None becomes
    smaller than one before it, or larger than 1 (Holm 1979, https://www.jstor.org/stable/4615733).
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = largest
    return corrected
