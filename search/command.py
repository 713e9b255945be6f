"""What the command lines share: errors in one line, exit codes, interrupts, plain tables."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.exceptions import TyperException

from fer_core.errors import FerError
from search.study import disk

if TYPE_CHECKING:
    from rich.table import Table

INTERRUPTED = 130
_PIPED_COLUMNS = 100  # where no terminal says its width


@contextmanager
def errors_said(interrupted: str) -> Iterator[None]:
    """Turn what the user caused into one line and an exit code; all else keeps its traceback."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)
    try:
        yield
    except FerError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    except OSError as error:
        if disk.is_full(error):
            print(f"error: {disk.said(error)}", file=sys.stderr)
            raise typer.Exit(FerError.exit_code) from error
        print(f"error: {error.strerror or error}: {error.filename or 'no file'}", file=sys.stderr)
        raise typer.Exit(FerError.exit_code) from error
    except KeyboardInterrupt as interrupt:
        print(interrupted, file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from interrupt


def run(app: typer.Typer) -> int:
    """Run a command line: 0, or the exit code of what was wrong, said in one line."""
    try:
        return int(app(standalone_mode=False) or 0)
    except TyperException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        return FerError.exit_code


def show(table: "Table") -> None:
    """Print a table, as wide as the terminal or, where there is none, as a page."""
    from rich.console import Console  # takes time, which --help has not

    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_COLUMNS).print(table)


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt
