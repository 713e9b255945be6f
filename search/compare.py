"""Compare rows of leaderboards for a paper: `python -m search.compare ROW ROW ...`.

Rows of one dataset are compared in pairs, by their predictions of the same clips. Rows of several
datasets are compared as methods, by their ranks. `compare` gives the same from Python.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from fer_core.errors import FerError
from search import command
from search.request import arguments as args
from search.request import machine_arguments as machine_args

if TYPE_CHECKING:
    from search.comparison.comparison import Comparison

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Rows = Annotated[
    list[str],
    Argument(
        metavar="ROW ROW ...",
        help="Two rows or more: STUDY/TRIAL, such as temporal-synthetic-cd90a9/3, or a config_id. "
        "Baselines have numbers below 0. NAME=ROW names the method, which else is the row's "
        "family; across datasets each method needs one row on each.",
    ),
]
Test = Annotated[
    bool,
    Option(
        "--test",
        help="Compare on the sealed subjects rather than on the validation folds. All rows must "
        "have had their sealed test: this tests none.",
    ),
]
AsJson = Annotated[
    bool, Option("--json", rich_help_panel=args.OUTPUT, help="Print everything as JSON.")
]
AsLatex = Annotated[
    bool,
    Option("--latex", rich_help_panel=args.OUTPUT, help="Print the tables for LaTeX's booktabs."),
]
TabArena = Annotated[
    Path | None,
    Option(
        "--tabarena",
        metavar="FILE.csv",
        rich_help_panel=args.OUTPUT,
        help="Also write a CSV file of method, task, seed and error, one line for each fold.",
    ),
]
Diagram = Annotated[
    Path | None,
    Option(
        metavar="FILE.svg|.png|.pdf",
        rich_help_panel=args.OUTPUT,
        help="Also draw the critical-difference diagram of rows of several datasets.",
    ),
]


@app.command()
def main(
    rows: Rows,
    test: Test = False,
    as_json: AsJson = False,
    as_latex: AsLatex = False,
    tabarena: TabArena = None,
    diagram: Diagram = None,
    studies: machine_args.Studies = "studies",
) -> None:
    """Test whether rows of the leaderboard differ, with intervals and corrected p-values."""
    with command.errors_in_one_line("Interrupted."):
        if as_json and as_latex:
            raise FerError("--json and --latex both print; give one of them.")
        _check_files(tabarena, diagram)
        found = compare(rows, studies=studies, sealed=test)
        if diagram is not None:
            _draw(found, diagram)
        if tabarena is not None:
            _write_tabarena(found, tabarena)
        if as_json:
            print(json.dumps(asdict(found), indent=1))
        else:
            _print(found, as_latex=as_latex)


def compare(
    rows: Sequence[str], *, studies: str | PathLike[str] = "studies", sealed: bool = False
) -> "Comparison":
    """Compare rows, each STUDY/TRIAL, a config_id, or NAME=ROW.

    `studies` is a folder or s3://..., as the option --studies names it. With `sealed`, rows are
    compared on the sealed subjects; all must have had their sealed test.

    Raises: FerError for fewer than two rows, and where rows are missing or do not compare.
    """
    from search.comparison import comparison, scored_rows  # import NumPy: too long for --help

    if len(rows) < 2:
        raise FerError("a comparison needs two rows or more.")
    found = scored_rows.read(rows, command.studies_folder(fspath(studies)), sealed=sealed)
    return comparison.compare(found, side="test" if sealed else "val")


def _check_files(tabarena: Path | None, diagram: Path | None) -> None:
    """Refuse files that cannot be written, before the rows are compared."""
    for flag, path in {"--tabarena": tabarena, "--diagram": diagram}.items():
        if path is not None and path.is_dir():
            raise FerError(f"{flag} is {path}, a folder; it must be a file.")
        if path is not None and not path.absolute().parent.is_dir():
            raise FerError(f"{flag} is {path}; the folder {path.absolute().parent} does not exist.")
    if diagram is not None:
        from search.comparison.diagram import check_format  # imports matplotlib

        check_format(diagram)


def _draw(found: "Comparison", path: Path) -> None:
    from search.comparison import diagram  # imports matplotlib

    if found.across is None:
        raise FerError("--diagram needs rows of several datasets.")
    diagram.draw(found.across, path)


def _write_tabarena(found: "Comparison", path: Path) -> None:
    from fer_core.storage.files import write_atomically
    from search.comparison import tabarena

    write_atomically(path, tabarena.text(found).encode())


def _print(found: "Comparison", *, as_latex: bool) -> None:
    from search.comparison import latex, tables

    made, explanations = tables.of(found), tables.explained(found)
    if as_latex:
        print(latex.text(made, explanations))
        return
    for table in made:
        print(table.title)
        command.show(tables.shown(table))
        print()
    print("\n".join(explanations))


if __name__ == "__main__":
    sys.exit(command.run(app))
