"""Fit a network: a generator that gives an item an epoch, so whoever loops over it may stop."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fer_core.choices import OptimizerConfig
from fer_core.errors import FerError
from fer_core.models.network import Network
from fer_core.store import Array
from fer_core.training import optimizer as optimizers

# Rows (B,) to what the network is given of these clips, a tensor for each stream; augmented where
# a generator is given.
Batches = Callable[[Array, np.random.Generator | None], Sequence[Tensor]]


class DivergedError(FerError):
    """Training whose loss is no longer a number; the trial has failed."""


def fit(
    network: Network,
    batches: Batches,
    labels: Array,
    rows: Array,
    config: OptimizerConfig,
    *,
    order: int,
    held: Array | None = None,
) -> Iterator[float]:
    """Train on the clips `rows` and yield the mean loss of each epoch.

    `order` seeds the order of the rows. Cross-entropy of (B, K) logits, or of (B, T, K) where each
    frame carries its clip's label. With patience, training ends where the loss of the clips
    `held` no longer falls, and the network keeps the weights that did best on them.

    Raises: DivergedError at the first epoch whose loss is not finite.
    """
    drawn = np.random.default_rng(order)
    count = batch_count(len(rows), config.batch_clips)
    optimizer = optimizers.build(network, config)
    schedule = optimizers.Schedule(optimizer, config, config.epochs * count)
    loss_of = _Loss(network, labels, rows, config)
    best = _Best(network)
    for epoch in range(config.epochs):
        network.train()
        total = 0.0
        for batch in np.array_split(drawn.permutation(rows), count):
            total += _step(optimizer, loss_of(batches(batch, drawn), batch)) * len(batch)
            schedule.step()
        if not math.isfinite(total):
            raise DivergedError(f"the loss is {total} after epoch {epoch + 1}; lower optimizer.lr.")
        if held is not None:
            best.see(_held_loss(network, loss_of, batches, held, config.batch_clips))
        schedule.epoch(total / len(rows) if held is None else best.seen)
        yield total / len(rows)
        if config.patience is not None and best.waited >= config.patience:
            break
    best.restore()


def batch_count(clips: int, batch_clips: int) -> int:
    """Part clips so that sizes differ by one, and none is one: of it nothing is standardised."""
    return max(1, min(math.ceil(clips / batch_clips), clips // 2))


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


class _Best:
    """The weights that did best so far on the clips held back."""

    def __init__(self, network: Network) -> None:
        self._network, self._loss = network, math.inf
        self._state: dict[str, Tensor] | None = None
        self.seen = math.inf  # the last loss
        self.waited = 0  # epochs since the best

    def see(self, loss: float) -> None:
        self.seen = loss
        self.waited += 1
        if loss < self._loss:
            self._loss, self.waited = loss, 0
            self._state = copy.deepcopy(self._network.state_dict())

    def restore(self) -> None:
        if self._state is not None:
            self._network.load_state_dict(self._state)


def predict(network: Network, batches: Batches, rows: Array, *, batch_clips: int) -> Array:
    """Give probabilities (N, T, K) of the clips `rows`; T is 1 where a clip is seen whole."""
    parts = [
        probabilities(network, batches(rows[start : start + batch_clips], None))
        for start in range(0, len(rows), batch_clips)
    ]
    return np.concatenate(parts)


def probabilities(network: Network, given: Sequence[Tensor]) -> Array:
    """Score a batch of clips: (B, T, K), in single precision whatever training used."""
    network.eval()
    with torch.inference_mode():
        logits = network(given, network.lengths(given))
        scores: Array = torch.softmax(logits, dim=-1).cpu().numpy()
    return scores if scores.ndim == 3 else scores[:, None]


class _Loss:
    """Cross-entropy as a config has it."""

    def __init__(
        self, network: Network, labels: Array, rows: Array, config: OptimizerConfig
    ) -> None:
        self._network, self._config = network, config
        # Heads on stored features gain nothing, and are stacked in single precision.
        self._mixed = config.mixed_precision and any(True for _ in network.unfrozen())
        self._device = next(network.parameters()).device
        self._labels = torch.from_numpy(labels)
        self._weights: Tensor | None = None
        if config.class_weights:
            seen = self._labels[torch.from_numpy(rows)]
            self._weights = optimizers.class_weights(seen, network.classes).to(self._device)

    def __call__(self, given: Sequence[Tensor], rows: Array) -> Tensor:
        target = self._labels[torch.from_numpy(rows)].to(self._device)
        with optimizers.mixed(self._device, wanted=self._mixed):
            logits = self._network(given, self._network.lengths(given))
        if logits.ndim == 3:
            target = target[:, None].expand(logits.shape[:2]).reshape(-1)
            logits = logits.flatten(0, 1)
        return functional.cross_entropy(
            logits.float(),
            target,
            weight=self._weights,
            label_smoothing=self._config.label_smoothing,
        )


def _held_loss(
    network: Network, loss_of: _Loss, batches: Batches, held: Array, batch_clips: int
) -> float:
    network.eval()
    total = 0.0
    with torch.inference_mode():
        for batch in np.array_split(held, math.ceil(len(held) / batch_clips)):
            total += float(loss_of(batches(batch, None), batch)) * len(batch)
    return total / len(held)
