"""Baseline: a frozen VGG-16 and a trained head, searched by Ray Tune.

Each trial runs the images through the network again in every epoch. Rows 1, 2 and 3 of
`benchmarks/search.py` measure it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from torch import Tensor, nn

from benchmarks.baselines.heads import Trainer, connected
from benchmarks.baselines.vgg import vgg16

BATCH, CLASSES = 32, 6
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, for pixels in 0..255


@dataclass(frozen=True, kw_only=True)
class Data:
    """Face crops in an .npz file: uint8 images (N, S, S, 3), labels, train and val rows."""

    file: Path
    epochs: int


class Images:
    """The crops in memory, and the frozen network that reads them."""

    def __init__(self, file: Path, pooling: str) -> None:
        loaded = np.load(file)
        self.images, self.labels = loaded["images"], torch.from_numpy(loaded["labels"])
        self.train, self.val = loaded["train"], loaded["val"]
        torch.manual_seed(0)
        self.backbone = vgg16().eval()
        self._pool = {"avg": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1)}[pooling]

    def features(self, rows: np.ndarray) -> Tensor:
        """Run images through the frozen part: (B, 512)."""
        x = torch.from_numpy(self.images[rows]).float()
        x = ((x - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2).contiguous()
        with torch.no_grad():
            return self._pool(self.backbone(x)).flatten(1)


def trial(config: dict[str, Any], data: Data) -> None:
    """Train the head of one config, and report each epoch's accuracy."""
    images = Images(data.file, config["pooling"])
    widths = [config["fc_width"]] * config["fc_layers"]
    head = connected([512, *widths, CLASSES], config["dropout"])
    trainer = Trainer(head, lr=config["lr"], weight_decay=config["weight_decay"])
    for _ in range(data.epochs):
        head.train()
        for rows in _batches(np.random.permutation(images.train)):
            loss = nn.functional.cross_entropy(head(images.features(rows)), images.labels[rows])
            trainer.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            trainer.optimizer.step()
        hits = [
            (head.eval()(images.features(rows)).argmax(1) == images.labels[rows]).sum()
            for rows in _batches(images.val)
        ]
        tune.report({"accuracy": float(sum(hits)) / len(images.val)})


def search(points: Sequence[Mapping[str, Any]], data: Data, folder: Path) -> int:
    """Search these configs, and return how many trials ended without an error."""
    tuner = tune.Tuner(
        tune.with_parameters(trial, data=data),
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            search_alg=OptunaSearch(points_to_evaluate=[dict(point) for point in points]),
            num_samples=len(points),
        ),
        param_space={
            "pooling": tune.choice(["avg", "max"]),
            "fc_layers": tune.randint(0, 3),
            "fc_width": tune.choice([64, 128, 256]),
            "dropout": tune.uniform(0.0, 0.5),
            "lr": tune.loguniform(1e-4, 1e-2),
            "weight_decay": tune.loguniform(1e-6, 1e-2),
        },
        run_config=tune.RunConfig(name="plain", storage_path=str(folder), verbose=0),
    )
    return sum(result.error is None for result in tuner.fit())


def image_seconds(file: Path, batches: int, processes: int) -> float:
    """Return the seconds by the clock for one image, with so many processes at once."""
    return float(np.mean(ray.get([_measured.remote(file, batches) for _ in range(processes)])))


@ray.remote(num_cpus=1)
def _measured(file: Path, batches: int) -> float:
    """Time some batches after one that warms up."""
    torch.set_num_threads(1)  # Ray's default for a task as well
    images = Images(file, "avg")
    rows = np.arange(BATCH) % len(images.images)
    images.features(rows)
    started = time.perf_counter()
    for _ in range(batches):
        images.features(rows)
    return (time.perf_counter() - started) / (batches * BATCH)


def _batches(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, max(1, len(rows) // BATCH))
