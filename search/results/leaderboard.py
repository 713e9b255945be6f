"""The leaderboard's rows, its columns and its files: `<leaderboards>/<dataset>/<study>.parquet`.

Each trial has a row, and so have the baselines and the published figures; `source` tells which is
which. `board.py` writes a study's file from the results of its trials, so a lost file can be made
again. `reading.py` reads the files of all studies of a dataset.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from types import UnionType
from typing import Any, get_args, get_type_hints

import pyarrow as pa

from fer_core import config as configs
from fer_core.config import Config
from fer_core.intervals import MEASURES
from fer_core.storage import paths
from fer_core.storage.paths import AnyPath
from fer_core.trial.baselines import NUMBERS
from search.results import published
from search.study.folder import Record
from search.study.parts import TrialResult

OtherMetrics = Mapping[str, float | None]  # by name; some of UAR's have columns of their own


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the leaderboard: a trial, a baseline or a published figure.

    Each field is a column, and `__` in its name is a dot there. `val_metrics` and `test_metrics`
    are a column for each metric of `fer_core.scoring.Metrics` and for the ends of its 95 % interval
    over subjects, such as `val_war` and `val_war_low`. An interval is null below three subjects.
    Scores are fractions in [0, 1], times are seconds, memory is GiB.
    """

    dataset: str
    task: str
    protocol_id: str  # "published" for a published figure, which no other row is ranked against
    study: str
    space: str
    trial: int  # Optuna's number; below 0 for a baseline, -100 and below for a published figure
    config_id: str | None = None  # None where the space drew no valid config
    source: str  # search, baseline or published
    family: str | None = None
    state: str = "complete"
    error: str | None = None
    val_uar: float | None = None  # of complete trials and baselines only
    val_uar_partial: float | None = None  # of a pruned trial, on the folds that it had trained
    val_uar_corrected: float | None = None  # of the best trial: corrected for the choice
    val_uar_std: float | None = None  # standard deviation between the folds
    val_metrics: OtherMetrics = field(default_factory=dict)
    val_subjects: int | None = None
    val_clips: int | None = None  # those that the trial could not show count as wrong
    folds: int = 0  # they are scored together; a pruned trial's last may be half trained
    test_uar: float | None = None  # the test columns are None for trials without a sealed test
    test_uar_low: float | None = None  # 95 % interval over subjects
    test_uar_high: float | None = None
    test_metrics: OtherMetrics = field(default_factory=dict)
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
    frames_read: str | None = None  # JSON; the frames that the study fixes, null: a space chooses
    started_at: datetime
    finished_at: datetime
    published_accuracy: float | None = None  # published for the configuration that this row repeats
    published: str | None = None  # the publication
    comparable: bool | None = None  # whether it compares with our scores; None where there is none
    # Why it does not, and what is smaller here than in the publication. Of a baseline: how it
    # pools, and on what sample it was fitted.
    note: str | None = None
    host: str | None = None  # the machine on which the trial ended
    epochs_restored: int = 0  # from checkpoints, after a machine was lost
    scoring_version: int | None = None  # scores of two versions do not compare; 1 took fold means
    still_improving: bool | None = None  # whether the loss of a fold was still falling at its end
    folds_extended: int = (
        0  # folds that trained on after their epochs, since their loss was falling
    )


