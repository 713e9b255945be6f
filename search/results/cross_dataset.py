"""Keep the score of a row's model on another dataset: once for the same data, in a row of its own.

`search/replay.py` writes it with `--test-on`. The score lies in the study's folder, and its row in
a file of its own on the other dataset's board, where the ledger counts it as a test of its people.
"""

import io
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fer_core.data import subjects
from fer_core.data.study_data import StudyData
from fer_core.intervals import with_intervals
from fer_core.scoring import SCORING_VERSION
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import AnyPath, parse
from fer_core.trial.results import SealedResult
from search.results import columns, leaderboard, ledger, origin, reading
from search.results.columns import Row
from search.results.ledger import Ledger
from search.results.origin import Origin
from search.study import parts, provenance
from search.study.folder import Folder, Record, write_arrays
from search.study.parts import TrialResult

SOURCE = "cross-dataset"  # of such a row


@dataclass(frozen=True)
class CrossTest:
    """The test of a row's model on the data of another dataset."""

    folder: Folder
    record: Record
    result: TrialResult
    data: StudyData  # of the other dataset; all its subjects are sealed

    @property
    def dataset(self) -> str:
        return self.data.manifest.dataset

    @property
    def name(self) -> str:
        """Name the test within its study; other data of the same dataset are another test."""
        return f"{self.result.number}-on-{self.dataset}-{self.data.manifest.sha256[:8]}"

    @property
    def file(self) -> AnyPath:
        """The file in the study's folder that keeps the score."""
        return self.folder.path / "cross-dataset" / f"{self.name}.json"

    @property
    def board(self) -> AnyPath:
        """The file of its row."""
        boards = parse(self.record.leaderboards) / self.dataset
        return boards / leaderboard.file_name(f"{self.record.study}-{self.name}")

    @property
    def origin(self) -> Origin:
        """Say on the board who was tested."""
        people = origin.hashed(self.dataset, self.data.protocol.sealed)
        return Origin(
            study=f"{self.record.study}/{self.result.number}",
            started_at=self.record.started_at,
            home=self.record.home,
            host=socket.gethostname(),
            signature=None,
            data_sha256=self.data.manifest.sha256,
            split_sha256=self.data.protocol.split_sha256,
            sealed=people,
            tested=people,
            chosen_on=frozenset(),
        )


def read(test: CrossTest) -> dict[str, Any] | None:
    """Read the score of a test; None if the row was not tested on these data."""
    if not test.file.is_file():
        return None
    values: dict[str, Any] = json.loads(test.file.read_text())
    return values


def tested_before(test: CrossTest) -> Ledger:
    """Read how often the people of the other dataset were tested before."""
    return ledger.of_subjects(test.origin, test.dataset, test.board.parent)


def write(
    test: CrossTest, scored: SealedResult, *, started_at: str, opened_before: int
) -> dict[str, Any]:
    """Write the score and the predictions of a test into its study's folder; give the score."""
    write_arrays(
        test.folder.path / "predictions" / f"{test.name}.npz",
        {
            "clips": list(scored.clips),
            "subjects": scored.subjects,
            "labels": scored.labels,
            "probabilities": scored.probabilities,
        },
    )
    measured = with_intervals(scored.labels, scored.probabilities, scored.subjects)
    values = {f"test_{name}": value for name, value in measured.items()} | {
        "test_subjects": len(set(scored.subjects)),
        "test_clips": len(scored.clips),
        "opened_before": opened_before,
        "left_out": len(test.data.manifest.clips) - len(scored.clips),
        "data_root": str(test.data.manifest.root),
        "data_sha256": test.data.manifest.sha256,
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "started_at": started_at,
        "finished_at": parts.now(),
    }
    write_atomically(test.file, json.dumps(values).encode())
    return values


def text(test: CrossTest, values: Mapping[str, Any]) -> str:
    """Say in a line how the model does on the other dataset."""
    low, high = values["test_uar_low"], values["test_uar_high"]
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    return (
        f"trained on {test.record.dataset}, tested on {test.dataset}: "
        f"test_uar {values['test_uar']:.3f}{interval}, {values['test_subjects']} subjects, "
        f"{values['test_clips']} clips ({values['left_out']} left out)"
    )


def write_row(test: CrossTest, values: Mapping[str, Any]) -> AnyPath:
    """Write the row of a test to the board of its dataset, and give the file."""
    schema = origin.added(columns.schema(), test.origin)
    table = pa.Table.from_pylist([columns.columns(_row(test, values))], schema=schema)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    write_atomically(test.board, buffer.getvalue())
    reading.write_columns(test.board.parent)
    return test.board


def _row(test: CrossTest, values: Mapping[str, Any]) -> Row:
    """Make the row: the trial's own, with another dataset's scores in place of its own."""
    scores = {
        name: value
        for name, value in values.items()
        if name.startswith("test_") or name == "opened_before"
    }
    alone = replace(  # what the trial scored on its own dataset stays in its own row
        test.result, val_metrics={}, fold_uars=(), subjects=None, clips=None, state="complete"
    )
    row = leaderboard.row(alone, test.record, scores)
    return replace(
        row,
        dataset=test.dataset,
        source=SOURCE,
        trained_on=test.record.dataset,
        split=subjects.kind_of_split(test.data.manifest),
        protocol_id=test.data.protocol.protocol_id,
        data_sha256=test.data.manifest.sha256,
        split_sha256=test.data.protocol.split_sha256,
        scoring_version=SCORING_VERSION,
        commit=values["commit"],
        versions=json.dumps(json.loads(row.versions) | values["versions"]),
        started_at=datetime.fromisoformat(values["started_at"]),
        finished_at=datetime.fromisoformat(values["finished_at"]),
        published_accuracy=None,  # these figures are of the trial's own dataset
        published=None,
        comparable=None,
        note=f"{values['left_out']} clips of {test.dataset} were left out",
    )
