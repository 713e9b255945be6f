"""Keep Optuna's journal in one file, or in S3 as a sequence of objects.

One driver at a time opens a journal, reads it once, and from then on only appends to it.
`search/study/journal.py` uses `file_storage`, which gives Optuna a storage on top of it. Optuna's
own backend instead takes a lock, reads the file again and syncs it at every value that is noted,
some 15 times a trial.

In a file, each line is given to the operating system at once, so a killed driver loses none. The
file is synced to the disk before a worker gets a new trial, so a power cut loses nothing that
matters: how a trial ended is also in its part. S3 cannot append to an object. There a sync writes
the lines since the last sync as an object of their own.
"""

import json
import os
import re
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial

from fer_core.errors import FerError
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import AnyPath, S3Path
from fer_core.storage.s3_requests import at_once
from search.study import marks
from search.study.folder import Folder

Log = dict[str, Any]  # one entry of the journal, as Optuna writes and reads it
_MANY = 100  # objects of a journal in S3 that are joined into one
_DIGITS = 6  # length of the number at the start of a term
_NAME = re.compile(r"\d{6}[0-9a-f]{8}(-\d{9})?")
_SEPARATOR = "-"  # between the term and the first line, in the name of an object


class LogFile(BaseJournalBackend):
    """A journal in a file: one JSON object a line, in Optuna's own format."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:  # a power cut tore the last line; no sync had confirmed it
            os.truncate(path, len(whole))
        self._unread = _Unread(_parsed(whole, path))

    def read_logs(self, log_number_from: int) -> Sequence[Log]:
        return self._unread.since(log_number_from)

    def append_logs(self, logs: list[Log]) -> None:
        """Append all of these lines, or none of them.

        Raises: OSError where the disk is full.
        """
        whole = _lines(logs)
        with self._path.open("ab", buffering=0) as file:
            before, content = os.fstat(file.fileno()).st_size, whole
            try:
                while content:
                    content = content[file.write(content) :]
            except OSError:
                file.truncate(before)
                raise
        self._unread.add(whole)

    def sync(self) -> None:
        """Make the operating system write to the disk what it buffers of the file."""
        with self._path.open("rb") as file:
            os.fsync(file.fileno())


class LogObjects(BaseJournalBackend):
    """A journal in S3: objects of lines, each named by its driver's term and its first line.

    A *term* is one driver's time with the journal, and later terms have greater names. The driver
    that opens the journal first writes an empty object that announces its term, then copies all
    earlier lines into the first object of that term. From then on nobody reads what a driver of an
    earlier term writes, and that driver's next sync fails.
    """

    def __init__(self, path: S3Path) -> None:
        self._path = path
        existing = list(path.glob("*.log"))
        if unknown := [each for each in existing if not _NAME.fullmatch(each.stem)]:
            raise FerError(f"{unknown[0]} is of another version of this search.")
        number = max((int(_term(each)[:_DIGITS]) for each in existing), default=0) + 1
        self._term = f"{number:0{_DIGITS}d}{secrets.token_hex(4)}"
        write_atomically(path / f"{self._term}.log", b"")
        earlier = [each for each in self._current() if _term(each) != self._term]
        with_lines = [each for each in earlier if _SEPARATOR in each.stem]
        last = max(map(_term, with_lines), default="")
        content = _joined([each for each in with_lines if _term(each) == last], path)
        self._unread = _Unread(_parsed(content, path))
        self._count = content.count(b"\n")
        self._unsynced: list[bytes] = []
        self._small: list[tuple[int, bytes]] = []  # written and not joined: first line, content
        write_atomically(self._object(0), content)
        at_once(partial(S3Path.unlink, missing_ok=True), earlier)

    def read_logs(self, log_number_from: int) -> Sequence[Log]:
        return self._unread.since(log_number_from)

    def append_logs(self, logs: list[Log]) -> None:
        whole = _lines(logs)
        self._unsynced.append(whole)
        self._unread.add(whole)

    def sync(self) -> None:
        """Write the lines that were appended since the last sync.

        Raises: FerError where another driver has begun a later term.
        """
        content = b"".join(self._unsynced)
        if content:
            write_atomically(self._object(self._count), content)
        # Checked after the write: a driver that begins a term announces it before it reads, so it
        # has either read these lines, or is seen here.
        self._current()
        if not content:
            return
        self._small.append((self._count, content))
        self._count += content.count(b"\n")
        self._unsynced = []
        if len(self._small) >= _MANY:
            self._join()

    def _join(self) -> None:
        """Join many objects into one; a reader skips those that a kill leaves beside it."""
        objects = [self._object(first) for first, _ in self._small]
        write_atomically(objects[0], b"".join(content for _, content in self._small))
        at_once(partial(S3Path.unlink, missing_ok=True), objects[1:])
        self._small = []

    def _current(self) -> list[S3Path]:
        """List all objects.

        Raises: FerError where another driver has begun a later term.
        """
        objects = list(self._path.glob("*.log"))
        if any(_term(each) > self._term for each in objects):
            raise FerError(f"another process goes on with study {self._path.parent.name}.")
        return objects

    def _object(self, first: int) -> S3Path:
        return self._path / f"{self._term}{_SEPARATOR}{first:09d}.log"


def _joined(objects: Sequence[S3Path], journal: S3Path) -> bytes:
    """Read the lines of these objects, without those that a kill left in two objects.

    Raises: FerError where lines are missing, or another driver has begun a later term.
    """
    try:
        contents = at_once(S3Path.read_bytes, objects)
    except FileNotFoundError as error:  # since we listed it, another driver took it over
        message = f"another process goes on with study {journal.parent.name}."
        raise FerError(message) from error
    whole, lines = [], 0
    for path, content in zip(objects, contents, strict=True):
        first = int(path.stem.partition(_SEPARATOR)[2])
        if first > lines:
            raise FerError(f"{journal} has lost lines {lines} to {first}; it cannot go on.")
        if first == lines:
            whole.append(content)
            lines += content.count(b"\n")
    return b"".join(whole)


def _term(path: S3Path) -> str:
    return path.stem.partition(_SEPARATOR)[0]


def open_log(path: AnyPath) -> LogFile | LogObjects:
    """Open a journal, in a file or in S3, and begin it if it does not exist."""
    return LogObjects(path) if isinstance(path, S3Path) else LogFile(path)


class DurableStorage(JournalStorage):
    """Optuna's storage on a journal, with a `sync` that makes durable what was written so far."""

    def __init__(self, log: LogFile | LogObjects) -> None:
        super().__init__(log)
        self.sync = log.sync


