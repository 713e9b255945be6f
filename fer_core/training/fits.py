"""Fits, and the groups in which they are trained epoch by epoch.

A `Fit` states what is to be trained. A `Group` trains one or more fits, and a trial's rungs drop
fits from it between epochs. Here are the groups that train fits one at a time: `OneFit`, with
checkpoints, and `InTurn`; `stacking.stack.Stack` trains several at once. The trial room uses them.
"""

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
    """State the training of one network on some clips."""

    network: Network
    batches: loop.Batches
    labels: Array  # (N,) index of the class of every clip, whether it is trained on or not
    rows: Array  # the clips to train on
    config: OptimizerConfig
    seed: int  # seed of the network's dropout
    order: int  # seed of the order in which rows are read
    data: str  # fits with the same `data` read equal inputs for equal rows
    held_out: Array | None = None  # clips whose loss early stopping or a plateau schedule watches


class Group(Protocol):
    """Fits that are trained together. A fit that diverges stays, and its loss is NaN."""

    def epoch(self) -> Sequence[float]:
        """Train for one epoch, and return the mean loss of each fit that is still in the group."""

    def extend(self, epochs: int) -> None:
        """Add epochs to fits that have had all their own; a cosine begins at the full rate."""

    def drop(self, positions: Collection[int]) -> None:
        """Remove the fits at these positions; the fits behind them move up."""

    def make_ready(self) -> None:
        """Make the networks of the fits ready to be scored with the values that were trained."""


class InTurn:
    """Train fits one after the other."""

    def __init__(self, fits: Sequence[Fit]) -> None:
        self._fits = [OneFit(fit) for fit in fits]

    def epoch(self) -> Sequence[float]:
        """Train each fit for one epoch."""
        return [loss for fit in self._fits for loss in fit.epoch()]

    def extend(self, epochs: int) -> None:
        """Add epochs to each fit."""
        for fit in self._fits:
            fit.extend(epochs)

    def drop(self, positions: Collection[int]) -> None:
        """Remove fits."""
        self._fits = [fit for position, fit in enumerate(self._fits) if position not in positions]

    def make_ready(self) -> None:
        """Settle the statistics of each network; the networks themselves are trained."""
        for fit in self._fits:
            fit.make_ready()


class OneFit:
    """Train one fit by itself; with a checkpoint, continue where an equal fit was interrupted.

    The epochs that the checkpoint contains are not trained again. `epoch` and `scored` return for
    them, one by one, the losses and the scores that were saved.
    """

    def __init__(self, fit: Fit, checkpoint: Checkpoint | None = None) -> None:
        self._checkpoint, self._epochs, self._dropped = checkpoint, 0, False
        self._most_epochs, self._extensions = fit.config.epochs, 0
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
        self._scores: dict[int, Tensor] = {}  # the key is the number of epochs trained before
        self.seconds = 0.0  # time spent on training, in this process and in those before it
        saved = checkpoint.read() if checkpoint is not None else None
        if saved is not None:
            self._training.resume(saved["training"])
            self._scores, self.seconds = dict(saved["scores"]), saved["seconds"]
        self.restored = len(self._training.losses)  # epochs that the checkpoint contains

    def epoch(self) -> Sequence[float]:
        """Train for one epoch; the result is empty once early stopping has ended the training."""
        if self._dropped:
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
        self._save(last=loss is None or self._epochs == self._most_epochs)
        return [] if loss is None else [loss]

    def extend(self, epochs: int) -> None:
        """Add epochs, unless the checkpoint was written after they had been added."""
        self._extensions += 1
        self._most_epochs += epochs
        if self._extensions > len(self._training.extensions):
            self._training.extend(epochs)

    def scored(self, score: Callable[[], Array]) -> Array:
        """Return the scores after as many epochs as were asked for, by calling `score` if needed.

        A restored network may have trained further than that. The checkpoint then has the scores.
        """
        if self._epochs not in self._scores:
            self._scores[self._epochs] = torch.from_numpy(score())
        scores: Array = self._scores[self._epochs].numpy()
        return scores

    def drop(self, positions: Collection[int]) -> None:
        """Stop training, if there is any position."""
        self._dropped = self._dropped or bool(positions)

    def make_ready(self) -> None:
        """Settle the statistics of the network, unless the checkpoint has its scores already."""
        if self._epochs not in self._scores:
            self._training.settle()

    def _save(self, *, last: bool) -> None:
        """Write the checkpoint, if it is due and an epoch was trained since it was read."""
        has_trained = len(self._training.losses) > self.restored
        if self._checkpoint is None or not has_trained:
            return
        if self._checkpoint.is_due(self.seconds, last=last):
            training = self._training.state()
            state = {"training": training, "scores": self._scores, "seconds": self.seconds}
            self._checkpoint.write(state)
