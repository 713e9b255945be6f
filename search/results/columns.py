"""The leaderboard's columns: each field of `Row` is one, and all files have the same ones.

`leaderboard.py` makes the rows. `reading.py` reads the files, which carry a format number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from types import UnionType
from typing import Any, get_args, get_type_hints

import pyarrow as pa

from fer_core.intervals import MEASURES

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
    trial: int  # Optuna's number; below 0 for a baseline, -50 to -52 for a nested score, -100 and
    # below for a published figure
    config_id: str | None = None  # None where the space drew no valid config
    # search, baseline, published, cross-dataset, or nested: the score of a nested study
    source: str
    family: str | None = None
    family_trials: int | None = None  # of its family in this study, whether they succeeded or not
    state: str = "complete"
    error: str | None = None
    val_uar: float | None = None  # of complete trials and baselines only
    val_uar_partial: float | None = None  # of a pruned trial, on the folds that it had trained
    val_uar_corrected: float | None = None  # of the best trial: corrected for the choice
    val_uar_std: float | None = None  # standard deviation between the folds
    val_metrics: OtherMetrics = field(default_factory=dict)
    val_subjects: int | None = None
    val_clips: int | None = None  # those that the trial could not show count as wrong
    val_rank_low: int | None = None  # ranks that it may have in truth, among complete trials
    val_rank_high: int | None = None
    val_tied_with_best: bool | None = None  # it is not surely worse than the best of them
    folds: int = 0  # they are scored together; a pruned trial's last may be half trained
    headline: bool | None = None  # whether it alone has a test score; None: it was not tested
    test_uar: float | None = None  # the test columns are None for trials without a sealed test
    test_uar_low: float | None = None  # 95 % interval over subjects
    test_uar_high: float | None = None
    test_metrics: OtherMetrics = field(default_factory=dict)
    test_subjects: int | None = None
    test_clips: int | None = None
    opened_before: int | None = None  # other studies that had tested some of these people by then
    test_repeats: int | None = None  # seeds with which it was refitted; test_uar is of the first
    test_uar_mean: float | None = None  # of all seeds, if there were several
    test_uar_std: float | None = None  # standard deviation between the seeds (n - 1)
    test_difference: float | None = None  # of another winner: how much better than the headline
    test_difference_low: float | None = None  # 95 % interval, Holm-corrected
    test_difference_high: float | None = None
    rank_low: int | None = None  # ranks that it may have in truth, among tested trials
    rank_high: int | None = None
    tied_with_best: bool | None = None
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
    seed: int  # of the training
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
    trained_on: str | None = None  # dataset that trained the model, where it is another one
    split: str | None = None  # subject-independent or by-clip; None where nobody noted it
    still_improving: bool | None = None  # whether the loss of a fold was still falling at its end
    folds_extended: int = 0  # folds that trained on, because their loss was still falling
    # The share of its clips without a face, which it saw as whole pictures; None: nobody noted it.
    fallback_share: float | None = None


# Of the files: 1 had no number, 2 gave pruned trials a val_uar, 3 gave each winner a test_uar.
FORMAT = 4
FORMAT_KEY = b"fer_search_format"  # in the metadata of a file's schema
_OWN = {"val_uar", "test_uar", "test_uar_low", "test_uar_high"}  # fields of their own
METRICS = {  # field of `Row`: the column of each metric and of each end of an interval
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
        if each.name in METRICS:
            types += [(column, pa.float64()) for column in METRICS[each.name].values()]
        else:
            types.append((_column(each.name), _arrow(hints[each.name])))
    return pa.schema(types, metadata={FORMAT_KEY: str(FORMAT).encode()})


def columns(row: Row) -> dict[str, Any]:
    """Give a row's values by column."""
    values: dict[str, Any] = {}
    for name, value in vars(row).items():
        if name in METRICS:
            values |= {column: value.get(metric) for metric, column in METRICS[name].items()}
        else:
            values[_column(name)] = value
    return values


def _column(name: str) -> str:
    return name.replace("__", ".")


def _arrow(hint: Any) -> pa.DataType:
    kind = get_args(hint)[0] if isinstance(hint, UnionType) else hint
    return _ARROW[kind]
