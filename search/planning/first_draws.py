"""What the first draws of a study tell of it: models to load, and stages that trials will share."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_core.config import Config, StreamConfig
from fer_core.data.study_data import StudyData
from search.screen.progress import Progress


def stored(drawn: Sequence[Config]) -> tuple[StreamConfig, ...]:
    """Give the streams, each as often as it was drawn, whose frozen part trials may share.

    One pass taps all their depths, and how many share a depth tells whether storing it pays.
    """
    plain = (config for config in drawn if config.augment is None)
    return tuple(stream for config in plain for stream in config.images if stream.freeze_depth)


def say_what_is_computed_again(
    known: Sequence[Config], study_data: StudyData, progress: Progress
) -> None:
    """Say which activations will not be stored, and why; what --dry-run says of all of them."""
    from search.planning import costs  # imports torch, which takes seconds

    fixed = study_data.clip
    configs = [replace(config, clip=fixed) if fixed else config for config in known]
    chosen = costs.choices(
        costs.sharing(configs),
        costs.measured(study_data.store),
        clips=len(study_data.manifest.clips),
        folds=len(study_data.protocol.folds),
        store=study_data.store,
    )
    for why in dict.fromkeys(choice.why for choice in chosen.values() if not choice.store):
        progress.print(why)


def check_models(drawn: Sequence[Config], study_data: StudyData) -> None:
    """Load what the trials will load, so that bad weights stop the study and not each trial."""
    from fer_core.faces import landmarks
    from fer_core.faces.frontal import surface  # these import torch, which takes seconds
    from fer_core.features.extraction import weights_file
    from fer_core.models import backbones

    streams = (stream for config in drawn for stream in config.images)
    alike: dict[str, Any] = {
        "freeze_depth": 0,
        "pooling": "none",
        "pca_dim": None,
        "view": "aligned",
    }
    for stream in {replace(stream, **alike) for stream in streams}:
        file = weights_file(stream, study_data.weights)
        backbones.build(stream, weights_file=file, seed=study_data.seed)
    if study_data.landmarks != "data":
        landmarks.load_finder(study_data.landmarks)
    if study_data.surface:
        surface.load(Path(study_data.surface))
