"""What baselines are given: Ray as it comes, and files that a user would have made beforehand."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from fer_core.config import Config
from fer_core.experiment import Experiment
from fer_core.faces import present
from fer_core.faces.views import resized
from fer_core.trial import Bench, opened

# What our tuner sets for itself, and Ray reads when a search begins.
_OURS = (
    "RAY_AIR_NEW_OUTPUT",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS",
    "TUNE_DISABLE_SIGINT_HANDLER",
    "TUNE_GLOBAL_CHECKPOINT_S",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S",
)


@contextmanager
def rays_defaults() -> Iterator[None]:
    """Let Ray Tune do what it does by default, with its loggers."""
    ours = {name: os.environ.pop(name) for name in _OURS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(ours)


def write_images(config: Config, experiment: Experiment, file: Path) -> int:
    """Write the views of an experiment at the side that its backbone reads; give their number."""
    bench = opened(config, experiment)
    stream = config.images[0]
    views = [present.crops(entry)[:, 0] for _, entry in bench.setting.views(stream.view)]
    images = resized(np.concatenate(views), stream.crop_pixels or views[0].shape[1])
    _write(bench, file, images=images)
    return len(images)


def write_features(config: Config, experiment: Experiment, file: Path) -> None:
    """Write the pooled features of an experiment, standardised, and leave them in its store."""
    bench = opened(config, experiment)
    train, _ = next(bench.splits())
    batches = bench.begin(train, "fold 0").fit.batches
    given = batches(np.arange(len(bench.labels)), None)[0]
    _write(bench, file, features=given[:, 0].numpy())


def _write(bench: Bench, file: Path, **arrays: np.ndarray) -> None:
    train, val = next(bench.splits())
    np.savez(file, labels=bench.labels, train=train, val=val, **arrays)
    assert torch.from_numpy(bench.labels).max() < len(bench.experiment.classes)
