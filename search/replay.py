"""Train one row of a leaderboard again: `python -m search.replay ROW`, the command line.

It runs the trial's config on the study's data, compares the scores with those that the study wrote,
and says whether they are the same. With `--export` it also trains the model on all subjects that
are not sealed, and writes it to a folder that `fer_core.predict` reads.
"""

import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from fer_core import config as configs
from fer_core.errors import FerError
from fer_core.storage.paths import AnyPath
from search import command
from search.request import arguments as args
from search.request import machine_arguments as machine_args
from search.request import own_files
from search.study.options import PLACES

if TYPE_CHECKING:
    from fer_core.arrays import Array
    from fer_core.config import Config
    from fer_core.data.study_data import StudyData
    from fer_core.trial.results import FoldResult
    from search.study.folder import Folder, Record
    from search.study.parts import TrialResult

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

CLOSE = 1e-5  # difference of a probability that another machine's arithmetic may cause

RowName = Annotated[
    str,
    Argument(
        metavar="ROW",
        help="The row: STUDY/TRIAL, such as temporal-synthetic-cd90a9/3, or a config_id.",
    ),
]
Export = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        rich_help_panel=args.OUTPUT,
        help="Also train the model on all subjects that are not sealed, and write it to this new "
        "folder. 'python -m fer_core.predict DIR VIDEO' then applies it to a video.",
    ),
]
TestOn = Annotated[
    tuple[str, Path] | None,
    Option(
        metavar="DATASET DIR",
        rich_help_panel=args.OUTPUT,
        help="Train the model on all subjects that are not sealed, and score it, once, on another "
        "dataset, which lies in the folder DIR. The score is a row on that dataset's leaderboard.",
    ),
]


@dataclass(frozen=True)
class Row:
    """A row of a leaderboard: where its study is, what the trial reached, and its config."""

    folder: "Folder"
    result: "TrialResult"
    config: "Config"


@app.command()
def main(
    context: typer.Context,
    row: RowName,
    export: Export = None,
    test_on: TestOn = None,
    subject_pattern: args.SubjectPattern = None,
    columns: args.Columns = None,
    subject_table: args.SubjectTable = None,
    faces: args.Faces = "auto",
    studies: machine_args.Studies = "studies",
    data_root: machine_args.MovedDataRoot = None,
    store: machine_args.MovedStore = None,
    leaderboards: machine_args.MovedLeaderboards = None,
) -> None:
    """Train a row of the leaderboard again, and say whether its scores come out the same."""
    with command.errors_in_one_line("Interrupted. Nothing was written."):
        rules = _rules(context, test_on)
        if export is not None:
            _check_new(export)
        found = find(row, command.studies_folder(studies))
        root = None if data_root is None else str(data_root)
        places = {"data_root": root, "store": store, "leaderboards": leaderboards}
        writes_board = test_on is not None
        record, study_data = _study_data(found, places, writes_board=writes_board)
        print(f"{found.config.family}, trial {found.result.number} of {record.study}")
        if test_on is None or export is not None:
            print(_verified(found, study_data))
        if export is not None:
            _export(found, record, study_data, export)
            print(
                f"exported to {export}; try: python -m fer_core.predict {quote(str(export))} VIDEO"
            )
        if test_on is not None:
            print(_tested_on(found, record, study_data, *test_on, rules, faces))


def _rules(context: typer.Context, test_on: tuple[str, Path] | None) -> Mapping[str, Any]:
    """Check what the user says of the files of the other dataset."""
    given = context.params
    named = [name for name in ("subject_pattern", "columns", "subject_table") if given[name]]
    if test_on is None:
        if named or given["faces"] != "auto":
            raise FerError(
                "--subject-pattern, --column, --subjects and --faces are for the dataset of "
                "--test-on; a study keeps its own."
            )
        return {}
    return own_files.rules(given, test_on[0]) if named else {}


def _check_new(target: Path) -> None:
    from fer_core.predict.model_folder import check_new  # imports torch

    check_new(target)


def find(row: str, studies: AnyPath) -> Row:
    """Find a row by its study and trial, or by its config_id.

    Raises: FerError if there is none, or if it has no config.
    """
    from search.results import rows  # imports NumPy: too long for --help

    found = rows.find(row, studies)
    folder, result = found.folder, found.result
    if result.config_json is None:
        why = "it is a baseline" if result.number < 0 else result.error
        raise FerError(f"trial {result.number} of {folder.name} has no config to replay: {why}")
    return Row(folder, result, configs.from_json(result.config_json))


def _study_data(
    row: Row, named: Mapping[str, str | None], *, writes_board: bool
) -> tuple["Record", "StudyData"]:
    """Load the data of a row's study, which may have been moved, and give its record as of now."""
    from search.request import data, settings  # these import NumPy: too long for --help
    from search.screen.progress import Progress

    past = row.folder.record()
    needed = PLACES if writes_board else [name for name in PLACES if name != "leaderboards"]
    now = settings.resumed(past, row.folder, trials=None, places=named, needed=needed)
    with Progress() as progress:
        progress.print_all(now.notices)
        study_data = data.prepare(now, progress, past)
    places = {name: getattr(now.options, name) for name in (*PLACES, "weights")}
    return replace(past, **places), study_data.reseeded(row.result.seed_offset)


