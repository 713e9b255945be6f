"""Show the configs of a space the faces that a dataset gives, in the place of faces to be found.

On such a dataset each picture is a face that was cut out already. A stream with the default view
then shows the whole picture; a view that the space chose on purpose stays. `suited` uses this for
each draw, and `search.session` asks whether the draws need landmarks all the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.trial import BaseTrial

from fer_core.config import GIVEN, Config, Stream, StreamConfig
from search.drawing.space import Space

DEFAULT_VIEW = StreamConfig.view


def shown_as_given(space: Space) -> Space:
    """Return the space with whole pictures in the place of the default view."""

    def function(trial: BaseTrial) -> object:
        config = space.function(trial)
        return with_given(config, trial.params) if isinstance(config, Config) else config

    return replace(space, function=function)


def with_given(config: Config, drawn: Mapping[str, Any]) -> Config:
    """Show whole pictures in the place of the default view of a config.

    `drawn` are the parameters that the space drew. If the view is one of their values, the space
    chose it on purpose, and it stays.
    """
    if DEFAULT_VIEW in drawn.values():
        return config
    return replace(config, streams=tuple(map(_given, config.streams)))


def _given(stream: Stream) -> Stream:
    if isinstance(stream, StreamConfig) and stream.view == DEFAULT_VIEW:
        return replace(stream, view=GIVEN)
    return stream


def about_given(drawn: Sequence[Config]) -> Iterator[str]:
    """Say that faces are given, and what the drawn configs look for in them all the same."""
    yield (
        f"the faces are given: the view '{GIVEN}', the whole picture, takes the place of "
        f"'{DEFAULT_VIEW}' (--faces found looks for faces in the pictures)"
    )
    streams = [stream for config in drawn for stream in config.streams]
    views = {s.view for s in streams if isinstance(s, StreamConfig) and s.view != GIVEN}
    points = ["points"] * any(not isinstance(stream, StreamConfig) for stream in streams)
    if wanted := [*sorted(views), *points]:
        yield f"the space also reads {', '.join(wanted)}: their landmarks are looked for"
