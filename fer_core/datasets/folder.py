"""Any folder of images or videos, labelled by a table or by where its files lie.

The table is `manifest.csv`, or the one `.csv` at the top, with the columns `path,subject,emotion`
and, if known, `authenticity`; a path is that of a file or of a folder of frames, seen from the
folder. Without such a table a file `<label>/<subject>_<anything>.jpg` tells both. Labels are taken
as they are.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from fer_core.datasets.media import (
    MEDIA_SUFFIXES,
    LeftOut,
    fault,
    without_duplicates,
)
from fer_core.errors import DataError, unknown
from fer_core.labels import AUTHENTICITIES
from fer_core.manifest import Clip, Manifest, build, file_sha256

COLUMNS = ("path", "subject", "emotion")


def manifest(root: Path) -> Manifest:
    """Read any folder."""
    table = _table(root)
    clips, left_out = _by_place(root) if table is None else _by_table(root, table)
    if not clips:
        raise DataError(
            f"{root} holds no labelled media: it needs a manifest.csv with the columns "
            f"{','.join(COLUMNS)}, or files named <label>/<subject>_<anything>.jpg."
        )
    kept, duplicates = without_duplicates(clips)
    return build("folder", root, kept, sorted(left_out + duplicates))


def _table(root: Path) -> Path | None:
    """Find the table of labels; other tables may lie beside it."""
    named = root / "manifest.csv"
    if named.is_file():
        missing = [column for column in COLUMNS if column not in _header(named)]
        if missing:
            raise DataError(f"{named} has no column {', '.join(missing)}; see README, Datasets.")
        return named
    tables = [
        p for p in sorted(root.glob("*.csv")) if p.is_file() and set(COLUMNS) <= set(_header(p))
    ]
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise DataError(f"{root} has several tables of labels, {names}; name one manifest.csv.")
    return tables[0] if tables else None


def _header(table: Path) -> list[str]:
    return next(csv.reader(io.StringIO(_text(table))), [])


def _text(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8: {error.reason} at byte {error.start}.") from error


def _by_table(root: Path, table: Path) -> tuple[list[Clip], LeftOut]:
    clips: list[Clip] = []
    left_out: LeftOut = []
    for line, row in _rows(table):
        place = f"{table}, line {line}"
        name, subject, emotion = (_cell(row, column, place) for column in COLUMNS)
        path = root / name
        if not path.is_relative_to(root) or ".." in Path(name).parts:
            raise DataError(f"{place}: '{name}' lies outside {root}; paths are seen from there.")
        if reason := fault(path):
            left_out.append((name, reason))
        else:
            authenticity = _authenticity(row, place)
            clips.append(_clip(root, path, subject, emotion, authenticity))
    return clips, left_out


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    rows = csv.DictReader(io.StringIO(_text(table)), skipinitialspace=True)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise DataError(f"{table}, line {rows.line_num}: {error}.") from error


def _by_place(root: Path) -> tuple[list[Clip], LeftOut]:
    clips: list[Clip] = []
    left_out: LeftOut = []
    for label in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        for path in sorted(label.iterdir()):
            if path.suffix.lower() not in MEDIA_SUFFIXES or path.name.startswith("."):
                continue
            subject, underscore, _ = path.stem.partition("_")
            unnamed = "its name does not begin with a subject and an underscore"
            reason = fault(path) if subject and underscore else unnamed
            if reason is None:
                clips.append(_clip(root, path, subject, label.name, None))
            else:
                left_out.append((path.relative_to(root).as_posix(), reason))
    return clips, left_out


def _clip(root: Path, path: Path, subject: str, emotion: str, authenticity: str | None) -> Clip:
    return Clip(
        clip=path.relative_to(root).as_posix(),
        subject=subject,
        emotion=emotion,
        authenticity=authenticity,
        path=path,
        sha256=file_sha256(path),
    )


def _cell(row: dict[str, str | None], column: str, place: str) -> str:
    value = (row.get(column) or "").strip()
    if not value:
        raise DataError(f"{place}: the column '{column}' is empty; every clip needs one.")
    return value


def _authenticity(row: dict[str, str | None], place: str) -> str | None:
    value = (row.get("authenticity") or "").strip()
    if not value:
        return None
    if value not in AUTHENTICITIES:
        raise DataError(f"{place}: {unknown('authenticity', value, AUTHENTICITIES)}")
    return value
