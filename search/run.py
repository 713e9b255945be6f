"""`python -m search.run`: the command line, and nothing else."""

import io
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from fer_core.errors import FerError
from fer_core.storage import paths
from fer_core.storage.paths import AnyPath
from search import command
from search.request import settings as settings_
from search.request.settings import Machines, Settings

if TYPE_CHECKING:
    from search.session import Outcome
    from search.study.folder import Folder

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_NOTHING_LOST = "interrupted before the first trial; nothing is lost."
_MOST = 2**32 - 1  # NumPy's largest seed
_MOST_TRIALS = 1_000_000
_TRIALS = "24; with --smoke, 4; or all that the space enumerates."
_PROTOCOL = "sealed, or one that the dataset has published."
_MISSING = "Share of the clips that the study can do without."
_PLACE = "DIR|s3://.."
_HEAD = "GPU share of a trial on stored features; see --dry-run."
_CACHE = "Each machine's, of s3: ~/.cache/fer-search, half of what is free."
_PRUNING = "Train every trial on all folds and epochs."
# What study.json fixes for a study that is resumed.
_FIXED = (
    "space",
    "dataset",
    "data_root",
    "task",
    "seed",
    "store",
    "leaderboards",
    "landmarks",
    "protocol",
    "surface",
    "max_missing",
    "smoke",
)


@app.command()
def main(
    context: typer.Context,
    space: Annotated[Path | None, Option(help="The space file to search.")] = None,
    dataset: Annotated[str, Option(help="A dataset's name.")] = settings_.SYNTHETIC,
    data_root: Annotated[Path | None, Option(help="Where the dataset lies.")] = None,
    task: Annotated[str | None, Option(help="emotion, authenticity or hidden.")] = None,
    trials: Annotated[int | None, Option(min=1, max=_MOST_TRIALS, help=_TRIALS)] = None,
    time_budget: Annotated[str | None, Option(help="30s, 10m, 2h; then no trial starts.")] = None,
    seed: Annotated[int, Option(min=0, max=_MOST, help="Of split, draws and training.")] = 0,
    address: Annotated[str, Option(help="Ray: auto, local, or HOST[:PORT].")] = "auto",
    cpus_per_trial: Annotated[float, Option(min=0.01, help="CPUs of a trial.")] = 1.0,
    gpus_per_trial: Annotated[float | None, Option(min=0, help="1 where there are any.")] = None,
    gpus_per_head: Annotated[float | None, Option(min=0, max=1, help=_HEAD)] = None,
    leaderboards: Annotated[str, Option(metavar=_PLACE, help="Of the boards.")] = "leaderboards",
    studies: Annotated[str, Option(metavar=_PLACE, help="Of the studies.")] = "studies",
    store: Annotated[str, Option(metavar=_PLACE, help="Of what trials share.")] = "store",
    cache: Annotated[str | None, Option(metavar="DIR[:GB]", help=_CACHE)] = None,
    resume: Annotated[str | None, Option(help="A study to go on with, or to extend.")] = None,
    weights: Annotated[list[str] | None, Option(metavar="NAME=FILE", help="Repeatable.")] = None,
    landmarks: Annotated[str, Option(help="auto, data, dlib or face_alignment.")] = "auto",
    protocol: Annotated[str, Option(help=_PROTOCOL)] = settings_.SEALED,
    surface: Annotated[Path | None, Option(help="Of frontal views: .npz or .obj.")] = None,
    max_missing: Annotated[float, Option(min=0, max=1, help=_MISSING)] = settings_.MAX_MISSING,
    dry_run: Annotated[bool, Option("--dry-run", help="Only say what would be done.")] = False,
    smoke: Annotated[bool, Option("--smoke", help="Small data and few trials.")] = False,
    pruning: Annotated[bool, Option(" /--no-pruning", help=_PRUNING)] = True,
    as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
    verbose: Annotated[bool, Option("-v", help="Say more.")] = False,
    quiet: Annotated[bool, Option("-q", help="Say nothing but errors.")] = False,
) -> None:
    """Search for the best facial-expression model of a dataset, and print the leaderboard."""
    with command.errors_said(_NOTHING_LOST):
        machines = _machines(context.params)
        folder = _found(resume, studies) if resume is not None else None
        chosen = _settings(context, folder)
        if dry_run:
            _plan(chosen, as_json, cpus_per_trial)
        else:
            _search(chosen, machines, folder, 0 if quiet else 1 + verbose, as_json)


