"""The parts of a trial after which it is compared with others."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class Rung:
    """How far members have trained when they are compared."""

    folds: tuple[int, ...]  # every fold that has begun
    epochs: float  # share of its epochs that the last of them has behind it

    def __str__(self) -> str:
        """Say it as progress does, which counts folds from 1: "1/4 of fold 1", "2 folds"."""
        folds = len(self.folds)
        if self.epochs == 1:
            return f"{folds} fold{'s' if folds > 1 else ''}"
        return f"{Fraction(self.epochs)} of fold {folds}"


def rungs(folds: int, *, raced: bool) -> tuple[Rung, ...]:
    """Give the rungs of a trial: each costs about twice the last, until all folds are trained."""
    every = tuple(range(folds))
    if not raced:
        return (Rung(folds=every, epochs=1.0),)
    shares = (0.25, 0.5, 1.0)
    first = [Rung(folds=every[:1], epochs=share) for share in shares]
    more = [Rung(folds=every[:count], epochs=1.0) for count in sorted({2, folds}) if count <= folds]
    return (*first, *(rung for rung in more if len(rung.folds) > 1))