def _verified(row: Row, study_data: "StudyData") -> str:
    """Train the folds again, and compare their scores with those that the study wrote."""
    import numpy as np

    from fer_core.machine import make_deterministic  # these import torch
    from fer_core.trial.evaluate import cross_validate

    make_deterministic(threads=1)  # what a trial has by default
    if row.result.state == "pruned":
        return _verified_so_far(row, study_data)
    raced = len(row.result.rung_uars) > 1  # a study with rungs trains folds in other groups
    results = list(cross_validate(row.config, study_data, raced=raced))
    now = _uar(results, row.result)
    kept = row.folder.predictions(row.result.number)
    if row.result.val_uar is None or not kept.is_file():
        return f"val_uar {now:.6f} now; the row has no scores to compare: {row.result.state}"
    with np.load(io.BytesIO(kept.read_bytes())) as arrays:
        worst = max(
            _farthest(arrays[f"fold{r.fold}.probabilities"], r.probabilities) for r in results
        )
    then = f"val_uar {row.result.val_uar:.6f} then, {now:.6f} now"
    if worst == 0:
        return f"{then}: the same, all {len(results)} folds to the last bit"
    scores = tuple(result.metrics.uar for result in results) == row.result.fold_uars
    verdict = "the same" if worst <= CLOSE else "the same scores" if scores else "NOT the same"
    beside = ", as it trained beside others" if worst > CLOSE and scores else ""
    return f"{then}: {verdict}, probabilities differ by up to {worst:.1e}{beside}"


def _verified_so_far(row: Row, study_data: "StudyData") -> str:
    """Train a pruned trial again to where it stopped, and compare its scores at each rung."""
    from fer_core.trial import pack  # imports torch

    at_rungs = pack.train([row.config], study_data, raced=True)
    now: list[float] = []
    for _, (at_rung,) in zip(row.result.rung_uars, at_rungs, strict=False):
        if at_rung.error is not None:
            raise at_rung.error
        now.append(_uar(at_rung.results, row.result))
    at_rungs.close()
    verdict = "the same" if tuple(now) == row.result.rung_uars else "NOT the same"
    then, again = (" ".join(f"{uar:.6f}" for uar in uars) for uars in (row.result.rung_uars, now))
    return (
        f"pruned at {row.result.reached}; val_uar at its rungs {then} then, {again} now: {verdict}"
    )


def _uar(results: "Sequence[FoldResult]", then: "TrialResult") -> float:
    """Score folds as the row was scored: an older version took the mean of their UARs."""
    import numpy as np

    from fer_core.scoring import pooled, score

    if then.scoring_version == 1:  # without the clips that the trial could not show
        shown = [~np.isnan(result.probabilities).any(axis=1) for result in results]
        uars = [
            score(result.labels[rows], result.probabilities[rows]).uar
            for result, rows in zip(results, shown, strict=True)
        ]
        return sum(uars) / len(uars)
    return score(*pooled(results)[:2]).uar


def _farthest(then: "Array", now: "Array") -> float:
    """Return the largest difference of two probabilities (N, K); infinite for other clips.

    An older version did not write the clips that the trial could not show; today they come last.
    """
    import numpy as np

    lost = np.isnan(now[len(then) :]).all()
    if len(now) < len(then) or then.shape[1:] != now.shape[1:] or not lost:
        return math.inf
    apart, nothing = np.abs(then - now[: len(then)]), np.isnan(then) & np.isnan(now[: len(then)])
    return float(np.where(nothing, 0.0, apart).max())


def _export(row: Row, record: "Record", study_data: "StudyData", target: Path) -> None:
    from fer_core.data import subjects
    from fer_core.predict import model_folder
    from fer_core.trial.evaluate import refit
    from search.results import card, comparisons, nested_score

    model = refit(row.config, study_data)
    finished = list(row.folder.results(row.folder.result_numbers()).values())
    scores = comparisons.sealed_row(row.folder, row.result.number, finished, record.task)
    record = replace(record, split=subjects.kind_of_split(study_data.manifest))
    surface = Path(study_data.surface) if study_data.surface else None
    chosen = _is_best(row, finished, record.task)
    nested = nested_score.read(row.folder).get(model.task) if chosen else None
    text = card.text(model, row.result, record, scores, nested)
    model_folder.save(model, target, card=text, surface=surface)


def _is_best(row: Row, finished: "Sequence[TrialResult]", study_task: str) -> bool:
    """Return whether the search chose this trial: the best of its task, of equal ones the first."""
    from search.study.parts import by_task  # imports NumPy: too long for --help

    trials = by_task(finished, study_task).get(row.config.task or study_task, [])
    best = max(trials, key=lambda result: (result.val_uar or 0.0, -result.number), default=None)
    return best is not None and best.number == row.result.number


def _tested_on(
    row: Row,
    record: "Record",
    study_data: "StudyData",
    dataset: str,
    root: Path,
    rules: Mapping[str, Any],
    faces: str,
) -> str:
    """Score the row's model on another dataset, unless it was before, and say how it does."""
    from search.request import other_dataset  # imports torch
    from search.results import cross_dataset
    from search.screen.progress import Progress

    if row.result.state == "failed":
        raise FerError(f"trial {row.result.number} of {record.study} failed: {row.result.error}")
    with Progress() as progress:
        other = other_dataset.prepare(
            row.config, study_data, dataset, root.absolute(), progress, rules, faces
        )
        test = cross_dataset.CrossTest(row.folder, record, row.result, other)
        stored = cross_dataset.read(test)
        scores = stored or other_dataset.score(test, row.config, study_data, progress)
    row_file = cross_dataset.write_row(test, scores)
    at = "" if stored is None else f"; it was scored at {stored['finished_at']}, and only once"
    return f"{cross_dataset.text(test, scores)}{at}\nits row is in {row_file}"


if __name__ == "__main__":
    sys.exit(command.run(app))
