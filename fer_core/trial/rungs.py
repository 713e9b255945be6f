"""The rungs of a trial: the points of its training at which it is compared with other trials.

At each rung the search may prune a trial that does worse than others did there. The training of a
pack (`pack.py`), the worker and the journal of a study all follow the sequence that `rungs` gives.
"""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class Rung:
    """How far a trial has trained when it is compared with others."""

    folds: tuple[int, ...]  # every fold that has been started
    epochs: float  # share of the epochs of the last of these folds; the others are trained whole

    def __str__(self) -> str:
        """Name the rung for people, with folds counted from 1: "1/4 of fold 1", "2 folds"."""
        folds = len(self.folds)
        if self.epochs == 1:
            return f"{folds} fold{'s' if folds > 1 else ''}"
        return f"{Fraction(self.epochs)} of fold {folds}"


def rungs(folds: int, *, raced: bool) -> tuple[Rung, ...]:
    """Give the rungs of a trial of `folds` folds; at the last one, all folds are trained.

    If `raced`, there are rungs before it, each at about twice the training of the one before.
    """
    every = tuple(range(folds))
    if not raced:
        return (Rung(folds=every, epochs=1.0),)
    shares = (0.25, 0.5, 1.0)
    first = [Rung(folds=every[:1], epochs=share) for share in shares]
    more = [Rung(folds=every[:count], epochs=1.0) for count in sorted({2, folds}) if count <= folds]
    return (*first, *(rung for rung in more if len(rung.folds) > 1))
