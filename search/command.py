"""What the command lines share: errors in one line, exit codes, interrupts, plain tables.

`search.run`, `search.doctor`, `search.replay` and `search.compare` wrap their work in
`errors_in_one_line` and start with `run`. Everything heavy is imported inside functions, so that
`--help` is answered at once.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from typer.exceptions import TyperException

from fer_core.errors import FerError, command_line, reader_left
from fer_core.storage import paths, signals
from search.study import disk

if TYPE_CHECKING:
    from rich.table import Table

    from search.study.folder import Folder

_PIPED_COLUMNS = 100  # width of a table that is printed to no terminal


@contextmanager
def errors_in_one_line(interrupted: str) -> Iterator[None]:
    """Turn an error that the user can mend into one line and an exit code.

    Ctrl-C prints `interrupted`, and so do SIGTERM and the end of the terminal, unless who started
    the command had it ignore them, as nohup does. Any other error is ours, and keeps its traceback.
    """
    signals.handle(signals.interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be no UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    except FerError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    except OSError as error:
        if reader_left(error):
            raise
        if disk.is_full(error):
            print(f"error: {disk.full_disk_message(error)}", file=sys.stderr)
            raise typer.Exit(FerError.exit_code) from error
        print(f"error: {error.strerror or error}: {error.filename or 'no file'}", file=sys.stderr)
        raise typer.Exit(FerError.exit_code) from error
    except KeyboardInterrupt as interrupt:
        with signals.last_words():
            print(interrupted, file=sys.stderr)
        raise typer.Exit(signals.INTERRUPTED) from interrupt


def run(app: typer.Typer) -> int:
    """Run a command line, and return its exit code. A wrong argument is answered in one line.

    An interrupted command cannot be interrupted again: that would change its exit code.
    """

    def called() -> int:
        try:
            code = int(app(standalone_mode=False) or 0)
        except TyperException as error:
            message = error.format_message()
            message = message.replace("Value error, ", "")  # Typer's words add nothing
            print(f"error: {message}", file=sys.stderr)
            return FerError.exit_code
        if code == signals.INTERRUPTED:
            signals.ignore()
        return code

    return command_line(called)


def studies_folder(text: str) -> paths.AnyPath:
    """Read where studies are.

    Raises: FerError if S3 does not answer.
    """
    place = paths.parse(text).absolute()
    if isinstance(place, paths.S3Path):
        place.reach()
    return place


def study_folder(study: str, studies: str) -> "Folder":
    """Find the folder of a study by its name or its path.

    Raises: FerError if there is none.
    """
    from search.study import folder  # imports NumPy, which takes 0.1 s: too long for --help

    return folder.find(study, studies_folder(studies))


def show(table: "Table") -> None:
    """Print a table as wide as the terminal, or 100 columns wide into a pipe or a file."""
    from rich.console import Console  # takes 0.1 s: too long for a wrong argument

    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_COLUMNS).print(table)