def _machines(given: dict[str, Any]) -> Machines:
    limit = given["time_budget"]
    return Machines(
        address=given["address"],
        cpus=given["cpus_per_trial"],
        gpus=given["gpus_per_trial"],
        head_gpus=given["gpus_per_head"],
        seconds=settings_.seconds(limit) if limit is not None else None,
    )


def _found(study: str, studies: str) -> "Folder":
    from search.study import folder  # NumPy takes 0.1 s, which --help has not

    place = paths.parse(studies).absolute()
    if isinstance(place, paths.S3Path):
        place.reach()
    return folder.find(study, place)


def _settings(context: typer.Context, folder: "Folder | None") -> Settings:
    """Resolve the options, or those of the study that is resumed."""
    given = context.params
    if folder is None:
        if given["space"] is None:
            raise FerError("--space names no file; give one, such as --space spaces/temporal.py.")
        named = {name: given[name] for name in (*_FIXED, "trials")}
        named["store"] = settings_.store_at(given["store"], given["cache"])
        for name in ("studies", "leaderboards"):
            named[name] = paths.parse(given[name]).absolute()
        resolved = settings_.resolve(**named, weights=given["weights"] or [])
        return replace(resolved, cache=given["cache"], pruning=given["pruning"])
    for name in (*_FIXED, "weights", "pruning"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "no-pruning" if name == "pruning" else name.replace("_", "-")
            raise FerError(f"--{option} cannot be given with --resume: study.json fixes it.")
    trials, cache = given["trials"], given["cache"]
    return settings_.resumed(folder.record(), folder=folder, trials=trials, cache=cache)


def _plan(chosen: Settings, as_json: bool, cpus: float) -> None:
    from search.planning import plan
    from search.study import space  # Optuna takes 0.3 s, which --help has not

    made = plan.make(space.load(chosen.space), chosen, cpus=cpus)
    print(json.dumps(asdict(made), indent=1) if as_json else plan.text(made))


def _search(
    chosen: Settings, machines: Machines, folder: "Folder | None", verbosity: int, as_json: bool
) -> None:
    from search import session  # Ray takes seconds, which --help has not
    from search.screen.progress import Progress

    try:
        with Progress(verbosity=verbosity) as progress:
            outcome = session.run(chosen, machines, progress, folder)
    except session.InterruptedStudyError as stopped:
        said = f"interrupted; go on with: {_resume_command(stopped.study, chosen.studies)}"
        print(said, file=sys.stderr)
        raise typer.Exit(command.INTERRUPTED) from stopped
    _print_board(outcome, as_json)
    if verbosity:
        _print_next(outcome, chosen.studies)


def _print_board(outcome: "Outcome", as_json: bool) -> None:
    import pandas as pd

    from search.results import ranking

    ranked = ranking.rank(pd.read_parquet(io.BytesIO(outcome.leaderboard.read_bytes())))
    if not as_json:
        command.show(ranking.table(ranked))
        return
    trials = ranking.searched(ranked)
    summary = {
        "study": outcome.record.study,
        "leaderboard": str(outcome.leaderboard),
        "best": json.loads(trials.iloc[0].to_json(date_format="iso")),
        "skipped": sorted(outcome.skipped),
        "counts": {state: int((trials["state"] == state).sum()) for state in ranking.STATES},
    }
    print(json.dumps(summary, indent=1))


def _print_next(outcome: "Outcome", studies: AnyPath) -> None:
    record = outcome.record
    board = str(paths.parse(record.leaderboards) / record.dataset)
    print(f"the whole board:  pandas.read_parquet({board!r})", file=sys.stderr)
    if outcome.may_grow:
        more = f"{_resume_command(record.study, studies)} --trials {2 * record.trials}"
        print(f"search further:   {more}", file=sys.stderr)


def _resume_command(study: str, studies: AnyPath) -> str:
    there = "" if studies == Path("studies").absolute() else f" --studies {studies}"
    return f"python -m search.run --resume {study}{there}"


if __name__ == "__main__":
    sys.exit(command.run(app))
