"""Let a study's leaderboard file be replaced by that study alone, not by a copy of its folder.

Each driver that works on a study makes up a random signature, notes it in study.json, and signs the
board with it. A board with a signature that the folder does not know was written by somebody else:
by another study of the same name, or by a copy of the folder that went on elsewhere. A folder that
was moved knows its signatures, so it goes on. `search/session.py` calls `sign` first of all.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pyarrow as pa

from fer_core.errors import FerError
from fer_core.storage.paths import AnyPath
from search.results import leaderboard, origin, reading
from search.results.origin import Origin
from search.study.folder import Folder, Record

_BYTES = 8  # of a signature


def sign(folder: Folder, record: Record, notify: Callable[[str], None]) -> Record:
    """Give the record with a signature of this driver, to be written before any board is.

    `notify` is given a line if the study was last run in another folder.

    Raises: FerError if the board's file under the study's name is not this study's.
    """
    is_new = not (folder.path / "study.json").is_file()
    signatures = [] if is_new else folder.record().signatures
    record, file = replace(record, signatures=signatures), leaderboard.path(record)
    found = _read(file) if file.is_file() else None
    if found is not None:
        _check(file, *found, folder, record, notify)
    return replace(record, signatures=[*signatures, secrets.token_hex(_BYTES)])


def _read(file: AnyPath) -> tuple[pa.Table, Origin | None] | None:
    """Read a board; None if it is damaged, because then it may be replaced."""
    try:
        table = reading.read_file(file)
        return table, origin.read(table.schema)
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
