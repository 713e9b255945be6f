"""What the user says of their own files, the dataset `folder`, and whether a table fits it.

A table that lacks a column is refused with the options that name the columns which are probably
meant: by the usual words for them, and for the path by the files that exist.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from fer_core.data.tables import tables
from fer_core.storage.tables.table_format import column_key
from fer_core.storage.tables.table_paths import TablePaths

COLUMNS = ("path", "subject", "emotion")
_TRIED_ROWS = 20  # of a table, in which the column with the paths is looked for


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the user says of their own files."""

    pattern: re.Pattern[str] | None = None  # finds the subject in the path of a file
    columns: Mapping[str, str] = field(default_factory=dict)  # our name: that of the table
    subjects: Path | None = None  # the table that names the subject of each clip

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that the table of labels must have."""
        named = self.pattern is not None or self.subjects is not None
        return tuple(column for column in COLUMNS if column != "subject" or not named)

    def theirs(self, column: str) -> str:
        """Give what the user's table calls one of our columns."""
        return column_key(self.columns.get(column, column))

    def of(self, names: Sequence[str]) -> "Rules":
        """Give the rules for the table of labels with these columns.

        What the user says of columns may be meant for the table of the subjects alone.
        """
        if self.subjects is None:
            return self
        kept = {
            ours: theirs
            for ours, theirs in self.columns.items()
            if column_key(theirs) in names or ours not in names
        }
        return replace(self, columns=kept)


def fit(table: Path, rules: Rules) -> bool:
    """Return whether a table has the columns that the rules name."""
    names = tables.header(table, [rules.theirs(column) for column in rules.needed])
    rules = rules.of(names)
    return {rules.theirs(column) for column in rules.needed} <= {*names}


def check_columns(table: Path, rules: Rules) -> None:
    """Refuse a table without the columns, with the options that would name them.

    Raises: DataError that lists the columns that are there.
    """
    names = tables.header(table, [rules.theirs(column) for column in rules.needed])
    rules = rules.of(names)
    named = [*rules.needed, *(each for each in rules.columns if each not in rules.needed)]
    if "subject" in named and "subject" not in rules.needed:
        named.remove("subject")
    options = flags(table, names, rules)
    more = f"; give {options}." if options else ""
    tables.check_columns(table, names, [rules.theirs(column) for column in named], more)


def likeness(table: Path, names: Sequence[str], rules: Rules) -> int:
    """Count the needed columns that a table has, or probably has under another name.

    The column of the paths is known by what it holds, whatever its name.
    """

    def has(column: str) -> bool:
        named = rules.theirs(column) in names or tables.likely(column, names) is not None
        return named or (column == "path" and _path_column(table, names) is not None)

    return sum(map(has, rules.needed))


def _path_column(table: Path, names: Sequence[str]) -> str | None:
    """Name the column whose first cells name files; None if no column does."""
    paths = TablePaths(table.parent)
    for _, row in islice(tables.rows(table, (), with_faulty=True), _TRIED_ROWS):
        for name in filter(None, names):
            path = paths.find(row[name]) if row[name] else None
            if path is not None and path.is_file():
                return name
    return None


def flags(table: Path, names: Sequence[str], rules: Rules) -> str:
    """Write the options that say which columns are probably meant, of those that a table lacks."""
    lacking = [column for column in rules.needed if rules.theirs(column) not in names]
    others = [column for column in rules.columns if column not in COLUMNS]
    lacking += [column for column in others if rules.theirs(column) not in names]
    likely = {column: tables.likely(column, names) or "NAME" for column in lacking}
    if "path" in likely and (column := _path_column(table, names)):
        likely["path"] = column
    options = [shlex.join(["--column", f"{ours}={theirs}"]) for ours, theirs in likely.items()]
    return " ".join(options)
