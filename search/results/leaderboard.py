"""The leaderboard: a row a trial, one file a study, one schema for all of them.

Baselines and printed figures have rows too: `source` tells them. `board.py` makes the file from
parts and openings, so it can be lost and rebuilt.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from types import UnionType
from typing import Any, get_args, get_type_hints

import pandas as pd
import pyarrow as pa

from fer_core import config as configs
from fer_core.config import Config
from fer_core.errors import FerError, unknown
from fer_core.storage import paths
from fer_core.storage.paths import AnyPath, S3Path
from fer_core.trial.baselines import NUMBERS
from search.results import published
from search.study.folder import Record
from search.study.parts import TrialResult


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial, baseline or printed figure: the columns, in which `__` stands for a dot.

    Scores are fractions in [0, 1], times are seconds, memory is GiB.
    """

    dataset: str
    task: str
    protocol_id: str  # "published" of a printed figure: it has none, and ranks with nothing
    study: str
    space: str
    trial: int  # Optuna's number; below 0 of what is no trial: baselines, and from -100 on printed
    config_id: str | None = None  # None where the space drew no valid config
    source: str  # search, baseline or published
    family: str | None = None
    state: str = "complete"
    error: str | None = None
    val_uar: float | None = None
    val_uar_std: float | None = None  # between folds
    val_war: float | None = None
    val_macro_f1: float | None = None
    folds: int = 0  # over which the val scores are means; a pruned trial's last may be cut short
    test_uar: float | None = None  # the test columns are None until the trial is opened
    test_uar_low: float | None = None  # 95 % interval, bootstrap over subjects
    test_uar_high: float | None = None
    test_war: float | None = None
    test_macro_f1: float | None = None
    test_subjects: int | None = None
    test_clips: int | None = None
    train_seconds: float = 0.0
    stage_seconds: float = 0.0
    params: int | None = None
    peak_memory_gib: float | None = None
    device: str | None = None
    config__views: str | None = None
    config__backbone: str | None = None
    config__freeze_depth: int | None = None
    config__pooling: str | None = None
    config__fc_layers: int | None = None
    config__fusion_point: str | None = None
    config__recurrent_cell: str | None = None
    config__pca_dim: int | None = None
    config__frames: int | None = None
    config__optimizer: str | None = None
    config__lr: float | None = None
    config_json: str | None = None
    seed: int
    commit: str
    versions: str  # JSON
    data_sha256: str | None = None
    split_sha256: str | None = None
    started_at: datetime
    finished_at: datetime
    published_accuracy: float | None = None  # printed of what this row repeats; never a val score
    published: str | None = None  # where it was printed
    comparable: bool | None = None  # whether the two figures compare; None: there is none
    note: str | None = None  # why they do not, and what was made smaller
    host: str | None = None  # that the trial ended on
    epochs_restored: int = 0  # from checkpoints, after a machine was lost


