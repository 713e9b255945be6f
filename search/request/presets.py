"""What a study of a dataset can run of the presets, which repeat the rows that the study printed.

Published networks are for VGG-Face and a GPU. Where no `--weights vgg16=FILE` is given there is no
VGG-Face, and each preset runs narrow: it shows that the model works, and its row says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from optuna.trial import BaseTrial, FixedTrial

from fer_core.config import Config, Stream, StreamConfig
from fer_core.errors import ConfigError, unknown
from search.results import published
from search.study.space import Space

WIDTH, PIXELS, EPOCHS, LR = 1 / 8, 64, 5, 1e-3  # of a narrow preset


def runnable(space: Space, *, dataset: str, weights: Mapping[str, str]) -> Space:
    """Give a space whose presets fit the dataset and the weights that were named.

    Points that stand for a row of another of the study's two datasets are left out.

    Raises: ConfigError where a config stands for no printed row.
    """

    def function(trial: BaseTrial) -> object:
        config = space.function(trial)
        if not isinstance(config, Config) or config.stands_for is None:
            return config
        if config.stands_for not in published.ROWS:
            raise ConfigError(unknown("published row", config.stands_for, published.ROWS))
        return config if "vgg16" in weights else narrowed(config)

    whole = replace(space, function=function)
    datasets = {row.dataset for row in published.ROWS.values()}
    if not any(dataset.startswith(name) for name in datasets):  # of any camera and light
        return whole
    return replace(whole, points=tuple(p for p in space.points if _is_of(dataset, whole, p)))


def _is_of(dataset: str, space: Space, point: Mapping[str, Any]) -> bool:
    printed = published.beside(space.draw(FixedTrial(dict(point))))
    return printed is None or dataset.startswith(printed.dataset)


def narrowed(config: Config) -> Config:
    """Make a preset small enough for a CPU core; what it is made of stays."""
    cell = config.recurrent
    return replace(
        config,
        streams=tuple(_narrow(stream) for stream in config.streams),
        recurrent=replace(cell, hidden=_scaled(cell.hidden)) if cell else None,
        head=replace(config.head, fc_width=_scaled(config.head.fc_width)),
        optimizer=replace(config.optimizer, epochs=min(config.optimizer.epochs, EPOCHS), lr=LR),
    )


def said(drawn: Iterable[Config]) -> str | None:
    """Say once for all presets what was made narrow."""
    notes = {published.narrow(config) for config in drawn} - {None}
    return next(iter(notes), None)


def _narrow(stream: Stream) -> Stream:
    if not isinstance(stream, StreamConfig):
        return stream
    return replace(stream, width=WIDTH, weights="random", crop_pixels=PIXELS)


def _scaled(width: int) -> int:
    return max(1, round(width * WIDTH))
