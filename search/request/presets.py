"""Fit the presets of a space to the dataset and the weights that the user has.

A preset is a config that repeats one row of a published table (`search/results/published.py`). The
published networks need VGG-Face and a GPU. Without `--weights vgg16=FILE` each preset runs narrow:
small enough for a CPU core, which shows that the model works, and its row on the board says so.
`search.session` and `--dry-run` pass each space through `runnable`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from optuna.trial import BaseTrial, FixedTrial

from fer_core.config import Config, Stream, StreamConfig
from fer_core.errors import ConfigError, unknown
from search.drawing.space import Space
from search.results import published
from search.study.options import Options

# How a narrow preset differs: share of the channels, side of the face, most epochs, learning rate.
WIDTH, PIXELS, EPOCHS, LR = 1 / 8, 64, 5, 1e-3


def runnable(space: Space, options: Options) -> Space:
    """Return the space with presets that fit the dataset and the weights that the user named.

    A point that repeats a row of a dataset other than the user's is left out.

    Raises: ConfigError if a config says that it stands for a row that was never published.
    """

    def function(trial: BaseTrial) -> object:
        config = space.function(trial)
        if not isinstance(config, Config) or config.stands_for is None:
            return config
        if config.stands_for not in published.ROWS:
            raise ConfigError(unknown("published row", config.stands_for, published.ROWS))
        return config if "vgg16" in options.weights else narrowed(config)

    whole, dataset = replace(space, function=function), options.dataset
    datasets = {row.dataset for row in published.ROWS.values()}
    if not any(dataset.startswith(name) for name in datasets):  # oulu_casia_ni_dark is one too
        return whole
    return replace(whole, points=tuple(p for p in space.points if _is_of(dataset, whole, p)))


def _is_of(dataset: str, space: Space, point: Mapping[str, Any]) -> bool:
    printed = published.repeated_by(space.draw(FixedTrial(dict(point))))
    return printed is None or dataset.startswith(printed.dataset)


def narrowed(config: Config) -> Config:
    """Make a preset small enough for a CPU core; its streams, layers and head stay."""
    cell = config.recurrent
    return replace(
        config,
        streams=tuple(_narrow(stream) for stream in config.streams),
        recurrent=replace(cell, hidden=_scaled(cell.hidden)) if cell else None,
        head=replace(config.head, fc_width=_scaled(config.head.fc_width)),
        optimizer=replace(config.optimizer, epochs=min(config.optimizer.epochs, EPOCHS), lr=LR),
    )


def narrowing(drawn: Iterable[Config]) -> str | None:
    """Describe how the presets among the configs were made narrow; None if none was."""
    notes = {published.narrow(config) for config in drawn} - {None}
    return next(iter(notes), None)


def _narrow(stream: Stream) -> Stream:
    if not isinstance(stream, StreamConfig):
        return stream
    return replace(stream, width=WIDTH, weights="random", crop_pixels=PIXELS)


def _scaled(width: int) -> int:
    return max(1, round(width * WIDTH))
