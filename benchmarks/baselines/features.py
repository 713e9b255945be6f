"""Baseline: a head on features that were extracted by hand, searched by Ray Tune and OptunaSearch.

Row 4 of `benchmarks/search.py` measures it, with a process for each trial and with processes that
stay.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from benchmarks.baselines.heads import Trainer, connected

BATCH, CLASSES = 32, 6


@dataclass(frozen=True, kw_only=True)
class Data:
    """Features in an .npz file: (N, D) float32, labels, train and val rows."""

    file: Path
    epochs: int


class Features:
    """The features in memory."""

    def __init__(self, file: Path) -> None:
        loaded = np.load(file)
        features, labels = torch.from_numpy(loaded["features"]), torch.from_numpy(loaded["labels"])
        train, val = torch.from_numpy(loaded["train"]), torch.from_numpy(loaded["val"])
        self.train = features[train], labels[train]
        self.val = features[val], labels[val]

    def trainer(self, config: dict[str, Any]) -> Trainer:
        head = connected([self.val[0].shape[1], config["fc_width"], CLASSES], config["dropout"])
        return Trainer(head, lr=config["lr"], weight_decay=config["weight_decay"])


def trial(config: dict[str, Any], data: Data) -> None:
    """Train a config in a process of its own."""
    features = Features(data.file)
    trainer = features.trainer(config)
    for _ in range(data.epochs):
        trainer.epoch(*features.train, BATCH)
    tune.report({"accuracy": trainer.accuracy(*features.val)})


class Reused(tune.Trainable):
    """Trains one config after the other in one process; a step is `step_epochs` epochs."""

    def setup(self, config: dict[str, Any], data: Data, step_epochs: int) -> None:
        self._data, self._step_epochs = data, step_epochs
        self._features = Features(data.file)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._trainer, self._epochs = self._features.trainer(new_config), 0
        return True

    def step(self) -> dict[str, Any]:
        for _ in range(self._step_epochs):
            self._trainer.epoch(*self._features.train, BATCH)
        self._epochs += self._step_epochs
        accuracy = self._trainer.accuracy(*self._features.val)
        return {"accuracy": accuracy, "done": self._epochs >= self._data.epochs}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        torch.save(self._trainer.head.state_dict(), Path(checkpoint_dir) / "head.pt")


class Ends(tune.Callback):
    """Notes the time at which each trial ended."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.seconds.append(time.perf_counter())


def search_by_process(data: Data, folder: Path, trials: int) -> list[float]:
    """Search with a process for each trial, and return the times at which the trials ended."""
    return _search(tune.with_parameters(trial, data=data), folder, trials, reuse=False)


def search_reused(data: Data, folder: Path, trials: int, *, step_epochs: int) -> list[float]:
    """Search with processes that stay, and return the times at which the trials ended."""
    trainable = tune.with_parameters(Reused, data=data, step_epochs=step_epochs)
    return _search(trainable, folder, trials, reuse=True)


def _search(trainable: Any, folder: Path, trials: int, *, reuse: bool) -> list[float]:
    ends = Ends()
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            search_alg=OptunaSearch(seed=0),
            num_samples=trials,
            reuse_actors=reuse,
        ),
        param_space={
            "fc_width": tune.choice([64, 128, 256]),
            "dropout": tune.uniform(0.0, 0.5),
            "lr": tune.loguniform(1e-4, 1e-2),
            "weight_decay": tune.loguniform(1e-6, 1e-2),
        },
        run_config=tune.RunConfig(
            name="plain", storage_path=str(folder), verbose=0, callbacks=[ends]
        ),
    )
    failed = [result.error for result in tuner.fit() if result.error is not None]
    if failed:
        raise failed[0]
    return ends.seconds
