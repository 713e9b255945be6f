"""Row 9: a large head on feature maps that are not pooled, trained on an exact basis of the clips.

There are fewer clips than features, so the clips span a small space, and the first layer need only
read coordinates in it. The plain head reads all features. Both start from the same function and
train by SGD with momentum and weight decay, so their losses must agree.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.rows.result import Ratio
from benchmarks.rows.timing import cpu_seconds, one_thread
from fer_core.features import reduction as reduction_
from fer_core.storage.stages import Tally
from fer_core.storage.store import Store

FEATURES, WIDTH, CLASSES, BATCH = 25_088, 4096, 6, 32  # VGG-16's last map, its fc6 and fc7
LR, MOMENTUM, DECAY = 1e-3, 0.9, 1e-4
TARGET, LOSS_DIFFERENCE = 4.0, 1e-5


def row(
    *,
    clips: tuple[int, ...] = (1440, 512),
    features: int = FEATURES,
    width: int = WIDTH,
    steps: int = 30,
) -> list[Ratio]:
    """Compare a training step of the plain head with one of the reduced head."""
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        return [_compared(n, features, width, steps, Path(folder)) for n in clips]


@dataclass
class _Head:
    """A head in training, and its inputs."""

    layers: nn.Sequential
    reads: Tensor

    def __post_init__(self) -> None:
        self._optimizer = torch.optim.SGD(
            self.layers.parameters(), LR, momentum=MOMENTUM, weight_decay=DECAY
        )

    def step(self, rows: Tensor, labels: Tensor) -> float:
        loss = nn.functional.cross_entropy(self.layers(self.reads[rows]), labels[rows])
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())


def _compared(clips: int, features: int, width: int, steps: int, folder: Path) -> Ratio:
    drawn = np.random.default_rng(clips)
    maps = np.maximum(drawn.standard_normal((clips, features), np.float32), 0)
    labels = torch.from_numpy(drawn.integers(0, CLASSES, clips))
    fold = reduction_.Fold(Store(folder), {"clips": clips}, Tally())
    reductions: list[reduction_.Reduction] = []
    fitted = cpu_seconds(lambda: reductions.append(reduction_.exact(maps, fold)))
    plain, reduced = _heads(reductions[0], maps, width)
    times: list[tuple[float, float]] = []
    apart = 0.0
    for _ in range(steps):
        rows = torch.from_numpy(drawn.choice(clips, BATCH, replace=False))
        losses = []

        def step(head: _Head, rows: Tensor = rows, losses: list[float] = losses) -> None:
            losses.append(head.step(rows, labels))

        times.append((_timed(step, plain), _timed(step, reduced)))
        apart = max(apart, abs(losses[0] - losses[1]))
    theirs, ours = (float(np.median(column)) for column in zip(*times, strict=True))
    kept = "kept" if apart <= LOSS_DIFFERENCE else "NOT kept"
    return Ratio(
        name=f"{clips} clips",
        value=theirs / ours,
        target=TARGET,
        came_from=f"plain {1000 * theirs:.0f} ms, reduced {1000 * ours:.0f} ms of CPU a step",
        notes=(
            f"largest difference of a loss in {steps} steps {apart:.1e}, at most "
            f"{LOSS_DIFFERENCE:g} {kept}; the basis took {fitted:.1f} s once a fold",
        ),
    )


def _timed(step: Callable[[_Head], None], head: _Head) -> float:
    return cpu_seconds(lambda: step(head))


def _heads(reduction: reduction_.Reduction, maps: np.ndarray, width: int) -> tuple[_Head, _Head]:
    """Make the plain head and the reduced head, which compute the same before training."""
    assert reduction.basis is not None
    basis = torch.from_numpy(reduction.basis)  # (r, D)
    standard = (maps - reduction.mean) / reduction.scale
    torch.manual_seed(0)
    plain, reduced = (_layers(dim, width) for dim in (maps.shape[1], len(basis)))
    reduced.load_state_dict(
        {k: v for k, v in plain.state_dict().items() if k != "0.weight"}, strict=False
    )
    with torch.no_grad():
        reduced[0].weight.copy_(plain[0].weight @ basis.T)
        plain[0].weight.copy_(reduced[0].weight @ basis)
    read = torch.from_numpy(reduction(maps))
    return _Head(plain, torch.from_numpy(standard)), _Head(reduced, read)


def _layers(features: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, CLASSES),
    )
