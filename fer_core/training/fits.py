"""What is to be trained, and groups of fits that go on together, epoch by epoch."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from fer_core.choices import OptimizerConfig
from fer_core.models.dropout import seed
from fer_core.models.network import Network
from fer_core.store import Array
from fer_core.training import loop


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One network to train on some rows of some data."""

    network: Network
    batches: loop.Batches
    labels: Array
    rows: Array
    config: OptimizerConfig
    seed: int  # of what it draws for itself: dropout
    order: int  # seed of the order of its rows
    data: str  # fits of one name are given the same for the same rows
    held: Array | None = None  # rows that early stopping watches


class Group(Protocol):
    """Fits that are trained together. Those that diverge stay, with a loss that is no number."""

    def epoch(self) -> Sequence[float]:
        """Train an epoch, and give the mean loss of each fit that is still in."""

    def drop(self, places: Collection[int]) -> None:
        """Let the fits at these places leave; the places of those behind them move up."""

    def settle(self) -> None:
        """Bring the networks up to what was trained."""


class Each:
    """Fits that are trained one after the other."""

    def __init__(self, fits: Sequence[Fit]) -> None:
        self._fits = [Alone(fit) for fit in fits]

    def epoch(self) -> Sequence[float]:
        """Train an epoch of each."""
        return [loss for fit in self._fits for loss in fit.epoch()]

    def drop(self, places: Collection[int]) -> None:
        """Let fits leave."""
        self._fits = [fit for place, fit in enumerate(self._fits) if place not in places]

    def settle(self) -> None:
        """Do nothing: the networks themselves are trained."""


class Alone:
    """One fit, trained by its own."""

    def __init__(self, fit: Fit) -> None:
        self._fit, self._epochs = fit, 0
        seed(fit.network, fit.seed)
        self._losses: Iterator[float] = loop.fit(
            fit.network,
            fit.batches,
            fit.labels,
            fit.rows,
            fit.config,
            order=fit.order,
            held=fit.held,
        )

    def epoch(self) -> Sequence[float]:
        """Train an epoch; nothing is given once early stopping has ended it."""
        self._epochs += 1
        try:
            losses = [loss for loss in [next(self._losses, None)] if loss is not None]
            if self._epochs == self._fit.config.epochs:
                next(self._losses, None)  # it ends, and what did best is restored
        except loop.DivergedError:
            return [math.nan]
        return losses

    def drop(self, places: Collection[int]) -> None:
        """Stop."""
        if places:
            self._losses = iter(())

    def settle(self) -> None:
        """Do nothing: the network itself is trained."""
