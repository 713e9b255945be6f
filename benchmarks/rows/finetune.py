"""Row 7: an epoch of fine-tuning from stored activations, against an epoch from images.

Ours reads from the store what the frozen blocks of VGG-16 give; the baseline computes it anew in
every epoch.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.baselines.finetune import FineTuning
from benchmarks.rows import stills
from benchmarks.rows.plain import write_images
from benchmarks.rows.result import Ratio
from benchmarks.rows.timing import one_thread, turns
from fer_core.config import Config, OptimizerConfig, StreamConfig
from fer_core.data.study_data import StudyData
from fer_core.training import loop
from fer_core.trial.evaluate import prepare_trial

TARGETS = {4: 4.0, 3: 1.4}  # by number of frozen blocks: up to pool4, up to pool3
BATCH, LR = 8, 1e-4
MOST_EPOCHS = 100  # more than are ever asked for


def row(*, pixels: int = 224, images: int = 40, repeats: int = 3) -> list[Ratio]:
    """Compare epochs; four images in five train."""
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        study_data = stills.study_data(images, root / "store")
        study_data = replace(study_data, keep="always")
        stills.faces(study_data)
        return [
            _compared(depth, target, pixels, study_data, root / f"{depth}.npz", repeats)
            for depth, target in TARGETS.items()
        ]


def _compared(
    depth: int, target: float, pixels: int, study_data: StudyData, file: Path, repeats: int
) -> Ratio:
    config = _config(depth, pixels)
    write_images(config, study_data, file)
    loaded = np.load(file)
    train = loaded["train"]
    images = torch.from_numpy(loaded["images"][train])
    labels = torch.from_numpy(loaded["labels"][train])
    plain = FineTuning(depth, len(study_data.classes), lr=LR)
    ours = _epochs(config, study_data)
    next(ours)  # the first epoch reads the store
    from_images, from_store = turns(
        lambda: plain.epoch(images, labels, BATCH), lambda: next(ours), repeats=repeats
    )
    each = 1000 / len(train)
    return Ratio(
        name=f"pool{depth}",
        value=from_images / from_store,
        target=target,
        came_from=f"from images {from_images * each:.0f} ms, from the store "
        f"{from_store * each:.0f} ms of CPU an image and step",
        notes=("both train in fp32, one thread; the extraction is in neither",),
    )


def _config(depth: int, pixels: int) -> Config:
    stream = StreamConfig(
        backbone="vgg16",
        weights="random",
        blocks=5,
        freeze_depth=depth,
        pooling="avg",
        crop_pixels=pixels,
    )
    optimizer = OptimizerConfig(
        name="adam",
        lr=LR,
        weight_decay=0.0,
        epochs=MOST_EPOCHS,
        batch_clips=BATCH,
        schedule="constant",
    )
    return Config(streams=(stream,), optimizer=optimizer)


def _epochs(config: Config, study_data: StudyData) -> Iterator[float]:
    """Begin the first fold as a trial does, and yield at each of its epochs."""
    trial_data = prepare_trial(config, study_data)
    train, _ = next(trial_data.splits())
    fit = trial_data.begin(train, "fold 0").fit
    training = loop.Training(
        fit.network, fit.batches, fit.labels, fit.rows, fit.config, order=fit.order
    )
    return iter(training.epoch, None)
