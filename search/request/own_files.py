"""Read what the user says of their own files: a table's columns, and the table of the subjects.

`settings` and `search.doctor` check it here before a dataset is read; `fer_core.data.datasets.load`
takes it as it is.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_core.errors import FerError


def check(
    dataset: str,
    subject_pattern: str | None,
    columns: Mapping[str, str],
    subject_table: str | None,
) -> None:
    """Refuse what the user says of their own files if it cannot be used with this dataset.

    Raises: FerError that names the option.
    """
    from fer_core.data.datasets import check_rules  # imports all datasets

    check_rules(dataset, subject_pattern, columns, subject_table)
    if subject_table is not None and not os.path.isfile(subject_table):
        raise FerError(f"--subjects: file {subject_table} does not exist.")


def columns_of(pairs: Sequence[str]) -> dict[str, str]:
    """Read NAME=THEIRS pairs: what the user's table calls each of our columns.

    Raises: FerError if it is no such pair, or a name comes twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, theirs = (part.strip() for part in pair.partition("="))
        if not name or not equals or not theirs:
            raise FerError(
                f"--column is '{pair}'; it must be NAME=THEIRS, as in subject=person_id."
            )
        if name in found:
            raise FerError(f"--column names '{name}' twice: {found[name]} and {theirs}.")
        found[name] = theirs
    return found


def placed(table: str, root: str | None) -> str:
    """Write where a table is: below the folder of the dataset if it lies there, so that it moves
    with the dataset, or else with its absolute path.
    """
    absolute = Path(table).absolute()
    inside = root is not None and absolute.is_relative_to(root)
    return str(absolute.relative_to(root)) if root and inside else str(absolute)


def rules(given: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """Check what a command's arguments say of the user's own files.

    The result has the names and the forms in which `fer_core.data.datasets.load` takes them.

    Raises: FerError that names the option.
    """
    pattern, columns = given["subject_pattern"], columns_of(given["columns"] or [])
    table = None if given["subject_table"] is None else str(given["subject_table"].absolute())
    check(dataset, pattern, columns, table)
    return {"subject_pattern": pattern, "columns": columns, "subject_table": table}
