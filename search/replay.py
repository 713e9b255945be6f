"""`python -m search.replay ROW`: rebuild one row, say whether it came out the same, export it."""

import hashlib
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from fer_core import config as configs
from fer_core import places
from fer_core.errors import FerError
from fer_core.places import Place
from search import command

if TYPE_CHECKING:
    from fer_core.config import Config
    from fer_core.experiment import Experiment
    from search.study.folder import Folder, Record
    from search.study.parts import Part

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

CLOSE = 1e-5  # of a probability: what another machine's arithmetic may change
_ROW = "STUDY/TRIAL, or a config_id of the leaderboard."
_EXPORT = "Refit on all development subjects, and write the model to this new folder."


@dataclass(frozen=True)
class Row:
    """A row of a leaderboard, found again."""

    folder: "Folder"
    part: "Part"
    config: "Config"


@app.command()
def main(
    row: Annotated[str, Argument(metavar="ROW", help=_ROW)],
    export: Annotated[Path | None, Option(metavar="DIR", help=_EXPORT)] = None,
    studies: Annotated[str, Option(metavar="DIR|s3://..", help="Of the studies.")] = "studies",
) -> None:
    """Run a row of the leaderboard again, and say whether it came out the same."""
    with command.errors_said("interrupted; nothing was written."):
        if export is not None:
            _check_new(export)
        place = places.at(studies).absolute()
        if isinstance(place, places.S3Path):
            place.reach()
        found = find(row, place)
        record = found.folder.record()
        experiment = _experiment(found.folder, record)
        print(f"{found.config.family}, trial {found.part.number} of {record.study}")
        print(_verified(found, experiment))
        if export is not None:
            _export(found, record, experiment, export)
            print(f"exported to {export}; try: python -m fer_core.predict {export} VIDEO")


def _check_new(target: Path) -> None:
    from fer_core.export import check_new  # imports torch

    check_new(target)


def find(row: str, studies: Place) -> Row:
    """Find a row by its study and trial, or by its config.

    Raises: FerError where there is none, or it has no config.
    """
    from search.study import folder as folders  # NumPy takes 0.1 s, which --help has not

    study, _, number = row.replace(":", "/").rpartition("/")
    if study and number.removeprefix("-").isdigit():
        folder = folders.find(study, studies)
        part = folder.part(int(number))
        if part is None:
            raise FerError(f"study {folder.name} has no finished trial {number}.")
        return _row(folder, part)
    found = [folders.Folder(file.parents[1]) for file in _all(studies, "*/parts/*.json")]
    named = {
        f"{folder.name}/{part.number}": (folder, part)
        for folder in dict.fromkeys(found)
        for part in _parts(folder)
        if part.config_json and hashlib.sha256(part.config_json.encode()).hexdigest()[:16] == row
    }
    if not named:
        raise FerError(f"no row '{row}' below {studies}; name it STUDY/TRIAL, or by its config_id.")
    if len(named) > 1:
        raise FerError(f"'{row}' is the config of several rows; name one: {', '.join(named)}.")
    return _row(*next(iter(named.values())))


def _all(place: Place, pattern: str) -> list[Place]:
    return sorted(place.glob(pattern), key=str)


def _parts(folder: "Folder") -> "Iterator[Part]":
    numbers = [file.stem for file in _all(folder.path, "parts/*.json")]
    for number in filter(lambda each: each.removeprefix("-").isdigit(), numbers):
        part = folder.part(int(number))
        if part is not None:
            yield part


def _row(folder: "Folder", part: "Part") -> Row:
    if part.config_json is None:
        why = "it is a baseline" if part.number < 0 else part.error
        raise FerError(f"trial {part.number} of {folder.name} has no config to replay: {why}")
    return Row(folder, part, configs.from_json(part.config_json))


def _experiment(folder: "Folder", record: "Record") -> "Experiment":
    from search import data, settings  # these import what --help can do without
    from search.cluster.progress import Progress

    chosen = settings.resumed(record, folder=folder, trials=None)
    with Progress() as progress:
        return data.prepare(chosen, progress, record)


def _verified(row: Row, experiment: "Experiment") -> str:
    """Run the folds again and compare their scores with those that were kept."""
    import numpy as np

    from fer_core.repeatable import settle  # these import torch
    from fer_core.trial import cross_validate

    settle(threads=1)  # as a trial is given by default
    if row.part.state == "pruned":
        return _verified_so_far(row, experiment)
    raced = len(row.part.rung_uars) > 1  # then folds trained in other company
    results = list(cross_validate(row.config, experiment, raced=raced))
    now = sum(result.uar for result in results) / len(results)
    kept = row.folder.predictions(row.part.number)
    if row.part.val_uar is None or not kept.is_file():
        return f"val_uar {now:.6f} now; the row has no scores to compare: {row.part.state}"
    with np.load(io.BytesIO(kept.read_bytes())) as arrays:
        worst = max(
            float(np.abs(arrays[f"fold{r.fold}.probabilities"] - r.probabilities).max())
            for r in results
        )
    then = f"val_uar {row.part.val_uar:.6f} then, {now:.6f} now"
    if worst == 0:
        return f"{then}: the same, all {len(results)} folds to the last bit"
    scores = tuple(result.uar for result in results) == row.part.fold_uars
    verdict = "the same" if worst <= CLOSE else "the same scores" if scores else "NOT the same"
    beside = ", as it trained beside others" if worst > CLOSE and scores else ""
    return f"{then}: {verdict}, probabilities differ by up to {worst:.1e}{beside}"


def _verified_so_far(row: Row, experiment: "Experiment") -> str:
    """Train a pruned trial again as far as it came, and compare its scores at each rung."""
    from fer_core import race  # imports torch

    standings = race.run([row.config], experiment, raced=True)
    now: list[float] = []
    for _, (standing,) in zip(row.part.rung_uars, standings, strict=False):
        if standing.error is not None:
            raise standing.error
        now.append(sum(result.uar for result in standing.results) / len(standing.results))
    standings.close()
    verdict = "the same" if tuple(now) == row.part.rung_uars else "NOT the same"
    then, again = (" ".join(f"{uar:.6f}" for uar in uars) for uars in (row.part.rung_uars, now))
    return f"pruned at {row.part.reached}; val_uar at its rungs {then} then, {again} now: {verdict}"


def _export(row: Row, record: "Record", experiment: "Experiment", target: Path) -> None:
    from fer_core import export
    from fer_core.trial import refit
    from search.results import card

    model = refit(row.config, experiment)
    opened = row.folder.opened(row.part.number)
    scores = json.loads(opened.read_text()) if opened.is_file() else None
    surface = Path(experiment.surface) if experiment.surface else None
    export.save(model, target, card=card.text(model, row.part, record, scores), surface=surface)


if __name__ == "__main__":
    sys.exit(command.run(app))
