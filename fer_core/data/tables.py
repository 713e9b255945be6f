"""Find and read the CSV tables that come with datasets.

The adapters in `datasets` use it for label lists. Tables may lie a little deeper than the folder
that the user names, may begin with a byte order mark, and may have column names in any case.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fer_core.data.media import is_junk
from fer_core.errors import DataError


def find(root: Path, name: str) -> Path | None:
    """Find a file or folder of this name in the root or at most two folders below it.

    It looks no deeper, because that is where thousands of images lie. None if it is not there.
    """
    for folders in ([root], root.glob("*/"), root.glob("*/*/")):
        for folder in sorted(folders):
            junk = any(map(is_junk, folder.relative_to(root).parts))  # such as __MACOSX
            if not junk and os.path.lexists(folder / name):
                return folder / name
    return None


def need(root: Path, name: str) -> Path:
    """Find a file or folder as `find` does.

    Raises: DataError if it is not there.
    """
    found = find(root, name)
    if found is None:
        raise DataError(
            f"{root} holds no {name}, which this dataset needs; docs/datasets.md shows its layout."
        )
    return found


def header(table: Path) -> list[str]:
    """Read the names of a table's columns, in lower case; an empty list if it is not a table."""
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            return [name.strip().lower() for name in next(csv.reader(file), [])]
        except csv.Error:
            return []


def rows(table: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row of a CSV table with its line number; the keys are column names in lower case.

    Raises: DataError if one of these columns is missing, or the table cannot be read as CSV.
    """
    names, line = header(table), 1
    if missing := [column for column in columns if column not in names]:
        raise DataError(
            f"{table} has no column {', '.join(missing)}; docs/datasets.md shows its columns."
        )
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True)
            for cells in reader:
                line = reader.line_num
                if cells and line > 1:
                    values = zip(names, map(str.strip, cells), strict=False)
                    yield line, dict.fromkeys(names, "") | dict(values)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{table} cannot be read after line {line}: it must be UTF-8 ({error.reason})."
        ) from error
    except csv.Error as error:
        raise DataError(f"{table} cannot be read as CSV after line {line}: {error}.") from error
