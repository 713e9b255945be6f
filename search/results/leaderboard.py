"""The leaderboard: one row per trial, one file per study, one schema for all of them.

It is made anew from parts and openings whenever a trial finishes, so it can be lost and rebuilt.
"""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fer_core import config as configs
from fer_core.config import Config
from fer_core.errors import FerError, unknown
from fer_core.store import write_atomically
from search.study.folder import Folder, Record
from search.study.parts import Part


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial: this is the list of the columns, in which `__` stands for a dot.

    Scores are fractions in [0, 1], times are seconds, memory is GiB.
    """

    dataset: str
    task: str
    protocol_id: str
    study: str
    space: str
    trial: int
    config_id: str | None  # None where the space drew no valid config
    source: str
    family: str | None
    state: str
    error: str | None
    val_uar: float | None
    val_uar_std: float | None  # between folds
    val_war: float | None
    val_macro_f1: float | None
    folds: int  # finished ones, over which the val scores are means
    test_uar: float | None  # the test columns are None until the trial is opened
    test_uar_low: float | None  # 95 % interval, bootstrap over subjects
    test_uar_high: float | None
    test_war: float | None
    test_macro_f1: float | None
    test_subjects: int | None
    test_clips: int | None
    train_seconds: float
    stage_seconds: float
    params: int | None
    peak_memory_gib: float | None
    device: str | None
    config__views: str | None
    config__backbone: str | None
    config__freeze_depth: int | None
    config__pooling: str | None
    config__fc_layers: int | None
    config__fusion_point: str | None
    config__recurrent_cell: str | None
    config__pca_dim: int | None
    config__frames: int | None
    config__optimizer: str | None
    config__lr: float | None
    config_json: str | None
    seed: int
    commit: str
    versions: str  # JSON
    data_sha256: str
    split_sha256: str
    started_at: datetime
    finished_at: datetime


_ARROW = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def schema() -> pa.Schema:
    """Derive the file's schema from `Row`."""
    hints = get_type_hints(Row)
    return pa.schema([(_column(field.name), _arrow(hints[field.name])) for field in fields(Row)])


def row(part: Part, record: Record, opened: dict[str, Any] | None) -> Row:
    """Join what is known of a trial."""
    config = configs.from_json(part.config_json) if part.config_json else None
    scored = part.val_uar is not None
    return Row(
        **_flat(config, record.clip),
        **(opened or _none("test_")),
        dataset=record.dataset,
        task=record.task,
        protocol_id=record.protocol_id,
        study=record.study,
        space=record.space,
        trial=part.number,
        config_id=config.config_id if config else None,
        source="search",
        family=config.family if config else None,
        state=part.state,
        error=part.error,
        val_uar=part.val_uar,
        val_uar_std=part.val_uar_std,
        val_war=part.val_war if scored else None,
        val_macro_f1=part.val_macro_f1 if scored else None,
        folds=len(part.fold_uars),
        train_seconds=part.train_seconds,
        stage_seconds=float(part.work.get("stage_seconds", 0.0)),
        params=part.params,
        peak_memory_gib=part.peak_memory_gib,
        device=part.device,
        config_json=part.config_json,
        seed=record.seed,
        commit=record.commit,
        versions=json.dumps(record.versions | _sources(part, record)),
        data_sha256=record.data_sha256,
        split_sha256=record.split_sha256,
        started_at=datetime.fromisoformat(part.started_at),
        finished_at=datetime.fromisoformat(part.finished_at),
    )


def _flat(config: Config | None, fixed: dict[str, Any] | None) -> dict[str, Any]:
    """Give the columns of a config, with the frames that were read and not those drawn."""
    if config is None:
        return _none("config__")
    columns = {name.replace(".", "__"): value for name, value in configs.flat(config).items()}
    return columns | ({"config__frames": fixed["frames"]} if fixed else {})


def _sources(part: Part, record: Record) -> dict[str, str]:
    """Say whose weights, landmarks and surface a trial had."""
    sources = {
        "weights": part.weights_source,
        "landmarks": record.landmarks,
        "surface": record.surface_sha256,
    }
    return {name: source for name, source in sources.items() if source}


def _none(prefix: str) -> dict[str, None]:
    return {field.name: None for field in fields(Row) if field.name.startswith(prefix)}


def path(record: Record) -> Path:
    """Say where a study's rows lie."""
    return Path(record.leaderboards) / record.dataset / f"{record.study}.parquet"


def write(folder: Folder, record: Record, finished: Iterable[Part]) -> Path:
    """Replace a study's file by one of all its finished trials."""
    rows = [row(part, record, _opened(folder, part.number)) for part in finished]
    columns = [{_column(name): value for name, value in vars(each).items()} for each in rows]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(columns, schema=schema()), buffer)
    write_atomically(path(record), buffer.getvalue())
    return path(record)


def read(dataset: str, leaderboards: Path) -> pd.DataFrame:
    """Read all studies of a dataset.

    Raises: FerError where there is no leaderboard of that dataset.
    """
    if not any((leaderboards / dataset).glob("*.parquet")):
        there = sorted({path.parent.name for path in leaderboards.glob("*/*.parquet")})
        if not there:
            raise FerError(f"no leaderboard of '{dataset}': {leaderboards} holds none yet.")
        raise FerError(unknown("leaderboard of", dataset, there))
    try:
        return pd.read_parquet(leaderboards / dataset)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise FerError(f"the leaderboard {leaderboards / dataset} is damaged: {reason}") from error


def _opened(folder: Folder, number: int) -> dict[str, Any] | None:
    file = folder.opened(number)
    try:
        scores: dict[str, Any] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return scores


def _column(name: str) -> str:
    return name.replace("__", ".")


def _arrow(hint: Any) -> pa.DataType:
    kind = get_args(hint)[0] if isinstance(hint, UnionType) else hint
    return _ARROW[kind]
