"""Baseline: heads on given features, each a plain module that torch's fused Adam trains.

They train one after the other. Row 8 of `benchmarks/search.py` measures it, and the other baselines
use its heads.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


class Recurrent(nn.Module):
    """Maps frame features (B, T, D) to logits (B, K), through the last state of a cell."""

    def __init__(self, cell: str, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.cell = CELLS[cell](features, hidden, batch_first=True)
        self.classifier = nn.Linear(hidden, classes)

    def forward(self, frames: Tensor) -> Tensor:
        return self.classifier(self.cell(frames)[0][:, -1])


def connected(dims: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Make fully connected layers, e.g. 512-128-64-6; the last one gives logits."""
    layers: list[nn.Module] = []
    for before, after in pairwise(dims):
        if dropout:
            layers.append(nn.Dropout(dropout))
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Trainer:
    """A head and its optimiser."""

    def __init__(self, head: nn.Module, *, lr: float, weight_decay: float) -> None:
        self.head = head
        parameters = head.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr, weight_decay=weight_decay, fused=True)

    def epoch(self, features: Tensor, labels: Tensor, batch: int) -> None:
        self.head.train()
        for rows in batches(len(features), batch):
            loss = nn.functional.cross_entropy(self.head(features[rows]), labels[rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        self.head.eval()
        with torch.no_grad():
            return float((self.head(features).argmax(dim=1) == labels).float().mean())


def batches(count: int, size: int) -> Iterator[Tensor]:
    """Shuffle the rows and divide them into batches."""
    yield from torch.randperm(count).split(size)
