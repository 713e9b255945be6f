"""The tables that come with datasets: where they lie, and their rows."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fer_core.errors import DataError


def find(root: Path, name: str) -> Path | None:
    """Find a file or folder in the root, or else at most two folders below: images lie deeper."""
    for folders in ([root], root.glob("*/"), root.glob("*/*/")):
        for folder in sorted(folders):
            if os.path.lexists(folder / name):
                return folder / name
    return None


def need(root: Path, name: str) -> Path:
    """Find a file as `find` does.

    Raises: DataError where there is none.
    """
    found = find(root, name)
    if found is None:
        raise DataError(f"{root} holds no {name}; see README, Datasets.")
    return found


def header(table: Path) -> list[str]:
    """Read the names of a table's columns, in lower case; none of what is no table."""
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            return [name.strip().lower() for name in next(csv.reader(file), [])]
        except csv.Error:
            return []


def rows(table: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the lines of a CSV table with their numbers; columns are named in lower case.

    Raises: DataError where a column is missing or the table cannot be read.
    """
    names, line = header(table), 1
    if missing := [column for column in columns if column not in names]:
        raise DataError(f"{table} has no column {', '.join(missing)}; see README, Datasets.")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True)
            for cells in reader:
                line = reader.line_num
                if cells and line > 1:
                    values = zip(names, map(str.strip, cells), strict=False)
                    yield line, dict.fromkeys(names, "") | dict(values)
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8 after line {line}: {error.reason}.") from error
    except csv.Error as error:
        raise DataError(f"{table} is no CSV after line {line}: {error}.") from error
