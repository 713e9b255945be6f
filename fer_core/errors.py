"""Errors that a user can cause, each of which prints as one line and sets the command's exit code.

Every room raises these; the commands in `search` print the message after `error:` and end with
`exit_code`. Any other exception is a fault of the program and keeps its traceback. All commands
run through `command_line`.
"""

import os
import select
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches

_BROKEN_PIPE = 141  # exit code, as shells give it to a command that SIGPIPE ended


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


def command_line(call: Callable[[], int]) -> int:
    """Run a command after a look at its arguments, and return its exit code.

    Whoever reads our output may leave, as `head` does: then the command ends without a word.
    """
    try:
        refuse_empty(sys.argv[1:])
        code = call()
        sys.stdout.flush()
        sys.stderr.flush()
    except FerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except (BrokenPipeError, SystemExit) as end:
        # Typer and Rich make an exit of such an error, and Rich has sent stdout nowhere by then.
        if not reader_left(end) and not isinstance(end.__context__, BrokenPipeError):
            raise
        _write_nothing_more()
        return _BROKEN_PIPE
    return code


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse an argument that is empty, as a variable that was never set leaves it.

    An empty path would be the current folder.

    Raises: FerError that names the option.
    """
    for place, each in enumerate(arguments):
        option, equals, value = each.partition("=")
        if option.startswith("--") and equals and not value.strip():
            raise FerError(f"{option} is empty; give it a value, or leave it out.")
        if not each.strip():
            before = arguments[place - 1] if place else ""
            what = before if before.startswith("-") else f"argument {place + 1}"
            raise FerError(f"{what} is empty; give it a value, or leave it out.")


def reader_left(error: BaseException) -> bool:
    """Return whether an error only says that nobody reads our output any more."""
    return isinstance(error, BrokenPipeError) and _a_reader_left()


def _a_reader_left() -> bool:
    for stream in (sys.stdout, sys.stderr):
        poll = select.poll()
        try:
            poll.register(stream.fileno(), select.POLLOUT)
        except (OSError, ValueError):  # a stream without a file
            continue
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            return True
    return False


def _write_nothing_more() -> None:
    """Send what is still to be written nowhere: Python writes it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
