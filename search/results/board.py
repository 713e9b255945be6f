"""A study's file on the leaderboard, while the study runs and when it ends.

A row is made once, and the file is written every few seconds, so that a long study costs its
driver no more for each trial than a short one. A last `write` puts down whatever is left.
"""

import io
import json
import time
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fer_core import config as configs
from fer_core.config import Config
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import AnyPath
from fer_core.trial.baselines import NUMBERS
from search.results import leaderboard
from search.study.folder import Folder, Record
from search.study.parts import TrialResult

_SECONDS = 2.0  # between two writes
_SHARE = 50  # and a write takes no more than one second of so many


class Board:
    """Keeps the rows of the trials that have finished, and writes them."""

    def __init__(self, folder: Folder, record: Record) -> None:
        self._folder, self._record = folder, record
        self._schema = leaderboard.schema()
        self._written = self._schema.empty_table()  # rows of earlier writes, which do not change
        self._fresh: list[TrialResult] = []
        self._tasks: set[str] = set()
        self._stood: dict[str, Config] = {}  # published row: our config that repeats it
        self._due = time.monotonic()

    @property
    def path(self) -> AnyPath:
        return leaderboard.path(self._record)

    def add(self, result: TrialResult) -> None:
        """Take a finished trial, and write the file if it is time."""
        self._fresh.append(result)
        if (began := time.monotonic()) < self._due:
            return
        self._written = pa.concat_tables([self._written, self._table(self._fresh)])
        self._fresh = []
        self._put(self._written)
        now = time.monotonic()
        self._due = now + max(_SECONDS, _SHARE * (now - began))

    def write(self, finished: Iterable[TrialResult]) -> AnyPath:
        """Replace the file by one of all finished trials, in their order, made anew."""
        self._put(self._table(finished))
        return self.path

    def _put(self, trials: pa.Table) -> None:
        """Write trials, and what they stand beside."""
        baselines = self._table(filter(None, map(self._folder.result, NUMBERS)))
        beside = leaderboard.printed(self._stood, self._tasks, self._record)
        printed = pa.Table.from_pylist(list(map(leaderboard.columns, beside)), schema=self._schema)
        buffer = io.BytesIO()
        pq.write_table(pa.concat_tables([trials, baselines, printed]).combine_chunks(), buffer)
        write_atomically(self.path, buffer.getvalue())

    def _table(self, parts: Iterable[TrialResult]) -> pa.Table:
        return pa.Table.from_pylist(list(map(self._row, parts)), schema=self._schema)

    def _row(self, result: TrialResult) -> dict[str, Any]:
        row = leaderboard.row(result, self._record, _scores(self._folder, result.number))
        self._tasks.add(row.task)
        if result.config_json and (config := configs.from_json(result.config_json)).stands_for:
            self._stood[config.stands_for] = config
        return leaderboard.columns(row)


def write(folder: Folder, record: Record, finished: Iterable[TrialResult]) -> AnyPath:
    """Write a study's file at once."""
    return Board(folder, record).write(finished)


def _scores(folder: Folder, number: int) -> dict[str, Any] | None:
    """Read the scores of the sealed subjects, if the trial was opened."""
    try:
        scores: dict[str, Any] = json.loads(folder.sealed_test(number).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return scores
