"""Any folder of images or videos, labelled by a table or by the names of its files.

The table is `manifest.csv`, or the only other `.csv` at the top of the folder that has the columns
`path`, `subject` and `emotion`; a column `authenticity` is optional. Paths are relative to the
folder, and lead to a file or to a folder of frames. Without a table, the label and the subject are
read from names such as `<label>/<subject>_<anything>.jpg`. Labels are taken as they are written.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from fer_core.data.dataset import Dataset
from fer_core.data.labels import AUTHENTICITIES, Authenticity
from fer_core.data.manifest import Manifest
from fer_core.data.reading import MEDIA_SUFFIXES, Faulty, Ignored, Labels, Verdict, by_table, walk
from fer_core.data.tables import header, rows
from fer_core.errors import DataError, unknown

COLUMNS = ("path", "subject", "emotion")


def manifest(root: Path) -> Manifest:
    """Read a folder by its table, or by the names of its files if there is none."""
    table = _table(root)
    judged = list(_by_table(root, table) if table else _by_place(root))
    if not judged:
        raise DataError(
            f"{root} holds no labelled images or videos: it needs a manifest.csv with the columns "
            f"{','.join(COLUMNS)}, or files named <label>/<subject>_<anything>.jpg."
        )
    return by_table("folder", root, judged)


def _table(root: Path) -> Path | None:
    """Find the table of labels; None if there is none. Other tables may lie beside it."""
    named = root / "manifest.csv"
    if named.is_file():
        return named
    tables = [p for p in sorted(root.glob("*.csv")) if p.is_file() and {*COLUMNS} <= {*header(p)}]
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise DataError(
            f"{root} has several tables of labels, {names}; rename the right one to manifest.csv."
        )
    return tables[0] if tables else None


def _by_table(root: Path, table: Path) -> Iterator[tuple[Path, Verdict]]:
    for line, row in rows(table, COLUMNS):
        place = f"{table}, line {line}"
        if empty := [column for column in COLUMNS if not row[column]]:
            raise DataError(f"{place}: the column '{empty[0]}' is empty; every clip needs one.")
        path = root / row["path"]
        if not path.is_relative_to(root) or ".." in Path(row["path"]).parts:
            raise DataError(
                f"{place}: '{row['path']}' lies outside {root}; give a path below that folder."
            )
        authenticity = _authenticity(row.get("authenticity", ""), place)
        yield (
            path,
            Labels(subject=row["subject"], emotion=row["emotion"], authenticity=authenticity),
        )


def _by_place(root: Path) -> Iterator[tuple[Path, Verdict]]:
    def judge(path: Path) -> Verdict | None:
        if path.parent == root or os.path.isdir(path):
            return None
        if path.suffix.lower() not in MEDIA_SUFFIXES:
            return Ignored("it is neither an image nor a video of a known type")
        if path.parent.parent != root:
            return Ignored("it lies deeper than <label>/<subject>_<anything>")
        subject, underscore, _ = path.stem.partition("_")
        if not subject or not underscore:
            return Faulty("its name does not begin with a subject and an underscore")
        return Labels(subject=subject, emotion=path.parent.name)

    return walk(root, judge)


def _authenticity(value: str, place: str) -> Authenticity | None:
    known = next((name for name in AUTHENTICITIES if name == value), None)
    if value and known is None:
        raise DataError(f"{place}: {unknown('authenticity', value, AUTHENTICITIES)}")
    return known


DATASET = Dataset(manifest=manifest)
