"""What is to be trained, and groups of fits that go on together, epoch by epoch."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.config import OptimizerConfig
from fer_core.models.dropout import seed
from fer_core.models.network import Network
from fer_core.training import loop
from fer_core.training.checkpoint import Checkpoint


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
    held_out: Array | None = None  # rows that early stopping watches


class Group(Protocol):
    """Fits that are trained together. Those that diverge stay, with a loss that is no number."""

    def epoch(self) -> Sequence[float]:
        """Train an epoch, and give the mean loss of each fit that is still in."""

    def drop(self, places: Collection[int]) -> None:
        """Let the fits at these places leave; the places of those behind them move up."""

    def settle(self) -> None:
        """Bring the networks up to what was trained."""


class InTurn:
    """Fits that are trained one after the other."""

    def __init__(self, fits: Sequence[Fit]) -> None:
        self._fits = [OneFit(fit) for fit in fits]

    def epoch(self) -> Sequence[float]:
        """Train an epoch of each."""
        return [loss for fit in self._fits for loss in fit.epoch()]

    def drop(self, places: Collection[int]) -> None:
        """Let fits leave."""
        self._fits = [fit for place, fit in enumerate(self._fits) if place not in places]

    def settle(self) -> None:
        """Do nothing: the networks themselves are trained."""


class OneFit:
    """One fit, trained by its own; with a checkpoint it goes on from where one like it was lost.

    Epochs that another process trained are given again, one by one, with the scores that it had.
    """

    def __init__(self, fit: Fit, checkpoint: Checkpoint | None = None) -> None:
        self._checkpoint, self._epochs, self._stopped = checkpoint, 0, False
        self._most = fit.config.epochs
        seed(fit.network, fit.seed)
        self._training = loop.Training(
            fit.network,
            fit.batches,
            fit.labels,
            fit.rows,
            fit.config,
            order=fit.order,
            held_out=fit.held_out,
        )
        self._scores: dict[int, Tensor] = {}  # by the epochs that were asked for
        self.seconds = 0.0  # of training, wherever that was
        kept = checkpoint.read() if checkpoint is not None else None
        if kept is not None:
            self._training.resume(kept["training"])
            self._scores, self.seconds = dict(kept["scores"]), kept["seconds"]
        self.restored = len(self._training.losses)  # epochs

    def epoch(self) -> Sequence[float]:
        """Train an epoch; nothing is given once early stopping has ended it."""
        if self._stopped:
            return []
        self._epochs += 1
        if self._epochs <= self.restored:
            return [self._training.losses[self._epochs - 1]]
        started = time.perf_counter()
        try:
            loss = self._training.epoch()
        except loop.DivergedError:
            return [math.nan]
        self.seconds += time.perf_counter() - started
        self._keep(last=loss is None or self._epochs == self._most)
        return [] if loss is None else [loss]

    def scored(self, score: Callable[[], Array]) -> Array:
        """Score the network as it is, or was when it had trained no further than was asked for."""
        if self._epochs not in self._scores:
            self._scores[self._epochs] = torch.from_numpy(score())
        scores: Array = self._scores[self._epochs].numpy()
        return scores

    def drop(self, places: Collection[int]) -> None:
        """Stop."""
        self._stopped = self._stopped or bool(places)

    def settle(self) -> None:
        """Do nothing: the network itself is trained."""

    def _keep(self, *, last: bool) -> None:
        """Write the checkpoint, if that is due and there is something new."""
        new = len(self._training.losses) > self.restored
        if self._checkpoint is None or not new:
            return
        if self._checkpoint.is_due(self.seconds, last=last):
            training = self._training.state()
            kept = {"training": training, "scores": self._scores, "seconds": self.seconds}
            self._checkpoint.write(kept)
