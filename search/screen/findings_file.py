"""Write all findings about a dataset into a CSV, since a screen shows the first few of each kind.

`search.run` writes what it leaves out, `search.doctor` writes all that it found. The file is
`<dataset>-findings.csv` in the current folder, or in the temporary one if nothing can be written
here; the message names it.
"""

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from fer_core.data.manifest import Manifest, NoClipError
from fer_core.storage.files import write_atomically

LEFT_OUT, SKIPPED = "left out", "skipped"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One finding. The fields are the columns of the file."""

    kind: str  # such as "left out", or another kind of the checkup
    path: str  # below the folder of the dataset
    place: str  # where a table lists it, such as "labels.csv, line 7"; empty if none does
    reason: str


def rows(
    kind: str, pairs: Iterable[tuple[str, str]], places: Mapping[str, str] | None = None
) -> list[Row]:
    """Make rows of pairs of a path and a reason."""
    where = places or {}
    return [
        Row(kind=kind, path=path, place=where.get(path, ""), reason=reason)
        for path, reason in pairs
    ]


def left_out(manifest: Manifest) -> list[Row]:
    """Make rows of all that is left out of a dataset."""
    return rows(LEFT_OUT, manifest.left_out, dict(manifest.places))


def write(dataset: str, findings: Iterable[Row], chosen: Path | None = None) -> Path:
    """Write findings into the file of their dataset, in place of what it had, and name it.

    The user may have `chosen` another file.

    Raises: OSError if the chosen file cannot be written.
    """
    text = io.StringIO(newline="")
    names = [field.name for field in fields(Row)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(each, name) for name in names] for each in findings)
    content = text.getvalue().encode("utf-8", "surrogateescape")
    if chosen is not None:
        write_atomically(chosen, content)
        return chosen
    file = Path(f"{dataset}-findings.csv")
    try:
        write_atomically(file, content)
    except OSError:  # the folder is another user's, or its disk is full
        file = Path(tempfile.mkdtemp(prefix="fer-search-")) / file
        write_atomically(file, content)
    return file


@contextmanager
def kept(dataset: str) -> Iterator[None]:
    """Write the reasons to the file as well if all clips of a dataset are left out.

    Raises: DataError that names the file.
    """
    try:
        yield
    except NoClipError as error:
        file = write(dataset, rows(LEFT_OUT, error.left_out, dict(error.places)))
        raise type(error)(f"{error} All are listed in {file}.", error.left_out) from error