class _Past(BaseJournalBackend):
    """The entries that a journal has, to be looked at; nothing is appended."""

    def __init__(self, logs: Sequence[Log]) -> None:
        self._logs = logs

    def read_logs(self, log_number_from: int) -> Sequence[Log]:
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[Log]) -> None:
        raise AssertionError("a journal that is only looked at is not written")


def past_trials(folder: Folder) -> list[FrozenTrial]:
    """Look at the trials of a study's journal, without opening it as a driver does.

    Raises: FerError where a line of it is damaged.
    """
    path = folder.journal
    storage = JournalStorage(_Past(_parsed(_whole_lines(path), path)))
    if not storage.get_all_studies():
        return []
    return storage.get_all_trials(storage.get_study_id_from_name(marks.STUDY), deepcopy=False)


def _whole_lines(path: AnyPath) -> bytes:
    if isinstance(path, S3Path):
        with_lines = [each for each in path.glob("*.log") if _SEPARATOR in each.stem]
        last = max(map(_term, with_lines), default="")
        return _joined([each for each in with_lines if _term(each) == last], path)
    content = path.read_bytes() if path.is_file() else b""
    return content[: content.rfind(b"\n") + 1]


def file_storage(folder: Folder) -> DurableStorage:
    """Open a study's journal as Optuna's storage.

    Only one driver may write to a journal, so the caller opens it inside `folder.locked()`.
    """
    return DurableStorage(open_log(folder.journal))


class _Unread:
    """Keep the entries of a journal that Optuna has not read yet.

    Optuna reads each entry once, in order. So when it asks for the entries since a number, all
    earlier ones are dropped.
    """

    def __init__(self, logs: list[Log]) -> None:
        self._logs, self._read = logs, 0

    def add(self, lines: bytes) -> None:
        self._logs += map(json.loads, lines.splitlines())

    def since(self, number: int) -> Sequence[Log]:
        self._logs = self._logs[number - self._read :]
        self._read = number
        return tuple(self._logs)


def _parsed(content: bytes, path: AnyPath) -> list[Log]:
    logs = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            logs.append(json.loads(line))
        except ValueError as error:
            raise FerError(f"{path}, line {number} is damaged: {error}.") from error
    return logs


def _lines(logs: Sequence[Log]) -> bytes:
    lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
    return "".join(lines).encode()
