"""Note in each board file which study wrote it, and let no other study replace it.

The note is in the Parquet metadata beside the format number. It names the subjects of the study's
split, too, by which `ledger.py` counts how often people were tested: as hashes, because boards are
passed on and the names of people are data.

A board is replaced by its own study alone, and not by a copy of the study's folder. Each driver
that works on a study makes up a random signature, notes it in study.json, and signs the board with
it. A board with a signature that the folder does not know was written by somebody else: by another
study of the same name, or by a copy of the folder that went on elsewhere. A folder that was moved
knows its signatures, so it goes on. `search/session/` calls `sign` before any board is written.
"""

import hashlib
import json
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime

import pyarrow as pa

from fer_core.errors import FerError
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import AnyPath
from search.results import leaderboard, reading
from search.study.folder import Folder, Record

KEY = b"fer_search_origin"  # in the metadata of a file's schema
_DIGITS = 8  # hexadecimal: of 10,000 subjects, two share such a hash in 1 % of all cases
_SETS = ("sealed", "tested", "chosen_on")  # fields that JSON holds as lists
_SIGNATURE_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The study that wrote a board file, and the subjects of its split, as hashes."""

    study: str
    started_at: str
    home: str | None  # the study's folder
    host: str  # the machine of the driver
    signature: str | None  # of the driver; None of a file that no driver wrote
    data_sha256: str
    split_sha256: str | None
    sealed: frozenset[str]  # whom its sealed test reads; of a nested study all subjects
    tested: frozenset[str]  # those of them whose sealed test has begun
    chosen_on: frozenset[str]  # by whose scores its trials were chosen


def of_study(record: Record, *, tested: Iterable[str] = ()) -> Origin:
    """Give the origin of a study's board, as its present driver writes it.

    `tested` are the subjects whose sealed test has begun.
    """
    in_folds = [subject for fold in record.protocol["folds"] for subject in fold]
    sealed = in_folds if record.nested else record.protocol["sealed"]
    return Origin(
        study=record.study,
        started_at=record.started_at,
        home=record.home,
        host=socket.gethostname(),
        signature=record.signatures[-1] if record.signatures else None,
        data_sha256=record.data_sha256,
        split_sha256=record.split_sha256,
        sealed=hashed(record.dataset, sealed),
        tested=hashed(record.dataset, tested),
        chosen_on=hashed(record.dataset, in_folds),
    )


def tested_subjects(record: Record, folder: Folder) -> Iterator[str]:
    """Give the subjects whose sealed test has begun: a study writes down its headlines before."""
    if not record.nested:
        yield from record.protocol["sealed"] if folder.headlines() else ()
        return
    for place, sealed in enumerate(record.protocol["folds"], start=1):
        yield from sealed if folder.outer(place).headlines() else ()


def hashed(dataset: str, subjects: Iterable[str]) -> frozenset[str]:
    """Give a short hash of each subject's name; it depends on the dataset, too."""
    names = (f"{dataset}\0{subject}".encode() for subject in subjects)
    return frozenset(hashlib.sha256(name).hexdigest()[:_DIGITS] for name in names)


def added(schema: pa.Schema, origin: Origin) -> pa.Schema:
    """Add an origin to the metadata of a board's schema."""
    values = asdict(origin) | {name: sorted(getattr(origin, name)) for name in _SETS}
    return schema.with_metadata((schema.metadata or {}) | {KEY: json.dumps(values).encode()})


def read(schema: pa.Schema) -> Origin | None:
    """Read the origin in a board's schema; None for a file of an earlier version.

    Raises: ValueError where it is damaged.
    """
    text = (schema.metadata or {}).get(KEY)
    if text is None:
        return None
    found = json.loads(text)
    try:
        values = {each.name: found[each.name] for each in fields(Origin)}
        return Origin(**values | {name: frozenset(values[name]) for name in _SETS})
    except (KeyError, TypeError) as error:
        raise ValueError(f"its note of the study that wrote it is damaged: {error}") from error


def sign(folder: Folder, record: Record, notify: Callable[[str], None]) -> Record:
    """Give the record with a signature of this driver, to be written before any board is.

    `notify` is given a line if the study was last run in another folder.

    Raises: FerError if the board's file under the study's name is not this study's.
    """
    is_new = not (folder.path / "study.json").is_file()
    signatures = [] if is_new else folder.record().signatures
    record, file = replace(record, signatures=signatures), leaderboard.path(record)
    _rename_hidden(file, record)
    found = _read_own(file) if file.is_file() else None
    if found is not None:
        _check(file, *found, folder, record, notify)
    return replace(record, signatures=[*signatures, secrets.token_hex(_SIGNATURE_BYTES)])


def _rename_hidden(file: AnyPath, record: Record) -> None:
    """Rename the board that an earlier version gave a name which pandas passes over."""
    before = file.parent / f"{record.study}.parquet"
    if before == file or file.is_file() or not before.is_file():
        return
    found = _read_own(before)
    if found is not None and found[1] is not None and found[1].signature in record.signatures:
        write_atomically(file, before.read_bytes())
        before.unlink()


def _read_own(file: AnyPath) -> tuple[pa.Table, Origin | None] | None:
    """Read a board; None if it is damaged, because then it may be replaced."""
    try:
        table = reading.read_file(file)
        return table, read(table.schema)
    except (FerError, ValueError):
        return None


def _check(
    file: AnyPath,
    table: pa.Table,
    writer: Origin | None,
    folder: Folder,
    record: Record,
    notify: Callable[[str], None],
) -> None:
    rename = f"rename the folder {folder.path}, so that it gets a leaderboard of its own"
    if writer is None:
        if not _has_results_of(table, folder):
            raise FerError(f"{file} is the leaderboard of another study of that name; {rename}.")
        return
    place = f"in {writer.home} on {writer.host}"
    if writer.signature not in record.signatures:
        if writer.started_at == record.started_at:
            owner = f"was written by a copy of this study, {place}, since this folder last was"
        else:
            owner = f"is the leaderboard of another study of that name, {place}"
        raise FerError(f"{file} {owner}; {rename}.")
    if writer.home != record.home:
        notify(f"this study was last run {place}; if that folder is still used, {rename}")


def _has_results_of(table: pa.Table, folder: Folder) -> bool:
    """Return whether a board of an earlier version has a result of this folder, or none at all."""
    columns = table.select(["trial", "source", "started_at"]).to_pylist()
    rows = {row["trial"]: row["started_at"] for row in columns if row["source"] != "published"}
    results = folder.results(list(rows))
    started = {number: datetime.fromisoformat(each.started_at) for number, each in results.items()}
    return not rows or any(rows[number] == time for number, time in started.items())
