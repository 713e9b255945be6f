"""Errors that a user can cause, each of which prints as one line and sets the command's exit code.

Every room raises these; the commands in `search` print the message after `error:` and end with
`exit_code`. Any other exception is a fault of the program and keeps its traceback.
"""

import traceback
from collections.abc import Iterable
from difflib import get_close_matches


class FerError(Exception):
    """A problem that the user can solve; printed as one line, without a traceback."""

    exit_code = 2


class ConfigError(FerError):
    """A space or a config that cannot work."""

    exit_code = 3


class WeightsError(ConfigError):
    """Trained weights that are missing or do not fit the network."""


class DataError(FerError):
    """A dataset that cannot be read or used as it is on disk."""

    exit_code = 4


class ProtocolError(DataError):
    """A split that would let sealed subjects leak into training, or that the data cannot fill."""


class NoTrialSucceededError(FerError):
    """A study that ended without one complete trial."""

    exit_code = 5


class ClusterError(FerError):
    """A Ray cluster that cannot be reached or used."""

    exit_code = 6


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """Write the message for a name that does not exist: `what` is its kind, `known` what exists."""
    return f"there is no {what} '{name}'{suggestion(name, known)}"


def suggestion(name: object, known: Iterable[str]) -> str:
    """Write the end of a message about a wrong name: the nearest right one, then all of them."""
    names = sorted(known)
    if not names:
        return "; there are none here."
    near = get_close_matches(str(name), names, n=1)
    question = f"did you mean '{near[0]}'? Available" if near else "available"
    return f"; {question}: {', '.join(names)}."


def keep_traceback_as_note(error: BaseException | None) -> None:
    """Replace the traceback of an error, and of the errors that caused it, by its text.

    A traceback keeps the local variables of its frames alive, which can be all the memory of a
    trial. The text shows the same lines and frees that memory.
    """
    while error is not None:
        if error.__traceback__ is not None:
            lines = traceback.format_tb(error.__traceback__)
            error.add_note("".join(["Traceback (most recent call last):\n", *lines]))
            error.__traceback__ = None
        error = error.__context__
