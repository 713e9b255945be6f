"""What the baselines get: Ray with its default settings, and files that a user would have made.

A competent user would prepare faces or features once and keep them in a file; these functions write
such files, from the same stages that ours reads.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from fer_core.config import Config
from fer_core.data.study_data import StudyData
from fer_core.faces import views_stage
from fer_core.faces.views import resized
from fer_core.trial.evaluate import TrialData, prepare_trial

# Settings of `search/cluster/ray_settings.py` that Ray reads when a search begins.
_OURS = (
    "RAY_AIR_NEW_OUTPUT",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS",
    "TUNE_DISABLE_SIGINT_HANDLER",
    "TUNE_GLOBAL_CHECKPOINT_S",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S",
)


@contextmanager
def rays_defaults() -> Iterator[None]:
    """Undo our settings while the context lasts, so that Tune works as by default, with loggers."""
    ours = {name: os.environ.pop(name) for name in _OURS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(ours)


def write_images(config: Config, study_data: StudyData, file: Path) -> int:
    """Write a study's face images, at the size that the backbone reads; return their number."""
    trial_data = prepare_trial(config, study_data)
    stream = config.images[0]
    views = [
        views_stage.crops(entry)[:, 0] for entry in trial_data.context.views(stream.view).entries
    ]
    images = resized(np.concatenate(views), stream.crop_pixels or views[0].shape[1])
    _write(trial_data, file, images=images)
    return len(images)


def write_features(config: Config, study_data: StudyData, file: Path) -> None:
    """Write a study's pooled and standardised features; they stay in its store as well."""
    trial_data = prepare_trial(config, study_data)
    train, _ = next(trial_data.splits())
    batches = trial_data.begin(train, "fold 0").fit.batches
    features = batches(np.arange(len(trial_data.labels)), None)[0]
    _write(trial_data, file, features=features[:, 0].numpy())


def _write(trial_data: TrialData, file: Path, **arrays: np.ndarray) -> None:
    train, val = next(trial_data.splits())
    np.savez(file, labels=trial_data.labels, train=train, val=val, **arrays)
    assert torch.from_numpy(trial_data.labels).max() < len(trial_data.study_data.classes)
