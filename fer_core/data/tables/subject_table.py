"""Name the subjects of clips by a second table, which the user gives with `--subjects`.

The table has a column for the clip (its path, or its file name with or without the suffix) and a
column `subject`. A clip that the table does not name is left out, and so counts as missing: as a
subject of its own it could be a person who is on another side of the split.
"""

import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from fer_core.data.manifest import Manifest, build
from fer_core.data.reading import Faulty, Labels, Verdict
from fer_core.data.tables import tables
from fer_core.errors import DataError
from fer_core.storage.tables.table_format import column_key

# What the column with the clips may be called without being told.
CLIPS = ("path", "file", "filename", "file name", "file_name", "clip", "image", "name", "video")
UNNAMED = "the table of subjects does not name it"


def name(
    root: Path, judged: Sequence[tuple[Path, Verdict]], table: Path, columns: Mapping[str, str]
) -> tuple[list[tuple[Path, Verdict]], list[str]]:
    """Give every labelled clip the subject that the table names, and say what is odd of the table.

    Raises: DataError if the table cannot be read, or names none of the clips.
    """
    clips = [path.relative_to(root).as_posix() for path, each in judged if isinstance(each, Labels)]
    found = _found(root, clips, table, columns)
    named: list[tuple[Path, Verdict]] = []
    for path, verdict in judged:
        if isinstance(verdict, Labels):
            subject = found.subjects[path.relative_to(root).as_posix()]
            if isinstance(subject, Faulty):
                verdict = replace(subject, place=subject.place or verdict.place)
            else:
                verdict = replace(verdict, subject=subject)
        named.append((path, verdict))
    return named, found.remarks


def apply(manifest: Manifest, table: Path, columns: Mapping[str, str]) -> Manifest:
    """Name the subjects of a dataset that names none itself.

    Raises: DataError if the table cannot be read, names none of the clips, or no subject.
    """
    found = _found(manifest.root, [clip.clip for clip in manifest.clips], table, columns)
    clips, left_out, places = [], [*manifest.left_out], [*manifest.places]
    for clip in manifest.clips:
        subject = found.subjects[clip.clip]
        if isinstance(subject, Faulty):
            left_out.append((clip.clip, subject.reason))
            places += [(clip.clip, subject.place)] if subject.place else []
        else:
            clips.append(replace(clip, subject=subject))
    checked = build(manifest.dataset, manifest.root, clips, left_out=left_out, places=dict(places))
    return replace(
        manifest,
        clips=checked.clips,
        left_out=checked.left_out,
        places=checked.places,
        remarks=(*manifest.remarks, *found.remarks),
    )


@dataclass(frozen=True)
class _Found:
    """The subject of each clip, or why it has none; and what is odd of the table."""

    subjects: dict[str, str | Faulty]
    remarks: list[str]


def _found(root: Path, clips: Sequence[str], table: Path, columns: Mapping[str, str]) -> _Found:
    rows, unusual = _rows(root, table, columns)
    paths = {clip: PurePosixPath(_plain(clip)) for clip in clips}
    files = Counter(path.name for path in paths.values())
    stems = Counter(path.stem for path in paths.values())
    used: set[str] = set()
    subjects: dict[str, str | Faulty] = {}
    for clip, path in paths.items():
        keys = {path.stem: stems[path.stem], path.name: files[path.name], str(path): 1}
        key = next((each for each in (str(path), path.name, path.stem) if each in rows), None)
        if key is None:
            subjects[clip] = Faulty(UNNAMED)
            continue
        used.add(key)
        if keys[key] > 1:
            line = f"{table.name}, line {rows[key][0][0]}"
            why = f"the table of subjects names '{key}', which several clips are called"
            subjects[clip] = Faulty(why, line)
        else:
            subjects[clip] = _subject(table, rows[key])
    if clips and not used:
        first = f"its first row is '{next(iter(rows))}'" if rows else "it has no row"
        raise DataError(
            f"{table} names none of the {len(clips)} clips below {root}: {first}, and the first "
            f"clip is '{min(clips)}'."
        )
    if others := [key for key in rows if key not in used]:
        number = rows[others[0]][0][0]
        unusual.append(
            f"{table.name}: {len(others)} of {len(rows)} rows name no clip here, the first is "
            f"'{others[0]}' in line {number}"
        )
    return _Found(subjects, unusual)


def _rows(
    root: Path, table: Path, columns: Mapping[str, str]
) -> tuple[dict[str, list[tuple[int, str]]], list[str]]:
    """Read the lines and the subjects of each clip that the table names; and what is unusual.

    Raises: DataError if the table has no column for the clips, or none for the subjects.
    """
    if not table.is_file():
        raise DataError(f"--subjects: file {table} does not exist.")
    wanted = [column_key(name) for name in (*columns.values(), *CLIPS, "subject")]
    names = tables.header(table, wanted)
    of_clip = column_key(columns.get("path", "path"))
    if of_clip not in names:  # the option may be meant for the table of labels
        of_clip = next((each for each in CLIPS if each in names), of_clip)
    of_subject = column_key(columns.get("subject", "subject"))
    likely = {"path": of_clip, "subject": of_subject}
    flags = [
        shlex.join(["--column", f"{ours}={tables.likely(ours, names) or 'NAME'}"])
        for ours, theirs in likely.items()
        if theirs not in names
    ]
    tables.check_columns(table, names, [of_clip, of_subject], f"; give {' '.join(flags)}.")
    paths = tables.paths(root, table, of_clip, deeper=False)  # files may be called by name alone
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, row in tables.rows(table, [of_clip, of_subject]):
        path = paths.find(row[of_clip]) if row[of_clip] else None
        known = path is not None and path.exists()
        key = path.relative_to(root).as_posix() if path and known else row[of_clip]
        found[_plain(key)].append((number, row[of_subject]))
    unusual = str(tables.format_of(table, wanted))
    return found, [f"{table.name} is read with {unusual}"] if unusual else []


def _subject(table: Path, rows: Sequence[tuple[int, str]]) -> str | Faulty:
    """Give the one subject that some rows name for a clip."""
    line, subject = rows[0]
    place = f"{table.name}, line {line}"
    if not subject:
        return Faulty("the table of subjects leaves its subject empty", place)
    other = next((row for row in rows if row[1] != subject), None)
    if other is not None:
        why = f"the table of subjects names '{subject}' and, in line {other[0]}, '{other[1]}'"
        return Faulty(why, place)
    return subject


def _plain(name: str) -> str:
    """Write the name of a clip as it is compared."""
    text = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    return text.removeprefix("./")
