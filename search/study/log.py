"""The file of Optuna's journal, which one driver at a time reads once and then only appends to.

Optuna's own backend locks, reads again and syncs at every value that is noted, some 15 times a
trial. Here a line is with the system at once, so that no kill of the driver loses it; it is synced
to the disk before a worker is given what was drawn, so that no power cut does that matters: how
a trial ended stands in its part.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend


class LogFile(BaseJournalBackend):
    """One JSON a line, in Optuna's own format."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:  # a power cut tore the last line, of which nobody was told
            os.truncate(path, len(whole))
        lines = whole.splitlines()
        self._unread: list[dict[str, Any]] = list(map(json.loads, lines))
        self._read = 0  # logs that Optuna has, and never asks for again

    def read_logs(self, log_number_from: int) -> Sequence[dict[str, Any]]:
        self._unread = self._unread[log_number_from - self._read :]
        self._read = log_number_from
        return tuple(self._unread)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append whole lines or nothing.

        Raises: OSError where the disk is full.
        """
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        with self._path.open("ab", buffering=0) as file:
            before, content = os.fstat(file.fileno()).st_size, "".join(lines).encode()
            try:
                while content:
                    content = content[file.write(content) :]
            except OSError:
                file.truncate(before)
                raise
        self._unread += map(json.loads, lines)


def sync(path: Path) -> None:
    """Put on the disk what the system holds of a file, whoever wrote it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
