"""The file of Optuna's journal, which one driver at a time reads once and then only appends to.

Optuna's own backend locks, reads again and syncs at every value that is noted, some 15 times a
trial. Here a line is with the system at once, so that no kill of the driver loses it; it is synced
to the disk before a worker is given what was drawn, so that no power cut does that matters: how
a trial ended stands in its part. In S3, where nothing can be appended to, a sync puts the lines
since the last one as an object of their own.
"""

import json
import os
import re
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from fer_core.errors import FerError
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import AnyPath, S3Path, at_once

Log = dict[str, Any]
_MANY = 100  # objects of a journal in S3 that are joined into one
_DIGITS = 6  # of the number with which the name of a term begins
_NAME = re.compile(r"\d{6}[0-9a-f]{8}(-\d{9})?")
_SEPARATOR = "-"  # of the term and the first line, in the name of an object


class LogFile(BaseJournalBackend):
    """One JSON a line, in Optuna's own format."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:  # a power cut tore the last line, of which nobody was told
            os.truncate(path, len(whole))
        self._unread = _Unread(_parsed(whole, path))

    def read_logs(self, log_number_from: int) -> Sequence[Log]:
        return self._unread.since(log_number_from)

    def append_logs(self, logs: list[Log]) -> None:
        """Append whole lines or nothing.

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
        """Put on the disk what the system holds of the file."""
        with self._path.open("rb") as file:
            os.fsync(file.fileno())


class LogObjects(BaseJournalBackend):
    """Objects of lines, each named by the term of its driver and the number of its first line.

    Who opens the journal begins a term: it says so, then puts all lines that it finds as the first
    object of its own. What is put in an earlier term from then on, by a driver that was cut off, is
    read by nobody, and that driver's sync fails.
    """

    def __init__(self, path: S3Path) -> None:
        self._path = path
        there = list(path.glob("*.log"))
        if odd := [each for each in there if not _NAME.fullmatch(each.stem)]:
            raise FerError(f"{odd[0]} is of another version of this search.")
        number = max((int(_term(each)[:_DIGITS]) for each in there), default=0) + 1
        self._term = f"{number:0{_DIGITS}d}{secrets.token_hex(4)}"
        write_atomically(path / f"{self._term}.log", b"")
        earlier = [each for each in self._current() if _term(each) != self._term]
        put = [each for each in earlier if _SEPARATOR in each.stem]
        last = max(map(_term, put), default="")
        content = self._joined([each for each in put if _term(each) == last])
        self._unread = _Unread(_parsed(content, path))
        self._count = content.count(b"\n")
        self._unsynced: list[bytes] = []
        self._small: list[tuple[int, bytes]] = []  # what was put and is not joined, by first line
        write_atomically(self._object(0), content)
        at_once(partial(S3Path.unlink, missing_ok=True), earlier)

    def read_logs(self, log_number_from: int) -> Sequence[Log]:
        return self._unread.since(log_number_from)

    def append_logs(self, logs: list[Log]) -> None:
        whole = _lines(logs)
        self._unsynced.append(whole)
        self._unread.add(whole)

    def sync(self) -> None:
        """Put what was appended since the last time.

        Raises: FerError where another driver has begun a term.
        """
        content = b"".join(self._unsynced)
        if content:
            write_atomically(self._object(self._count), content)
        self._current()  # after it was put: who begins a term first says so, and then reads
        if not content:
            return
        self._small.append((self._count, content))
        self._count += content.count(b"\n")
        self._unsynced = []
        if len(self._small) >= _MANY:
            self._join()

    def _join(self) -> None:
        """Put many objects as one; those that a kill leaves beside it are passed over."""
        objects = [self._object(first) for first, _ in self._small]
        write_atomically(objects[0], b"".join(content for _, content in self._small))
        at_once(partial(S3Path.unlink, missing_ok=True), objects[1:])
        self._small = []

    def _current(self) -> list[S3Path]:
        """List all objects while this driver's term is the last."""
        objects = list(self._path.glob("*.log"))
        if any(_term(each) > self._term for each in objects):
            raise FerError(f"another process goes on with study {self._path.parent.name}.")
        return objects

    def _joined(self, objects: Sequence[S3Path]) -> bytes:
        """Leave out what was joined before a kill, and refuse a journal with a gap."""
        try:
            contents = at_once(S3Path.read_bytes, objects)
        except FileNotFoundError as error:  # joined, or taken up, since it was listed
            said = f"another process goes on with study {self._path.parent.name}."
            raise FerError(said) from error
        whole, lines = [], 0
        for each, content in zip(objects, contents, strict=True):
            first = int(each.stem.partition(_SEPARATOR)[2])
            if first > lines:
                raise FerError(f"{self._path} has lost lines {lines} to {first}; it cannot go on.")
            if first == lines:
                whole.append(content)
                lines += content.count(b"\n")
        return b"".join(whole)

    def _object(self, first: int) -> S3Path:
        return self._path / f"{self._term}{_SEPARATOR}{first:09d}.log"


def _term(path: S3Path) -> str:
    return path.stem.partition(_SEPARATOR)[0]


def open_log(path: AnyPath) -> LogFile | LogObjects:
    """Open a journal where it lies."""
    return LogObjects(path) if isinstance(path, S3Path) else LogFile(path)


class _Unread:
    """Logs that Optuna has not asked for; it never asks twice."""

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
