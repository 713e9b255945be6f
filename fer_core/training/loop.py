"""Fit a network: a generator that gives an item an epoch, so whoever loops over it may stop."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fer_core.config import OptimizerConfig
from fer_core.store import Array
from fer_core.training import optimizer as optimizers

Batches = Callable[[Array], Tensor]  # rows (B,) to the network's input for these clips


class DivergedError(RuntimeError):
    """Training whose loss is no longer a number; the trial has failed."""


def fit(
    network: nn.Module,
    inputs: Batches,
    labels: Array,
    rows: Array,
    config: OptimizerConfig,
    *,
    seed: int,
) -> Iterator[float]:
    """Train on the clips `rows` and yield the mean loss of each epoch.

    Cross-entropy of (B, K) logits, or of (B, T, K) where each frame carries its clip's label.

    Raises: DivergedError at the first epoch whose loss is not finite.
    """
    order = np.random.default_rng(seed)
    optimizer = optimizers.build(network.parameters(), config)
    batches = math.ceil(len(rows) / config.batch_clips)
    schedule = optimizers.cosine(optimizer, config.epochs * batches)
    for epoch in range(config.epochs):
        network.train()
        total = 0.0
        for batch in np.array_split(order.permutation(rows), batches):  # sizes differ by one
            loss = _loss(_logits(network, inputs(batch)), labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        if not math.isfinite(total):
            raise DivergedError(f"the loss is {total} after epoch {epoch + 1}; lower optimizer.lr.")
        yield total / len(rows)


def predict(network: nn.Module, inputs: Batches, rows: Array, *, batch_clips: int) -> Array:
    """Give probabilities (N, T, K) of the clips `rows`; T is 1 where a clip is seen whole."""
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), batch_clips):
            logits = _logits(network, inputs(rows[start : start + batch_clips]))
            parts.append(torch.softmax(logits, dim=-1).cpu().numpy())
    scores: Array = np.concatenate(parts)
    return scores if scores.ndim == 3 else scores[:, None]


def _logits(network: nn.Module, stored: Tensor) -> Tensor:
    lengths = torch.full((len(stored),), stored.shape[1])  # every clip gave the same window
    logits: Tensor = network(stored, lengths)
    return logits


def _loss(logits: Tensor, labels: Array) -> Tensor:
    target = torch.from_numpy(labels).to(logits.device)
    if logits.ndim == 3:
        target = target[:, None].expand(logits.shape[:2]).reshape(-1)
        logits = logits.flatten(0, 1)
    return functional.cross_entropy(logits, target)
