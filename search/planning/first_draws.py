"""Look at the first configs of a study before its trials start.

`search.session` draws them in advance. They show which models must load, which frozen parts trials
will share, and which activations will not be stored.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_core.config import Config, StreamConfig
from fer_core.data.study_data import StudyData
from search.screen.progress import Progress


def shared_streams(drawn: Sequence[Config]) -> tuple[StreamConfig, ...]:
    """Return the streams whose frozen part trials may share, each as often as it was drawn.

    One pass of a backbone stores every depth that trials need. The number of streams with the same
    depth tells whether storing that depth pays.
    """
    unaugmented = (config for config in drawn if config.augment is None)
    return tuple(s for config in unaugmented for s in config.images if s.freeze_depth)


def print_what_is_not_stored(
    drawn: Sequence[Config], study_data: StudyData, progress: Progress
) -> None:
    """Print which activations are computed for each batch, and why; `--dry-run` prints it too."""
    from search.planning import costs  # imports torch, which takes seconds

    fixed = study_data.clip
    configs = [replace(config, clip=fixed) if fixed else config for config in drawn]
    choices = costs.storing_choices(
        costs.by_frozen_part(configs),
        costs.machine_speed(study_data.store),
        clips=len(study_data.manifest.clips),
        folds=len(study_data.protocol.folds),
        store=study_data.store,
    )
    for why in dict.fromkeys(choice.why for choice in choices.values() if not choice.store):
        progress.print(why)


def check_models(drawn: Sequence[Config], study_data: StudyData) -> None:
    """Load every model that trials will load: bad weights stop the study, not each trial.

    Raises: ConfigError and WeightsError where a backbone cannot be built, or its weights not read.
    """
    from fer_core.faces import landmarks
    from fer_core.faces.frontal import surface  # this imports torch, which takes seconds
    from fer_core.features.extraction import weights_file
    from fer_core.models import backbones

    streams = (stream for config in drawn for stream in config.images)
    not_built: dict[str, Any] = {  # choices that make no difference to the network that is loaded
        "freeze_depth": 0,
        "pooling": "none",
        "pca_dim": None,
        "view": "aligned",
    }
    for stream in {replace(stream, **not_built) for stream in streams}:
        file = weights_file(stream, study_data.weights)
        backbones.build(stream, weights_file=file, seed=study_data.seed)
    if study_data.landmarks != "data":
        landmarks.load_finder(study_data.landmarks)
    if study_data.surface:
        surface.load(Path(study_data.surface))
