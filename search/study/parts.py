"""Parts: what is known of a finished trial, one file each, written as a whole."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from statistics import fmean, stdev
from typing import Literal

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One trial: how it ended, its scores over the folds that it trained, and its cost.

    The worker writes it before it returns its last result, and Optuna is told from it.
    """

    number: int  # of the trial, Optuna's
    state: State
    config_json: str | None  # None where the space drew no valid config
    started_at: str  # ISO 8601, UTC
    finished_at: str
    error: str | None = None  # one line
    fold_uars: tuple[float, ...] = ()  # fractions, in fold order; of a pruned trial as it left
    rung_uars: tuple[float, ...] = ()  # mean over the folds so far, at each rung that it passed
    reached: str | None = None  # the last rung, in words
    val_war: float | None = None  # mean over the folds
    val_macro_f1: float | None = None
    train_seconds: float = 0.0
    seconds: float = 0.0  # of a worker: its share of the time of its pack
    epochs_restored: int = 0  # from checkpoints, after the trial had lost its machine
    params: int | None = None
    peak_memory_gib: float | None = None
    device: str | None = None
    host: str | None = None  # that it ended on
    weights_source: str | None = None
    work: Mapping[str, float] = field(default_factory=dict)  # fer_core.trial.evaluate.Work, summed
    skipped: Mapping[str, str] = field(default_factory=dict)  # clip: why it was left out

    @property
    def val_uar(self) -> float | None:
        """Mean over the folds; None for a failed trial."""
        return fmean(self.fold_uars) if self.fold_uars and self.state != "failed" else None

    @property
    def val_uar_std(self) -> float | None:
        """Standard deviation between the folds (n - 1); None for fewer than two."""
        if self.val_uar is None or len(self.fold_uars) < 2:
            return None
        return stdev(self.fold_uars)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def from_json(text: str) -> TrialResult:
    """Read what `TrialResult.to_json` wrote."""
    values = json.loads(text)
    return TrialResult(
        **values | {name: tuple(values[name]) for name in ("fold_uars", "rung_uars")}
    )


def failed(number: int, error: str, *, config_json: str | None = None) -> TrialResult:
    """Make the part of a trial that never ran."""
    at = now()
    return TrialResult(
        number=number,
        state="failed",
        config_json=config_json,
        started_at=at,
        finished_at=at,
        error=error,
    )


def pruned(result: TrialResult) -> TrialResult:
    """Close the part of a trial that is stopped at the rung it reached."""
    return replace(result, state="pruned", finished_at=now())


def now() -> str:
    """Give the time as a part says it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
