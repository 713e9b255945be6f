"""Divide subjects at random into sides whose class shares are as equal as whole subjects allow.

`protocol.sealed_and_folds` draws the sealed subjects with `choose_sealed`, and the folds of the
others with `deal_folds`. Each side has a fixed number of subjects, whatever their numbers of clips.
Both functions draw many candidates and take the most even one.
"""

from collections.abc import Callable

import numpy as np

from fer_core.arrays import Array

_CANDIDATES, _MOST_DRAWN = 500, 200_000  # candidates, and subjects of all candidates together


def choose_sealed(counts: Array, number: int, *, folds: int, rng: np.random.Generator) -> Array:
    """Choose subjects: give True for `number` of them, (N,).

    `counts` (N, C) are the clips of each subject and class. Each class should be among the chosen,
    and at least `folds` of the others should show it.
    """

    def draw() -> Array:
        order, start = _mixed(counts, rng), rng.random()
        places = ((start + np.arange(number)) * len(counts) / number).astype(int)
        sides = np.ones(len(counts), np.int64)
        sides[order[places]] = 0
        return sides

    shares = np.array([number, len(counts) - number]) / len(counts)
    sides = _most_even(draw, counts, shares, least=np.array([1, folds]))
    return np.equal(sides, 0)


def deal_folds(counts: Array, folds: int, *, rng: np.random.Generator) -> Array:
    """Deal subjects to folds: give the number of each subject's fold, (N,).

    `counts` (N, C) are the clips of each subject and class. The folds' numbers of subjects differ
    by one at most.
    """

    def draw() -> Array:
        sides = np.empty(len(counts), np.int64)
        sides[_mixed(counts, rng)] = np.arange(len(counts)) % folds
        return sides

    return _most_even(draw, counts, np.full(folds, 1 / folds), least=np.ones(folds, np.int64))


def _mixed(counts: Array, rng: np.random.Generator) -> Array:
    """Give the subjects in random order, but those with the same most frequent class together."""
    order = rng.permutation(len(counts))
    rank = rng.permutation(counts.shape[1])
    return order[np.argsort(rank[counts[order].argmax(axis=1)], kind="stable")]


def _most_even(draw: Callable[[], Array], counts: Array, shares: Array, *, least: Array) -> Array:
    """Draw the side of each subject many times, and give the most even draw.

    That is the one where the fewest classes are shown by fewer than `least` (S,) subjects of a
    side; of these, the one where the classes' shares of clips come closest to the `shares` (S,).
    """
    candidates = max(1, min(_CANDIDATES, _MOST_DRAWN // len(counts)))
    drawn = [draw() for _ in range(candidates)]
    return min(drawn, key=lambda sides: _unevenness(sides, counts, shares, least))


def _unevenness(sides: Array, counts: Array, shares: Array, least: Array) -> tuple[float, float]:
    clips, people = np.zeros((2, len(shares), counts.shape[1]))
    np.add.at(clips, sides, counts)
    np.add.at(people, sides, counts > 0)
    lacking = np.maximum(least[:, None] - people, 0).sum()
    return float(lacking), float(((clips / counts.sum(axis=0) - shares[:, None]) ** 2).sum())
