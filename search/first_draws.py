"""What the first draws of a study tell of it: models to load, and stages that trials will share."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_core.config import Config, StreamConfig
from fer_core.experiment import Experiment
from search.cluster.progress import Progress


def stored(drawn: Sequence[Config]) -> tuple[StreamConfig, ...]:
    """Give the streams, each as often as it was drawn, whose frozen part trials may share.

    One pass taps all their depths, and how many share a depth tells whether storing it pays.
    """
    plain = (config for config in drawn if config.augment is None)
    return tuple(stream for config in plain for stream in config.images if stream.freeze_depth)


def say_what_is_computed_again(
    known: Sequence[Config], experiment: Experiment, progress: Progress
) -> None:
    """Say which activations will not be stored, and why; what --dry-run says of all of them."""
    from search import foresight  # imports torch, which takes seconds

    fixed = experiment.clip
    configs = [replace(config, clip=fixed) if fixed else config for config in known]
    chosen = foresight.choices(
        foresight.sharing(configs),
        foresight.measured(experiment.store),
        clips=len(experiment.manifest.clips),
        folds=len(experiment.protocol.folds),
        store=experiment.store,
    )
    for why in dict.fromkeys(choice.why for choice in chosen.values() if not choice.store):
        progress.say(why)


def check_models(drawn: Sequence[Config], experiment: Experiment) -> None:
    """Load what the trials will load, so that bad weights stop the study and not each trial."""
    from fer_core.faces import landmarks, surface  # these import torch, which takes seconds
    from fer_core.features import weights_file
    from fer_core.models import backbones

    streams = (stream for config in drawn for stream in config.images)
    alike: dict[str, Any] = {
        "freeze_depth": 0,
        "pooling": "none",
        "pca_dim": None,
        "view": "aligned",
    }
    for stream in {replace(stream, **alike) for stream in streams}:
        file = weights_file(stream, experiment.weights)
        backbones.build(stream, weights_file=file, seed=experiment.seed)
    if experiment.landmarks != "data":
        landmarks.engine(experiment.landmarks)
    if experiment.surface:
        surface.load(Path(experiment.surface))
