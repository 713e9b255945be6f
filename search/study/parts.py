"""The result of each finished trial, in one file each: `parts/<number>.json` in the study's folder.

A worker writes a trial's file, whole, before it returns the trial's last result to the driver. The
journal tells Optuna from these files, and the leaderboard is made from them, so no finished trial
is lost or counted twice when a process dies.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from statistics import fmean, stdev
from typing import Any, Literal

from fer_core import config as configs
from fer_core.intervals import MEASURES
from fer_core.scoring import SCORING_VERSION

State = Literal["complete", "pruned", "failed"]
_VAL = "val_"  # begins the JSON keys of `val_metrics`


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One trial or baseline: how it ended, its scores on the folds that it trained, and its cost.

    Scores are fractions. A pruned trial has the scores of the rung at which it stopped, where its
    last fold may not be fully trained. Scoring version 1 took the mean of each metric over the
    folds; since then the predictions of all folds are scored together.
    """

    number: int  # Optuna's number of the trial; below 0 for a baseline
    state: State
    config_json: str | None  # None where the space drew no valid config, and for a baseline
    started_at: str  # ISO 8601, UTC
    finished_at: str
    params_drawn: Mapping[str, Any] | None = None  # that the sampler drew
    seed_offset: int = 0  # how far above the study's seed it was trained
    error: str | None = None  # one line
    fold_uars: tuple[float, ...] = ()  # in the order of the folds
    rung_uars: tuple[float, ...] = ()  # at each rung that it passed, the UAR of the folds so far
    reached: str | None = None  # the last rung, in words
    val_metrics: Mapping[str, float | None] = field(  # each metric and the ends of its interval
        default_factory=lambda: dict.fromkeys(MEASURES)
    )
    subjects: int | None = None  # how many were scored
    clips: int | None = None  # how many were scored, those that the trial could not show included
    scoring_version: int = 1
    commit: str | None = None  # of the code that trained it; None: of a version that noted none
    versions: Mapping[str, str] = field(default_factory=dict)  # of packages, where it was trained
    train_seconds: float = 0.0
    seconds: float = 0.0  # its share of the time that its worker spent on the pack
    epochs_restored: int = 0  # from checkpoints, after the trial had lost its machine
    still_improving: bool = False  # whether the loss of a fold was still falling when it ended
    folds_extended: int = (
        0  # folds that trained on after their epochs, since their loss was falling
    )
    note: str | None = None  # of a baseline: what it chose, and on what sample it was fitted
    params: int | None = None
    peak_memory_gib: float | None = None
    device: str | None = None
    host: str | None = None  # the machine on which it ended
    weights_source: str | None = None
    work: Mapping[str, float] = field(default_factory=dict)  # sums of fer_core.storage.stages.Work
    skipped: Mapping[str, str] = field(default_factory=dict)  # clip: why it was left out
    # The share of its clips whose whole picture took the place of a view; None: nobody noted it.
    fallback_share: float | None = None

    @property
    def val_uar(self) -> float | None:
        """The UAR of all folds that it trained; None for a failed trial."""
        if self.state == "failed" or not self.fold_uars:
            return None
        pooled = self.val_metrics.get("uar")
        return fmean(self.fold_uars) if pooled is None else pooled

    @property
    def val_uar_std(self) -> float | None:
        """Standard deviation of the UAR between the folds (n - 1); None for fewer than two."""
        if self.val_uar is None or len(self.fold_uars) < 2:
            return None
        return stdev(self.fold_uars)

    def to_json(self) -> str:
        """Write all fields as JSON; each metric of `val_metrics` has a key, such as `val_war`."""
        values: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name == "val_metrics":
                values |= {f"{_VAL}{metric}": mean for metric, mean in value.items()}
            else:
                values[name] = value
        return json.dumps(values)


def from_json(text: str) -> TrialResult:
    """Read what `TrialResult.to_json` wrote.

    Keys that an older version did not write have their defaults.

    Raises: ValueError, TypeError or KeyError where the text is damaged or has an unknown key.
    """
    values = json.loads(text)
    for name in ("fold_uars", "rung_uars"):
        values[name] = tuple(values.get(name, ()))
    metrics = [name for name in values if name.startswith(_VAL)]
    means = {name.removeprefix(_VAL): values.pop(name) for name in metrics}
    return TrialResult(**values, val_metrics=dict.fromkeys(MEASURES) | means)


def by_task(finished: Iterable[TrialResult], study_task: str) -> dict[str, list[TrialResult]]:
    """Group the complete trials by the task that they learned.

    A config that names no task learns `study_task`.
    """
    groups: dict[str, list[TrialResult]] = defaultdict(list)
    for result in finished:
        if result.state == "complete" and result.config_json:
            groups[configs.from_json(result.config_json).task or study_task].append(result)
    return groups


def failed(
    number: int, error: str, *, config_json: str | None = None, seed_offset: int = 0
) -> TrialResult:
    """Make the result of a trial that failed before it started."""
    time = now()
    return TrialResult(
        number=number,
        state="failed",
        config_json=config_json,
        started_at=time,
        finished_at=time,
        error=error,
        seed_offset=seed_offset,
        scoring_version=SCORING_VERSION,
    )


def pruned(result: TrialResult) -> TrialResult:
    """Make the final result of a trial that is stopped at the rung it reached."""
    return replace(result, state="pruned", finished_at=now())


def now() -> str:
    """Give the current time in the format of a result: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def why_given_up(retries: int, losses: int, error: str | None) -> str:
    """Say why a trial failed that was interrupted too often, or that lost its machine too often."""
    if losses:
        return f"lost its node {losses} times: the trial itself may be the cause"
    if error is not None:
        return f"interrupted {retries} times; the last time its worker raised {error}"
    return f"interrupted {retries} times: its worker or driver died each time"
