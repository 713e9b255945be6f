"""Errors that a user can cause: one line each, and the exit code that the command ends with."""

import traceback
from collections.abc import Iterable
from difflib import get_close_matches


class FerError(Exception):
    """Something the user can put right; printed as one line, never as a traceback."""

    exit_code = 2


class ConfigError(FerError):
    """A space or a config that cannot work."""

    exit_code = 3


class WeightsError(ConfigError):
    """Trained weights that are not there, or that do not fit the network."""


class DataError(FerError):
    """A dataset that cannot be used as it lies."""

    exit_code = 4


class ProtocolError(DataError):
    """A split that would let the sealed subjects leak into training."""


class NoTrialSucceededError(FerError):
    """A study that ended without one complete trial."""

    exit_code = 5


class ClusterError(FerError):
    """A Ray cluster that cannot be reached or used."""

    exit_code = 6


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """Say that `name` is no `what`, suggest the nearest, and list what there is."""
    names = sorted(known)
    if not names:
        return f"no {what} '{name}'; there are none here."
    near = get_close_matches(str(name), names, n=1)
    suggestion = f"; did you mean '{near[0]}'?" if near else ";"
    return f"no {what} '{name}'{suggestion} there are: {', '.join(names)}."


def keep_traceback_as_note(error: BaseException | None) -> None:
    """Replace the traceback of an error, and of those that led to it, by its text.

    The frames of a traceback keep their local variables alive, and these may hold all the memory
    of a trial.
    """
    while error is not None:
        if error.__traceback__ is not None:
            lines = traceback.format_tb(error.__traceback__)
            error.add_note("".join(["Traceback (most recent call last):\n", *lines]))
            error.__traceback__ = None
        error = error.__context__
