"""Write a study's leaderboard file, while the study runs and when it ends.

`search/session/` adds each trial as it finishes. A row is made once, and the file is written
every few seconds at most, so a trial of a long study costs the driver no more than one of a short
study. At the end, `write` makes the file anew from all trials.
"""

import io
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fer_core import config as configs
from fer_core.config import Config
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import AnyPath
from fer_core.trial.baselines import NUMBERS
from search.results import columns, comparisons, leaderboard, nested_score, origin, reading
from search.study.folder import Folder, Record
from search.study.parts import TrialResult

_FAMILY_TRIALS = "family_trials"  # column
_SECONDS = 2.0  # least time between two writes
_SHARE = 50  # between two writes passes at least so many times the time that a write takes


class Board:
    """Collects the rows of finished trials, and writes them to the study's leaderboard file."""

    def __init__(self, folder: Folder, record: Record) -> None:
        self._folder, self._record = folder, record
        self._schema = columns.schema()
        self._written = self._schema.empty_table()  # rows that were written before
        self._fresh: list[TrialResult] = []  # results whose rows are not written yet
        self._tasks: set[str] = set()
        self._repeats: dict[str, Config] = {}  # name of a published figure: our config for it
        self._due = time.monotonic()  # time of the next write
        self._first = True  # no file was written yet

    @property
    def path(self) -> AnyPath:
        return leaderboard.path(self._record)

    def add(self, result: TrialResult) -> None:
        """Add a finished trial, and write the file if the last write is long enough ago."""
        self._fresh.append(result)
        if (began := time.monotonic()) < self._due:
            return
        self.write_now()
        now = time.monotonic()
        self._due = now + max(_SECONDS, _SHARE * (now - began))

    def begin(self, finished: Sequence[TrialResult]) -> None:
        """Take the trials that finished before a resume; their rows are in the file already."""
        if finished:
            self._written = self._compared(finished)

    def write_now(self) -> None:
        """Write the file with the trials so far, whenever the last write was."""
        self._written = pa.concat_tables([self._written, self._table(self._fresh)])
        self._fresh = []
        self._put(self._written)

    def write(self, finished: Iterable[TrialResult]) -> AnyPath:
        """Replace the file by a new one of all finished trials, in the given order.

        They are compared with each other (`comparisons.py`), for which the predictions of all are
        read.
        """
        self._put(self._compared(list(finished)))
        reading.write_columns(self.path.parent)
        return self.path

    def _compared(self, results: Sequence[TrialResult]) -> pa.Table:
        compared = comparisons.columns(self._folder, results, self._record.task)
        rows = [self._row(result) | compared.get(result.number, {}) for result in results]
        return pa.Table.from_pylist(rows, schema=self._schema)

    def _put(self, trials: pa.Table) -> None:
        """Write the rows of trials, of baselines, of nested scores and of published figures."""
        baselines = self._table(filter(None, map(self._folder.result, NUMBERS)))
        figures = nested_score.rows(self._folder, self._record)
        figures += leaderboard.published_rows(self._repeats, self._tasks, self._record)
        rows = pa.Table.from_pylist(list(map(columns.columns, figures)), schema=self._schema)
        buffer = io.BytesIO()
        whole = pa.concat_tables([_with_family_trials(trials), baselines, rows]).combine_chunks()
        tested = origin.tested_subjects(self._record, self._folder)
        noted = origin.of_study(self._record, tested=tested)
        schema = origin.added(self._schema, noted)
        pq.write_table(whole.replace_schema_metadata(schema.metadata), buffer)
        write_atomically(self.path, buffer.getvalue())
        if self._first:  # files of other studies may have other columns
            reading.write_columns(self.path.parent)
            self._first = False

    def _table(self, results: Iterable[TrialResult]) -> pa.Table:
        return pa.Table.from_pylist(list(map(self._row, results)), schema=self._schema)

    def _row(self, result: TrialResult) -> dict[str, Any]:
        sealed_scores = comparisons.sealed_scores(self._folder, result.number)
        row = leaderboard.row(result, self._record, sealed_scores)
        self._tasks.add(row.task)
        if result.config_json and (config := configs.from_json(result.config_json)).stands_for:
            self._repeats[config.stands_for] = config
        return columns.columns(row)


def write(folder: Folder, record: Record, finished: Iterable[TrialResult]) -> AnyPath:
    """Write the leaderboard file of a study, and give its path."""
    return Board(folder, record).write(finished)


def _with_family_trials(trials: pa.Table) -> pa.Table:
    """Fill in, for each trial, how many trials its family has so far."""
    families = trials["family"].to_pylist()
    counts = Counter(families)
    values = [None if family is None else counts[family] for family in families]
    place = trials.schema.get_field_index(_FAMILY_TRIALS)
    return trials.set_column(place, trials.schema.field(place), pa.array(values, pa.int64()))
