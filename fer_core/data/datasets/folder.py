"""Any folder of images or videos, labelled by a table or by the names of its files.

The table is `manifest.csv`, or the only other `.csv` at the top of the folder that has the columns
`path`, `subject` and `emotion`; a column `authenticity` is optional. Paths are relative to the
folder, and lead to a file or to a folder of frames. Without a table, the label and the subject are
read from names such as `<label>/<subject>_<anything>.jpg`. Labels are taken as they are written.
The user may give a pattern that finds the subject in the path of each file. Then the table needs no
column `subject`, and without a table the files may lie deeper: `<label>/<anything>/<anything>.jpg`.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fer_core.data import subjects
from fer_core.data.dataset import Dataset
from fer_core.data.labels import AUTHENTICITIES, Authenticity
from fer_core.data.manifest import Manifest
from fer_core.data.media import MEDIA_SUFFIXES
from fer_core.data.reading import Faulty, Ignored, Labels, Verdict, by_table, walk
from fer_core.data.tables import header, rows
from fer_core.errors import DataError, unknown

COLUMNS = ("path", "subject", "emotion")


def manifest(root: Path, pattern: re.Pattern[str] | None = None) -> Manifest:
    """Read a folder by its table, or by the names of its files if there is none.

    With a `pattern`, that alone says who the subjects are; see `subjects.found`.

    Raises: DataError if there is nothing to read, or if the pattern fits not all files.
    """
    columns = COLUMNS if pattern is None else tuple(c for c in COLUMNS if c != "subject")
    table = _table(root, columns)
    judged = list(_by_table(root, table, columns) if table else _by_place(root, pattern))
    if not judged:
        raise DataError(
            f"{root} holds no labelled images or videos: it needs a manifest.csv with the columns "
            f"{','.join(columns)}, or files named <label>/<subject>_<anything>.jpg."
        )
    return by_table("folder", root, judged if pattern is None else _named(root, judged, pattern))


def _table(root: Path, columns: Sequence[str]) -> Path | None:
    """Find the table of labels; None if there is none. Other tables may lie beside it."""
    named = root / "manifest.csv"
    if named.is_file():
        return named
    tables = [p for p in sorted(root.glob("*.csv")) if p.is_file() and {*columns} <= {*header(p)}]
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise DataError(
            f"{root} has several tables of labels, {names}; rename the right one to manifest.csv."
        )
    return tables[0] if tables else None


def _by_table(root: Path, table: Path, columns: Sequence[str]) -> Iterator[tuple[Path, Verdict]]:
    for line, row in rows(table, columns):
        place = f"{table}, line {line}"
        if empty := [column for column in columns if not row[column]]:
            raise DataError(f"{place}: the column '{empty[0]}' is empty; every clip needs one.")
        path = root / row["path"]
        if not path.is_relative_to(root) or ".." in Path(row["path"]).parts:
            raise DataError(
                f"{place}: '{row['path']}' lies outside {root}; give a path below that folder."
            )
        authenticity = _authenticity(row.get("authenticity", ""), place)
        yield (
            path,
            Labels(subject=row.get("subject"), emotion=row["emotion"], authenticity=authenticity),
        )


def _by_place(root: Path, pattern: re.Pattern[str] | None) -> Iterator[tuple[Path, Verdict]]:
    def judge(path: Path) -> Verdict | None:
        is_media = path.suffix.lower() in MEDIA_SUFFIXES
        if not is_media or path.parent == root or os.path.isdir(path):
            return None
        if pattern is not None:
            return Labels(emotion=path.relative_to(root).parts[0])
        if path.parent.parent != root:
            return Ignored("it lies deeper than <label>/<subject>_<anything>")
        subject, underscore, _ = path.stem.partition("_")
        if not subject or not underscore:
            return Faulty("its name does not begin with a subject and an underscore")
        return Labels(subject=subject, emotion=path.parent.name)

    return walk(root, judge)


def _named(
    root: Path, judged: Sequence[tuple[Path, Verdict]], pattern: re.Pattern[str]
) -> list[tuple[Path, Verdict]]:
    """Give every clip the subject that the pattern finds in its path."""
    named: list[tuple[Path, Verdict]] = []
    without: list[str] = []
    labelled = sum(isinstance(verdict, Labels) for _, verdict in judged)
    for path, verdict in judged:
        if isinstance(verdict, Labels):
            name = path.relative_to(root).as_posix()
            subject = subjects.found(pattern, name)
            if subject is None:
                without.append(name)
            verdict = replace(verdict, subject=subject)
        named.append((path, verdict))
    if without:
        raise DataError(
            f"--subject-pattern '{pattern.pattern}' finds no subject in {len(without)} of "
            f"{labelled} files below {root}; the first is '{without[0]}'. It must match a part of "
            "every path."
        )
    return named


def _authenticity(value: str, place: str) -> Authenticity | None:
    known = next((name for name in AUTHENTICITIES if name == value), None)
    if value and known is None:
        raise DataError(f"{place}: {unknown('authenticity', value, AUTHENTICITIES)}")
    return known


DATASET = Dataset(manifest=manifest)
