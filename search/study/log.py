"""The file of Optuna's journal, which one driver at a time reads once and then only appends to.

Optuna's own backend locks, reads again and syncs at every value that is noted, some 15 times a
trial. Here a line is with the system at once, so that no kill of the driver loses it; it is synced
to the disk before a worker is given what was drawn, so that no power cut does that matters: how
a trial ended stands in its part. In S3, where nothing can be appended to, a sync puts the lines
since the last one as an object of their own.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from fer_core.errors import FerError
from fer_core.places import Place, S3Path
from fer_core.store import write_atomically

Log = dict[str, Any]
_MANY = 100  # objects of a journal in S3, from which on they are joined when it is opened


class LogFile(BaseJournalBackend):
    """One JSON a line, in Optuna's own format."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:  # a power cut tore the last line, of which nobody was told
            os.truncate(path, len(whole))
        self._unread = _Unread(list(map(json.loads, whole.splitlines())))

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
    """Objects of lines, each named by the number of its first line."""

    def __init__(self, path: S3Path) -> None:
        self._path = path
        objects = list(path.glob("*.log"))
        try:
            content = self._joined(objects)
            self._unread = _Unread(list(map(json.loads, content.splitlines())))
        except ValueError as error:
            raise FerError(f"{path} is damaged: {error}.") from error
        self._count = content.count(b"\n")
        self._unsynced: list[bytes] = []
        if len(objects) > _MANY:
            write_atomically(self._object(0), content)  # what follows it is no longer read
            for each in objects[1:]:
                each.unlink(missing_ok=True)

    def read_logs(self, log_number_from: int) -> Sequence[Log]:
        return self._unread.since(log_number_from)

    def append_logs(self, logs: list[Log]) -> None:
        whole = _lines(logs)
        self._unsynced.append(whole)
        self._unread.add(whole)

    def sync(self) -> None:
        """Put what was appended since the last time."""
        if self._unsynced:
            content = b"".join(self._unsynced)
            write_atomically(self._object(self._count), content)
            self._count += content.count(b"\n")
            self._unsynced = []

    def _joined(self, objects: Sequence[S3Path]) -> bytes:
        """Leave out what was joined before a kill, and refuse a journal with a gap."""
        content, lines = b"", 0
        for each in objects:
            first = int(each.stem)
            if first > lines:
                raise FerError(f"{self._path} has lost lines {lines} to {first}; it cannot go on.")
            if first == lines:
                content += each.read_bytes()
                lines = content.count(b"\n")
        return content

    def _object(self, first: int) -> S3Path:
        return self._path / f"{first:09d}.log"


def opened(path: Place) -> LogFile | LogObjects:
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


def _lines(logs: Sequence[Log]) -> bytes:
    lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
    return "".join(lines).encode()
