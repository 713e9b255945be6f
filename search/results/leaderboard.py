"""The leaderboard's rows, and where its files are: `<leaderboards>/<dataset>/<study>.parquet`.

Each trial has a row, and so have the baselines and the published figures; `source` tells which is
which. `board.py` writes a study's file from the results of its trials, so a lost file can be made
again. `reading.py` reads the files of all studies of a dataset.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from fer_core import config as configs
from fer_core.config import Config
from fer_core.storage import paths
from fer_core.storage.paths import AnyPath
from fer_core.trial.baselines import NUMBERS
from search.results import published
from search.results.columns import METRICS, Row
from search.study.folder import Record
from search.study.parts import TrialResult

_LONGEST_NAME = 200  # bytes
_DIGITS = 8  # of the hash that stands for the rest of a longer name


def row(result: TrialResult, record: Record, sealed_scores: dict[str, Any] | None) -> Row:
    """Make the row of a trial or a baseline from its result and, if it has one, its sealed test."""
    config = configs.from_json(result.config_json) if result.config_json else None
    task, family = NUMBERS.get(result.number, (None, None))
    if config is not None:
        task, family = config.task, config.family
    complete = result.state == "complete"
    return Row(
        **study_fields(record) | _own(result, record),
        **_flat(config, record.clip),
        **sealed_fields(sealed_scores or {}),
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
        versions=_versions(result, record),
        frames_read=frames_read(record),
        data_sha256=record.data_sha256,
        split_sha256=record.split_sha256,
        split=record.split,
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
            **study_fields(record),
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


def sealed_fields(scores: dict[str, Any]) -> dict[str, Any]:
    """Give the fields of a sealed test from its file, whose keys are the columns."""
    metrics = {column: metric for metric, column in METRICS["test_metrics"].items()}
    others = {column: value for column, value in scores.items() if column not in metrics}
    found = {metrics[column]: scores[column] for column in metrics if column in scores}
    return others | {"test_metrics": found}


def _own(result: TrialResult, record: Record) -> dict[str, Any]:
    """Give what a trial may have of its own, where others have that of the study."""
    return {"commit": record.commit_of(result), "seed": record.seed + result.seed_offset}


def study_fields(record: Record) -> dict[str, Any]:
    """Give the fields that are equal in all rows of a study."""
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


_NOTED = ("still_improving", "folds_extended", "fallback_share")


def _cost(result: TrialResult) -> dict[str, Any]:
    """Give the columns of what a trial cost, and where."""
    names = ("train_seconds", "params", "peak_memory_gib", "device", "host", "epochs_restored")
    stage_seconds = float(result.work.get("stage_seconds", 0.0))
    values = {name: getattr(result, name) for name in (*names, *_NOTED)}
    return values | {"stage_seconds": stage_seconds}


def frames_read(record: Record) -> str | None:
    """Give the frames that the study fixes, as JSON; None if the space chooses them."""
    return json.dumps(record.clip, sort_keys=True) if record.clip else None


def _versions(result: TrialResult, record: Record) -> str:
    """Name the packages that trained a trial, and the sources of what it read, as JSON."""
    weights = {"weights": result.weights_source} if result.weights_source else {}
    return json.dumps(dict(result.versions or record.versions) | weights | sources(record))


def sources(record: Record) -> dict[str, str]:
    """Name what a study's faces come from, and what becomes of clips without one."""
    surface = {"surface": record.surface_sha256} if record.surface_sha256 else {}
    # Scores on different clips do not compare, so the ranks of a board keep them apart.
    missing = {"missing": record.missing} if record.missing not in (None, "leave-out") else {}
    return {"landmarks": record.landmarks} | surface | missing


def path(record: Record) -> AnyPath:
    """Give the path of a study's file."""
    return paths.recorded(record.leaderboards) / record.dataset / file_name(record.study)


def file_name(study: str) -> str:
    """Name the file of a study so that pandas reads it.

    pandas passes over names that begin with a dot or an underscore, and a file system takes no
    name of more than 255 bytes, with what `write_atomically` puts around it.
    """
    name = f"study{study}" if study.startswith((".", "_", " ")) else study
    if len(name.encode()) > _LONGEST_NAME:
        kept = name.encode()[: _LONGEST_NAME - _DIGITS - 1].decode(errors="ignore")
        name = f"{kept}-{hashlib.sha256(study.encode()).hexdigest()[:_DIGITS]}"
    return f"{name}.parquet"
