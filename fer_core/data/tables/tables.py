"""Find and read the CSV tables that come with datasets, however they were saved.

The adapters in `datasets` use it for label lists. Tables may lie a little deeper than the folder
that the user names. How they were saved is found from their content by `table_format`, and names of
columns count in any case.
"""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from fer_core.errors import DataError
from fer_core.storage.file_names import is_junk
from fer_core.storage.tables.table_format import (
    LENIENT,
    Format,
    column_key,
    head,
    records,
    trimmed,
)
from fer_core.storage.tables.table_paths import TablePaths

SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".txt"})
SPREADSHEETS = frozenset({".xlsx", ".xls", ".ods", ".numbers"})
_TRIED_ROWS = 50  # of a table, from which it is learnt where its paths begin
_SPREADSHEET_BYTES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # a zip file, and an old Excel file
# How R, pandas, SQL and spreadsheets write that a value is missing.
MISSING = frozenset({"NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"})
# What people call the columns that we need, the usual word first.
SYNONYMS = {
    "path": ("path", "file", "filename", "image", "img", "picture", "photo", "video", "clip"),
    "subject": ("subject", "person", "participant", "individual", "identity", "actor", "id"),
    "emotion": ("emotion", "label", "expression", "class", "category", "target", "affect"),
    "authenticity": ("authenticity", "genuine", "acted", "posed", "spontaneous"),
}


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


def header(table: Path, wanted: Collection[str] = ()) -> list[str]:
    """Read the names of a table's columns, as by `column_key`; an empty list if it has none.

    `wanted` are names that it may have; they help to find the separator.
    """
    names, _ = head(table, wanted)
    return names


def format_of(table: Path, wanted: Collection[str] = ()) -> Format:
    """Find out how a table was saved."""
    _, found = head(table, wanted)
    return found


class Row(dict[str, str]):
    """The cells of a row, by the names of their columns as by `column_key`."""

    fault: str | None = None  # why nobody knows which cell is in which column


def rows(
    table: Path,
    columns: Sequence[str],
    renamed: Mapping[str, str] | None = None,
    *,
    with_faulty: bool = False,
) -> Iterator[tuple[int, Row]]:
    """Yield each row of a table with its line number; a cell with a word of MISSING is empty.

    `renamed` says what this table calls some of the columns: {"subject": "person_id"}.

    `with_faulty`: yield rows with a `fault`, too, for a caller that looks at it.

    Raises: DataError if one of these columns is missing, or at the first row with a fault.
    """
    theirs = {name: column_key(other) for name, other in (renamed or {}).items()}
    needed = [theirs.get(column, column) for column in columns]
    names, found = head(table, needed)
    check_columns(table, names, needed)
    with table.open(encoding=found.encoding, errors=LENIENT, newline="") as file:
        for number, (line, cells) in enumerate(records(file, found, len(names))):
            if number > found.head and any(whole := list(map(trimmed, cells))):
                row = _row(names, whole, theirs)
                if row.fault is not None and not with_faulty:
                    raise DataError(f"{table}, line {line}: {row.fault}.")
                yield line, row


def _row(names: Sequence[str], cells: Sequence[str], theirs: Mapping[str, str]) -> Row:
    row = Row(dict.fromkeys(names, ""))
    row.update(zip(names, ("" if cell in MISSING else cell for cell in cells), strict=False))
    row.update({name: row[other] for name, other in theirs.items() if other in row})
    if any(cells[len(names) :]):
        row.fault = (
            f"the row has {len(cells)} cells and the first line names {len(names)} columns; put a "
            "cell that holds the separator in quotes, and save no names of rows"
        )
    return row


def paths(root: Path, table: Path, column: str, *, deeper: bool = True) -> TablePaths:
    """Give what finds the files below a folder that a column of a table names.

    `deeper`: its paths may also begin in a folder below that one.
    """
    found = TablePaths(root)
    sample = islice(rows(table, [column], with_faulty=True), _TRIED_ROWS)
    found.learn((row[column] for _, row in sample), deeper=deeper)
    return found


def check_columns(table: Path, names: Sequence[str], needed: Sequence[str], more: str = "") -> None:
    """Refuse a table that lacks a needed column, or has it twice; `more` ends the message.

    Raises: DataError that says which columns the table has.
    """
    if is_spreadsheet(table):
        raise DataError(
            f"{table} is a spreadsheet, which is not read; save it as CSV (UTF-8) beside it."
        )
    if missing := [column for column in needed if column not in names]:
        here = ", ".join(filter(None, names)) or "no columns at all"
        raise DataError(
            f"{table} has no column {', '.join(missing)}; its first line has {here}"
            f"{more or '; docs/datasets.md shows its columns.'}"
        )
    counts = Counter(names)
    if twice := [column for column in needed if counts[column] > 1]:
        raise DataError(f"{table} has several columns '{twice[0]}'; rename all but one of them.")


def likely(column: str, names: Sequence[str]) -> str | None:
    """Name the column that a table most likely has for ours, such as person_id for subject."""
    words = SYNONYMS.get(column, [column])
    for word in words:
        for name in names:
            if word in re.split(r"[^a-z0-9]+", name) or name == word.replace("_", " "):
                return name
    joined = [name for word in words if len(word) > 3 for name in names if word in name]
    return next(iter([*joined, *get_close_matches(column, names, n=1)]), None)


def is_spreadsheet(table: Path) -> bool:
    """Return whether a file is a spreadsheet, by its suffix or its first bytes."""
    if table.suffix.lower() in SPREADSHEETS:
        return True
    with table.open("rb") as file:
        return file.read(4) in _SPREADSHEET_BYTES


def whole(number: str) -> str:
    """Write a whole number plainly: 3 for `3.0` or `3,0`; other text stays as it is.

    Spreadsheets and pandas write a column of codes with decimals as soon as one cell is empty.
    """
    match = re.fullmatch(r"([+-]?\d+)[.,]0*", number.strip())
    return match[1] if match else number.strip()