_ARROW = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    float: pa.float64(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def schema() -> pa.Schema:
    """Derive the file's schema from `Row`."""
    hints = get_type_hints(Row)
    return pa.schema([(_column(field.name), _arrow(hints[field.name])) for field in fields(Row)])


def row(result: TrialResult, record: Record, sealed_scores: dict[str, Any] | None) -> Row:
    """Join what is known of a trial, or of a baseline."""
    config = configs.from_json(result.config_json) if result.config_json else None
    task, family = NUMBERS.get(result.number, (None, None))
    if config is not None:
        task, family = config.task, config.family
    scored = result.val_uar is not None
    return Row(
        **_study(record),
        **_flat(config, record.clip),
        **(sealed_scores or {}),
        **_beside(config),
        dataset=record.dataset,
        task=task or record.task,
        protocol_id=record.protocol_id,
        trial=result.number,
        config_id=config.config_id if config else None,
        source="baseline" if result.number in NUMBERS else "search",
        family=family,
        state=result.state,
        error=result.error,
        val_uar=result.val_uar,
        val_uar_std=result.val_uar_std,
        val_war=result.val_war if scored else None,
        val_macro_f1=result.val_macro_f1 if scored else None,
        folds=len(result.fold_uars),
        train_seconds=result.train_seconds,
        stage_seconds=float(result.work.get("stage_seconds", 0.0)),
        params=result.params,
        peak_memory_gib=result.peak_memory_gib,
        device=result.device,
        host=result.host,
        epochs_restored=result.epochs_restored,
        config_json=result.config_json,
        versions=json.dumps(record.versions | _sources(result, record)),
        data_sha256=record.data_sha256,
        split_sha256=record.split_sha256,
        started_at=datetime.fromisoformat(result.started_at),
        finished_at=datetime.fromisoformat(result.finished_at),
    )


def printed(stood: Mapping[str, Config], tasks: Collection[str], record: Record) -> list[Row]:
    """Give the printed rows that trials stand for, and those printed last of this dataset."""
    at = datetime.fromisoformat(record.started_at)
    return [
        Row(
            **_study(record),
            **_flat(stood.get(key), None) | {"config__lr": None},  # ours, if narrow
            dataset=figure.dataset,
            task=figure.task,
            protocol_id="published",
            trial=-100 - place,
            source="published",
            family=stood[key].family if key in stood else None,
            versions="{}",
            started_at=at,
            finished_at=at,
            published_accuracy=figure.accuracy,
            published=figure.source,
            comparable=False,
            note=f"{figure.words}: {figure.why}",
        )
        for place, (key, figure) in enumerate(published.ROWS.items())
        if key in stood or published.is_last_of(figure, record.dataset, tasks)
    ]


def _study(record: Record) -> dict[str, Any]:
    names = ("study", "space", "seed", "commit")
    return {name: getattr(record, name) for name in names}


def _beside(config: Config | None) -> dict[str, Any]:
    """Give the printed figure that a config stands beside."""
    figure = published.beside(config) if config else None
    if config is None or figure is None:
        return {}
    return {
        "published_accuracy": figure.accuracy,
        "published": figure.source,
        "comparable": False,
        "note": "; ".join(filter(None, (published.narrow(config), figure.why))),
    }


def _flat(config: Config | None, fixed: dict[str, Any] | None) -> dict[str, Any]:
    """Give the columns of a config, with the frames that were read and not those drawn."""
    if config is None:
        return {}
    columns = {name.replace(".", "__"): value for name, value in configs.flat(config).items()}
    return columns | ({"config__frames": fixed["frames"]} if fixed else {})


def _sources(result: TrialResult, record: Record) -> dict[str, str]:
    """Say whose weights, landmarks and surface a trial had."""
    sources = {
        "weights": result.weights_source,
        "landmarks": record.landmarks,
        "surface": record.surface_sha256,
    }
    return {name: source for name, source in sources.items() if source}


def path(record: Record) -> AnyPath:
    """Say where a study's rows lie."""
    return paths.parse(record.leaderboards) / record.dataset / f"{record.study}.parquet"


def columns(row: Row) -> dict[str, Any]:
    """Name a row's values as the file does."""
    return {_column(name): value for name, value in vars(row).items()}


def read(dataset: str, leaderboards: AnyPath) -> pd.DataFrame:
    """Read all studies of a dataset.

    Raises: FerError where there is no leaderboard of that dataset.
    """
    if isinstance(leaderboards, S3Path):
        leaderboards.reach()
    if not any((leaderboards / dataset).glob("*.parquet")):
        there = sorted({path.parent.name for path in leaderboards.glob("*/*.parquet")})
        if not there:
            raise FerError(f"no leaderboard of '{dataset}': {leaderboards} holds none yet.")
        raise FerError(unknown("leaderboard of", dataset, there))
    try:
        return pd.read_parquet(str(leaderboards / dataset))
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise FerError(f"the leaderboard {leaderboards / dataset} is damaged: {reason}") from error


def _column(name: str) -> str:
    return name.replace("__", ".")


def _arrow(hint: Any) -> pa.DataType:
    kind = get_args(hint)[0] if isinstance(hint, UnionType) else hint
    return _ARROW[kind]
