"""Search for the best model: `python -m search.run`, the command line.

This module reads the arguments, starts the search or the plan, and prints the leaderboard and the
next steps. `search/request/` says what each argument means, and `search/session/` does the work.
"""

import io
import json
import shlex
import sys
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import typer

from fer_core.errors import FerError
from fer_core.storage import paths, signals
from search import command
from search.request import arguments as args
from search.request import machine_arguments as machine_args
from search.request import settings as settings_
from search.request.settings import Machines, Settings
from search.study.options import PLACES, Options

if TYPE_CHECKING:
    from search.session.session import Outcome
    from search.study.folder import Folder

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_NOTHING_LOST = "Interrupted before the first trial. Nothing is lost: run the same command again."


@app.command(epilog="Start with: python -m search.run --space spaces/temporal.py")
def main(
    context: typer.Context,
    space: args.Space = None,
    resume: args.Resume = None,
    rebuild: args.Rebuild = False,
    seed: args.Seed = Options.seed,
    dataset: args.Dataset = Options.dataset,
    data_root: args.OptionalDataRoot = None,
    subject_pattern: args.SubjectPattern = None,
    columns: args.Columns = None,
    subject_table: args.SubjectTable = None,
    task: args.Task = None,
    protocol_name: args.Protocol = Options.protocol_name,
    split_seed: args.SplitSeed = Options.split_seed,
    nested: args.Nested = Options.nested,
    faces: args.Faces = "auto",
    missing: args.Missing = None,
    landmarks: args.Landmarks = "auto",
    max_missing: args.MaxMissing = Options.max_missing,
    weights: args.Weights = None,
    surface: args.Surface = None,
    trials: args.Trials = None,
    per_family: args.PerFamily = Options.per_family,
    time_budget: args.TimeBudget = None,
    smoke: args.Smoke = Options.smoke,
    pruning: args.Pruning = Options.pruning,
    repeats: args.Repeats = Options.repeats,
    address: machine_args.Address = Machines.address,
    cpus_per_trial: machine_args.CpusPerTrial = Machines.cpus_per_trial,
    gpus_per_trial: machine_args.GpusPerTrial = None,
    gpus_per_head: machine_args.GpusPerHead = None,
    leaderboards: machine_args.Leaderboards = Options.leaderboards,
    studies: machine_args.Studies = "studies",
    store: machine_args.Store = Options.store,
    cache: machine_args.Cache = None,
    dry_run: args.DryRun = False,
    as_json: args.AsJson = False,
    verbose: args.Verbose = False,
    quiet: args.Quiet = False,
) -> None:
    """Search for the best facial-expression model of a dataset, and print the leaderboard."""
    _start(context)


@command.errors_in_one_line(_NOTHING_LOST)
def _start(context: typer.Context) -> None:
    """Start the search, or print its plan."""
    given = context.params
    resumes = given["resume"] is not None
    folder = command.study_folder(given["resume"], given["studies"]) if resumes else None
    machines, settings = settings_.machines_of(given), _settings(context, folder)
    if given["dry_run"]:
        _plan(settings, given["as_json"], given["cpus_per_trial"])
    else:
        _search(context, settings, machines, folder)


def _settings(context: typer.Context, folder: "Folder | None") -> Settings:
    """Check the options of a new study, or take those of the study that is resumed."""
    given = context.params
    if folder is None:
        if given["rebuild"]:
            raise FerError("--rebuild makes the journal of a study anew; name it with --resume.")
        options = settings_.options_of(given)
        return settings_.resolve(options, studies=given["studies"], cache=given["cache"])
    fixed = {option.name for option in fields(Options)} - settings_.MAY_CHANGE
    named = _named(context)
    for name, flag in named.items():
        if name in fixed:
            raise FerError(
                f"{flag} cannot be given with --resume: the study keeps the options that it began "
                "with (study.json)."
            )
    places = {name: str(given[name]) for name in PLACES if name in named}
    names = ("trials", "cache", "rebuild")
    return settings_.resumed(
        folder.record(), folder, places=places, **{name: given[name] for name in names}
    )


