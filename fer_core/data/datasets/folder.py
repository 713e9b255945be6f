"""Any folder of images or videos, labelled by a table or by the names of its files.

The table is `manifest.csv`, or the only other table at the top of the folder that has the columns
`path`, `subject` and `emotion`; a column `authenticity` is optional. The user may say what the
columns are called. Paths are relative to the folder, and lead to a file or to a folder of frames.
Without a table, the label and the subject are read from the path; see `folder_layout`. Labels are
taken as they are written. The user may give a pattern that finds the subject in the path of each
file, or a second table that names the subject of each clip.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fer_core.data import subjects
from fer_core.data.dataset import Dataset
from fer_core.data.datasets import folder_layout, folder_rules
from fer_core.data.datasets.folder_layout import Layout
from fer_core.data.datasets.folder_rules import COLUMNS, Rules
from fer_core.data.labels import AUTHENTICITIES, Authenticity
from fer_core.data.manifest import Manifest
from fer_core.data.reading import Faulty, Labels, Verdict, by_table
from fer_core.data.tables import subject_table, tables
from fer_core.errors import DataError, unknown
from fer_core.storage.file_names import is_junk
from fer_core.storage.tables.table_format import plain_text
from fer_core.storage.tables.table_paths import TablePaths

ARCHIVES = frozenset((".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz"))
_SHOWN = 8  # labels, and columns, that a sentence names
_FIRST = 3  # subjects that a sentence names

_Read = tuple[list[tuple[Path, Verdict]], Layout, list[str]]  # and what else is to be said


def manifest(root: Path, rules: Rules | None = None) -> Manifest:
    """Read a folder by its table, or by the paths of its files if there is none.

    Raises: DataError if there is nothing to read, or if the pattern fits not all files.
    """
    rules = rules or Rules()
    table = _table(root, rules)
    judged, layout, remarks = (
        _by_place(root, rules) if table is None else _by_table(root, table, rules)
    )
    if not judged:
        raise DataError(_nothing(root, table, rules))
    if rules.pattern is not None:
        judged = _named(root, judged, rules.pattern)
    if rules.subjects is not None:
        judged, more = subject_table.name(root, judged, rules.subjects, rules.columns)
        remarks += more
    read = by_table("folder", root, _in_one_form(judged))
    return replace(read, remarks=(_understood(read, layout), *_alike(read), *remarks))


def _nothing(root: Path, table: Path | None, rules: Rules) -> str:
    """Say why a folder holds no clip at all."""
    if table is not None:
        return f"{table} names the columns, and has no rows."
    archives = sorted(path.name for path in root.iterdir() if path.suffix.lower() in ARCHIVES)
    packed = f" Unpack {archives[0]} first." if archives else ""
    return (
        f"{root} holds no labelled images or videos: it needs a manifest.csv with the columns "
        f"{','.join(rules.needed)}, or files named <label>/<subject>_<anything>.jpg.{packed}"
    )


def _in_one_form(judged: Sequence[tuple[Path, Verdict]]) -> list[tuple[Path, Verdict]]:
    """Write a label, or a subject, in one way where its accents are written in several ways."""
    labels = [verdict for _, verdict in judged if isinstance(verdict, Labels)]
    names = {*(each.emotion for each in labels), *(each.subject or "" for each in labels)}
    plain = {name: plain_text(name) for name in names}
    several = Counter(plain.values())
    one = {name: text if several[text] > 1 else name for name, text in plain.items()}

    def rewritten(verdict: Verdict) -> Verdict:
        if not isinstance(verdict, Labels):
            return verdict
        subject = None if verdict.subject is None else one[verdict.subject]
        return replace(verdict, emotion=one[verdict.emotion], subject=subject)

    return [(path, rewritten(verdict)) for path, verdict in judged]


def _alike(read: Manifest) -> Iterator[str]:
    """Name labels that are written almost alike, and so are classes of their own."""
    for names in subjects.similar_names(clip.emotion for clip in read.clips):
        yield f"labels that are written almost alike are classes of their own: {', '.join(names)}"


def _table(root: Path, rules: Rules) -> Path | None:
    """Find the table of labels; None if there is none. A zip file may leave a folder around it."""
    for place in (root, *_only_folders(root)):
        if (found := _table_in(place, rules)) is not None:
            return found
    if rules.columns and rules.subjects is None:
        _refuse_columns(root, rules)
    return None


def _only_folders(root: Path) -> Iterator[Path]:
    """Yield the single folder in the root, the single one in that, and so on."""
    inside = [path for path in root.iterdir() if path.is_dir() and not is_junk(path.name)]
    if len(inside) == 1:
        yield inside[0]
        yield from _only_folders(inside[0])


def _table_in(root: Path, rules: Rules) -> Path | None:
    """Find the table of labels at the top of a folder. Other tables may lie beside it."""
    named = root / "manifest.csv"
    if named.is_file():
        return named
    found = [path for path in _tables(root, rules) if folder_rules.fit(path, rules)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(
            f"{root} has several tables of labels, {names}; rename the right one to manifest.csv."
        )
    return found[0] if found else None


def _tables(root: Path, rules: Rules, suffixes: frozenset[str] = tables.SUFFIXES) -> list[Path]:
    """List the tables at the top of the folder, but not that of the subjects."""
    return [
        path
        for path in sorted(root.iterdir())
        if path.suffix.lower() in suffixes
        and not path.name.startswith(".")
        and path.is_file()
        and path != rules.subjects
    ]


def _refuse_columns(root: Path, rules: Rules) -> None:
    """Say which columns the likeliest table has, since the user named some that none has."""
    found = _tables(root, rules)
    if not found:
        named = " ".join(f"--column {ours}={theirs}" for ours, theirs in rules.columns.items())
        raise DataError(f"{named} is for a table at the top of {root}, and there is none.")
    needed = {rules.theirs(column) for column in rules.needed}
    nearest = max(found, key=lambda path: len(needed & {*tables.header(path, needed)}))
    folder_rules.check_columns(nearest, rules)


def _by_table(root: Path, table: Path, rules: Rules) -> _Read:
    """Judge what the rows of a table name, and say how the table was read."""
    folder_rules.check_columns(table, rules)
    rules = rules.of(tables.header(table))
    paths = tables.paths(root, table, rules.theirs("path"))
    found = [*_rows(root, table, rules, paths)]
    judged = [*_joined(root, found)]
    who = f"column '{rules.theirs('subject')}'"
    if rules.needed != COLUMNS:
        who = "the pattern" if rules.pattern is not None else "the table of subjects"
    remarks = []
    if repeated := len(found) - len(judged):
        remarks.append(f"{table.name}: rows that name the file of a row before them: {repeated}")
    if unusual := str(tables.format_of(table, [rules.theirs(c) for c in rules.needed])):
        remarks.append(f"{table.name} is read with {unusual}")
    if paths.begin is not None:
        theirs, ours = paths.begin
        begins = f"begin with '{theirs}', which is taken for" if theirs else "are taken to begin in"
        remarks.append(f"{table.name}: its paths {begins} {root / ours}")
    if paths.other_case:
        (theirs, file), count = paths.other_case[0], len(paths.other_case)
        remarks.append(
            f"{table.name}: names in another case than their files have: {count}, such as "
            f"{theirs} for {file}"
        )
    return judged, Layout(f"column '{rules.theirs('emotion')}' of {table.name}", who), remarks


def _rows(
    root: Path, table: Path, rules: Rules, paths: TablePaths
) -> Iterator[tuple[Path, Verdict]]:
    """Judge each row of a table. A row that is wrong is a clip that is left out."""
    for line, row in tables.rows(table, rules.needed, rules.columns, with_faulty=True):
        place = f"{table.name}, line {line}"
        path = paths.find(row["path"]) if row["path"] else None
        authenticity = row.get("authenticity", "")
        if row.fault is not None:
            yield root / place, Faulty(row.fault, place)
        elif empty := [column for column in rules.needed if not row[column]]:
            column = rules.theirs(empty[0])
            yield path or root / place, Faulty(f"the column '{column}' is empty", place)
        elif path is None:
            why = f"its path '{row['path']}' lies outside {root}"
            yield root / place, Faulty(why, place)
        elif authenticity and authenticity not in AUTHENTICITIES:
            why = unknown("authenticity", authenticity, AUTHENTICITIES).rstrip(".")
            yield path, Faulty(why, place)
        else:
            yield (
                path,
                Labels(
                    subject=row.get("subject") if "subject" in rules.needed else None,
                    emotion=row["emotion"],
                    authenticity=_authenticity(authenticity),
                    place=place,
                ),
            )


def _joined(root: Path, judged: Iterable[tuple[Path, Verdict]]) -> Iterator[tuple[Path, Verdict]]:
    """Join the rows that name one file; if they contradict each other, the file is left out."""
    rows: dict[Path, list[Verdict]] = {}
    for path, verdict in judged:
        rows.setdefault(path, []).append(verdict)
    for path, verdicts in rows.items():
        labelled = [verdict for verdict in verdicts if isinstance(verdict, Labels)]
        if len(labelled) > 1 and len({replace(each, place=None) for each in labelled}) > 1:
            lines = " and ".join(str(verdict.place) for verdict in labelled[:2])
            yield path, Faulty(f"it is labelled differently by {lines}", labelled[0].place)
        else:
            yield from ((path, verdict) for verdict in labelled[:1])
        for verdict in verdicts:
            if isinstance(verdict, Faulty):  # beside a sound row of the file, it is the row's fault
                yield (root / str(verdict.place) if labelled else path), verdict


def _by_place(root: Path, rules: Rules) -> _Read:
    """Judge the files by their places. A table that was to label them is not passed over.

    Raises: DataError if their places give no two labels, and there is such a table.
    """
    judged, layout = folder_layout.judged(
        root, rules.pattern, named_elsewhere=rules.subjects is not None
    )
    labels = {verdict.emotion for _, verdict in judged if isinstance(verdict, Labels)}
    remarks = []
    found = {table: tables.header(table) for table in _tables(root, rules)}
    alike = {table: folder_rules.likeness(table, names, rules) for table, names in found.items()}
    meant = max(alike, key=lambda table: alike[table], default=None)
    if meant is not None:
        if not labels or (len(labels) == 1 and alike[meant] > 1):
            folder_rules.check_columns(meant, rules)
        if alike[meant] == len(rules.needed):
            flags = folder_rules.flags(meant, found[meant], rules)
            remarks.append(f"{meant.name} is not used; to read the labels from it, give {flags}")
    sheets = _tables(root, rules, tables.SPREADSHEETS)
    if sheets and len(labels) < 2:
        tables.check_columns(sheets[0], [], rules.needed)
    return judged, layout, remarks


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


def _understood(read: Manifest, layout: Layout) -> str:
    """Say in one sentence which labels and subjects were read, and from where."""
    counts = Counter(clip.emotion for clip in read.clips)
    labels = [f"{name} {count}" for name, count in sorted(counts.items())]
    people = read.subjects
    return (
        f"labels: {_some(labels, _SHOWN)} ({layout.labels}); subjects: {len(people)}, "
        f"{_some(people, _FIRST)} ({layout.subjects})"
    )


def _some(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _authenticity(value: str) -> Authenticity | None:
    return next((name for name in AUTHENTICITIES if name == value), None)


DATASET = Dataset(manifest=manifest)