# Of the files: 1 had no number, 2 gave pruned trials a val_uar, 3 gave each winner a test_uar.
FORMAT = 4
FORMAT_KEY = b"fer_search_format"  # in the metadata of a file's schema
_OWN = {"val_uar", "test_uar", "test_uar_low", "test_uar_high"}  # fields of their own
_METRICS = {  # field of `Row`: the column of each metric and of each end of an interval
    f"{kind}_metrics": {name: f"{kind}_{name}" for name in MEASURES if f"{kind}_{name}" not in _OWN}
    for kind in ("val", "test")
}
_ARROW = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    float: pa.float64(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def schema() -> pa.Schema:
    """Derive a file's schema from `Row`, with the format number."""
    hints = get_type_hints(Row)
    types: list[tuple[str, pa.DataType]] = []
    for each in fields(Row):
        if each.name in _METRICS:
            types += [(column, pa.float64()) for column in _METRICS[each.name].values()]
        else:
            types.append((_column(each.name), _arrow(hints[each.name])))
    return pa.schema(types, metadata={FORMAT_KEY: str(FORMAT).encode()})


def row(result: TrialResult, record: Record, sealed_scores: dict[str, Any] | None) -> Row:
    """Make the row of a trial or a baseline from its result and, if it has one, its sealed test."""
    config = configs.from_json(result.config_json) if result.config_json else None
    task, family = NUMBERS.get(result.number, (None, None))
    if config is not None:
        task, family = config.task, config.family
    complete = result.state == "complete"
    return Row(
        **_study(record) | {"commit": record.commit_of(result)},
        **_flat(config, record.clip),
        **_sealed(sealed_scores or {}),
        **{"note": result.note} | _beside(config),
        dataset=record.dataset,
        task=task or record.task,
        protocol_id=record.protocol_id,
        trial=result.number,
        config_id=config.config_id if config else None,
        source="baseline" if result.number in NUMBERS else "search",
        family=family,
        state=result.state,
        error=result.error,
        val_uar=result.val_uar if complete else None,
        val_uar_partial=result.val_uar if result.state == "pruned" else None,
        val_uar_std=result.val_uar_std,
        val_metrics=result.val_metrics if complete else {},
        val_subjects=result.subjects,
        val_clips=result.clips,
        folds=len(result.fold_uars),
        **_cost(result),
        scoring_version=result.scoring_version,
        config_json=result.config_json,
        versions=json.dumps(dict(result.versions or record.versions) | _sources(result, record)),
        frames_read=json.dumps(record.clip, sort_keys=True) if record.clip else None,
        data_sha256=record.data_sha256,
        split_sha256=record.split_sha256,
        started_at=datetime.fromisoformat(result.started_at),
        finished_at=datetime.fromisoformat(result.finished_at),
    )


def published_rows(
    repeats: Mapping[str, Config], tasks: Collection[str], record: Record
) -> list[Row]:
    """Give the rows of published figures.

    These are the figures that a trial repeats, with the trial's config in `repeats`, and those of
    the publication's last table for this dataset and these tasks.
    """
    time = datetime.fromisoformat(record.started_at)
    return [
        Row(
            **_study(record),
            **_flat(repeats.get(key), None) | {"config__lr": None},  # ours, not theirs
            dataset=figure.dataset,
            task=figure.task,
            protocol_id="published",
            trial=-100 - place,
            source="published",
            family=repeats[key].family if key in repeats else None,
            versions="{}",
            started_at=time,
            finished_at=time,
            published_accuracy=figure.accuracy,
            published=figure.source,
            comparable=False,
            note=f"{figure.words}: {figure.why}",
        )
        for place, (key, figure) in enumerate(published.ROWS.items())
        if key in repeats or published.is_last_of(figure, record.dataset, tasks)
    ]


def _sealed(scores: dict[str, Any]) -> dict[str, Any]:
    """Give the fields of a sealed test from its file, whose keys are the columns."""
    metrics = {column: metric for metric, column in _METRICS["test_metrics"].items()}
    others = {column: value for column, value in scores.items() if column not in metrics}
    found = {metrics[column]: scores[column] for column in metrics if column in scores}
    return others | {"test_metrics": found}


def _study(record: Record) -> dict[str, Any]:
    names = ("study", "space", "seed", "commit")
    return {name: getattr(record, name) for name in names}


def _beside(config: Config | None) -> dict[str, Any]:
    """Give the published figure that a config repeats."""
    figure = published.repeated_by(config) if config else None
    if config is None or figure is None:
        return {}
    return {
        "published_accuracy": figure.accuracy,
        "published": figure.source,
        "comparable": False,
        "note": "; ".join(filter(None, (published.narrow(config), figure.why))),
    }


def _flat(config: Config | None, fixed: dict[str, Any] | None) -> dict[str, Any]:
    """Give the columns of a config.

    If the study fixes the frames that are read, those replace the number in the config.
    """
    if config is None:
        return {}
    columns = {name.replace(".", "__"): value for name, value in configs.flat(config).items()}
    return columns | ({"config__frames": fixed["frames"]} if fixed else {})


def _cost(result: TrialResult) -> dict[str, Any]:
    """Give the columns of what a trial cost, and where."""
    names = ("train_seconds", "params", "peak_memory_gib", "device", "host", "epochs_restored")
    stage_seconds = float(result.work.get("stage_seconds", 0.0))
    values = {name: getattr(result, name) for name in (*names, "still_improving", "folds_extended")}
    return values | {"stage_seconds": stage_seconds}


def _sources(result: TrialResult, record: Record) -> dict[str, str]:
    """Name the sources of a trial's weights, landmarks and surface."""
    sources = {
        "weights": result.weights_source,
        "landmarks": record.landmarks,
        "surface": record.surface_sha256,
    }
    return {name: source for name, source in sources.items() if source}


def path(record: Record) -> AnyPath:
    """Give the path of a study's file."""
    return paths.parse(record.leaderboards) / record.dataset / f"{record.study}.parquet"


def columns(row: Row) -> dict[str, Any]:
    """Give a row's values by column."""
    values: dict[str, Any] = {}
    for name, value in vars(row).items():
        if name in _METRICS:
            values |= {column: value.get(metric) for metric, column in _METRICS[name].items()}
        else:
            values[_column(name)] = value
    return values


def _column(name: str) -> str:
    return name.replace("__", ".")


def _arrow(hint: Any) -> pa.DataType:
    kind = get_args(hint)[0] if isinstance(hint, UnionType) else hint
    return _ARROW[kind]