def _named(context: typer.Context) -> dict[str, str]:
    """Return the parameters that the user gave on the command line, each with its flag."""
    return {
        str(param.name): (param.secondary_opts or param.opts)[-1]
        for param in context.command.params
        if (source := context.get_parameter_source(str(param.name))) is not None
        and source.name == "COMMANDLINE"
    }


def _plan(settings: Settings, as_json: bool, cpus: float) -> None:
    from search.drawing import space
    from search.planning import plan  # these import Optuna, which takes 0.3 s: too long for --help

    for line in settings.notices:
        print(line, file=sys.stderr)
    made = plan.make(space.load(settings.space), settings, cpus=cpus)
    print(json.dumps(asdict(made), indent=1) if as_json else plan.text(made))


def _search(
    context: typer.Context, settings: Settings, machines: Machines, folder: "Folder | None"
) -> None:
    from search.screen.progress import Progress
    from search.session import session  # imports Ray, which takes seconds: too long for --help

    as_json, quiet = context.params["as_json"], context.params["quiet"]
    try:
        with Progress(verbosity=0 if quiet else 1 + context.params["verbose"]) as progress:
            outcome = session.run(settings, machines, progress, folder)
    except session.InterruptedStudyError as stopped:
        with signals.last_words():
            print(
                "Interrupted. No finished trial is lost. To continue this study, run:\n"
                f"  {_resume_command(context, settings, stopped.study)}",
                file=sys.stderr,
            )
        raise typer.Exit(signals.INTERRUPTED) from stopped
    _print_board(outcome, as_json, explained=not quiet)
    if not quiet:
        _print_next(context, settings, outcome)


def _print_board(outcome: "Outcome", as_json: bool, *, explained: bool) -> None:
    import pandas as pd

    from search.results import ranking

    ranked = ranking.rank(pd.read_parquet(io.BytesIO(outcome.leaderboard.read_bytes())))
    if not as_json:
        command.show(ranking.table(ranked))
        if explained:
            print(f"\n{ranking.explained(ranked)}\n", file=sys.stderr)
        return
    trials = ranking.searched(ranked)
    nested = ranked[ranked["source"] == "nested"]
    summary = {
        "study": outcome.record.study,
        "leaderboard": str(outcome.leaderboard),
        "best": json.loads(trials.iloc[0].to_json(date_format="iso")),
        "nested": json.loads(nested.to_json(orient="records", date_format="iso")),
        "skipped": sorted(outcome.skipped),
        "counts": {state: int((trials["state"] == state).sum()) for state in ranking.STATES},
    }
    print(json.dumps(summary, indent=1))


def _print_next(context: typer.Context, settings: Settings, outcome: "Outcome") -> None:
    """Print, after a search, the commands that a user may want next."""
    record = outcome.record
    board = str(paths.parse(record.leaderboards) / record.dataset)
    print(
        "To read the whole leaderboard (every column, all studies of this dataset), in Python:\n"
        f"  import pandas; pandas.read_parquet({board!r})",
        file=sys.stderr,
    )
    if outcome.may_grow:
        more = 2 * record.trials
        print(
            f"To search further, up to {more} trials, run:\n"
            f"  {_resume_command(context, settings, record.study)} --trials {more}",
            file=sys.stderr,
        )


def _resume_command(context: typer.Context, settings: Settings, study: str) -> str:
    """Return the command that continues a study in the same place and on the same machines."""
    words = ["python", "-m", "search.run", "--resume", study]
    if settings.studies != paths.parse("studies").absolute():
        words += ["--studies", str(settings.studies)]
    kept = {"cache", *(option.name for option in fields(Machines))}
    for name, flag in _named(context).items():
        if name in kept:
            words += [flag, str(context.params[name])]
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(command.run(app))
