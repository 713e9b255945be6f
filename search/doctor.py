"""Check a dataset before a study uses it: `python -m search.doctor`, the command line.

It examines every file, finds every face, and prints what is missing, odd or unusable, and whether
a study may start. The faces stay in the store, so a study does not look for them again. The work
is done by `search/checkup/`; this module reads the arguments and prints the report.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from fer_core.config import VIEWS
from fer_core.errors import DataError, FerError, unknown
from fer_core.machine import allowed_cores
from fer_core.storage.paths import S3Path
from search import command
from search.request import arguments as args
from search.request import machine_arguments as machine_args
from search.request import own_files
from search.request import settings as settings_
from search.study.options import Options

if TYPE_CHECKING:
    from fer_core.storage.shared_store import SharedPlace
    from search.checkup.checkup import Checked, Request
    from search.screen.progress import Progress

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_INTERRUPTED = "Interrupted. What was prepared is kept: the same command continues there."
_AS_GIVEN = (  # arguments that the checkup takes as they are
    "dataset",
    "faces",
    "missing",
    "landmarks",
    "task",
    "protocol",
    "max_missing",
    "quick",
    "near_copies",
)
_MOST_LINES = 40  # of findings on the screen; the file of findings has all, and so has --json

NearCopies = Annotated[
    bool,
    Option(
        " /--no-near-copies",
        metavar="",
        rich_help_panel=args.DATA,
        show_default=False,
        help="Do not look for images that are nearly the same (resized, re-encoded or mirrored) "
        "and have different subjects or labels.",
    ),
]
SamePerson = Annotated[
    float | None,
    Option(
        "--same-person",
        metavar="FALSE_MATCHES",
        min=0.001,
        rich_help_panel=args.DATA,
        help="Also compare the faces, and list the 20 likeliest pairs of subjects on different "
        "sides of the split that may be one person. The number says how many pairs of different "
        "people may be taken for one, such as 1; fewer mean a stricter threshold.",
    ),
]
Workers = Annotated[
    int | None,
    Option(
        metavar="N",
        min=1,
        rich_help_panel=machine_args.MACHINES,
        help="How many processes look for faces. Default: one for each CPU core that the command "
        "may use.",
    ),
]
View = Annotated[
    list[str] | None,
    Option(
        metavar="VIEW",
        rich_help_panel=args.DATA,
        help=f"Also make and store this view of every face: {', '.join(VIEWS)}. May be given "
        "several times.",
    ),
]
Quick = Annotated[
    bool,
    Option(
        "--quick",
        metavar="",
        rich_help_panel=args.DATA,
        help="Examine the files only: no face is looked for, and nothing is stored.",
    ),
]
Sheet = Annotated[
    Path | None,
    Option(
        metavar="FILE.png",
        rich_help_panel=args.OUTPUT,
        help="Draw faces of some subjects into a picture, to see whether they were found well.",
    ),
]
FindingsFile = Annotated[
    Path | None,
    Option(
        "--findings",
        metavar="FILE.csv",
        rich_help_panel=args.OUTPUT,
        show_default=False,
        help="Write all findings into this file. Default, if there are any: DATASET-findings.csv "
        "in the current folder.",
    ),
]
SheetSubjects = Annotated[
    int,
    Option(
        metavar="N",
        min=1,
        max=40,
        rich_help_panel=args.OUTPUT,
        help="How many subjects the picture of --sheet shows, at most 40.",
    ),
]


@app.command(epilog="The faces are stored: no study has to look for them again.")
def main(
    context: typer.Context,
    dataset: args.Dataset,
    data_root: args.DataRoot,
    subject_pattern: args.SubjectPattern = None,
    columns: args.Columns = None,
    subject_table: args.SubjectTable = None,
    task: args.Task = None,
    protocol: args.Protocol = Options.protocol_name,
    faces: args.Faces = "auto",
    missing: args.Missing = None,
    landmarks: args.Landmarks = "auto",
    max_missing: args.MaxMissing = Options.max_missing,
    view: View = None,
    quick: Quick = False,
    near_copies: NearCopies = True,
    same_person: SamePerson = None,
    workers: Workers = None,
    store: machine_args.Store = Options.store,
    sheet: Sheet = None,
    sheet_subjects: SheetSubjects = 8,
    findings: FindingsFile = None,
    as_json: args.AsJson = False,
    quiet: args.Quiet = False,
) -> None:
    """Check a dataset: what is missing, odd or unusable, and whether a study may start."""
    with command.errors_in_one_line(_INTERRUPTED):
        settings_.check_names(dataset, protocol)
        rules = own_files.rules(context.params, dataset)
        _check_requested(view or (), sheet, same_person, quick)
        _check_writable("--findings", findings, ".csv")
        place = _checked_store(store)
        from search.checkup import checkup  # imports OpenCV, which takes seconds
        from search.screen.progress import Progress

        with Progress(verbosity=0 if quiet else 1) as progress:
            request = _request(context.params, rules, place)
            checked = checkup.check(request, progress)
            _prepare(checked, view or (), place, progress)
            _draw(checked, sheet, sheet_subjects)
        _print(checked, as_json, findings)
        if not checked.report.may_start:
            raise typer.Exit(DataError.exit_code)


def _request(
    given: Mapping[str, Any], rules: Mapping[str, Any], store: "Path | SharedPlace"
) -> "Request":
    """Say what is to be checked, from the arguments of the command and the checked `rules`."""
    from search.checkup.checkup import Request

    return Request(
        **{name: given[name] for name in _AS_GIVEN},
        **rules,
        root=given["data_root"].absolute(),
        store=store,
        workers=given["workers"] or allowed_cores(),
        false_matches=given["same_person"],
    )


def _checked_store(text: str) -> "Path | SharedPlace":
    """Read where the store is. If it is in S3, check now that it can be written."""
    from search.request import places  # imports NumPy: too long for --help

    places.check_folder("--store", text)
    store = settings_.store_at(text)
    place = getattr(store, "place", None)
    if isinstance(place, S3Path):
        place.check()
    return store


def _check_requested(
    views: Sequence[str], sheet: Path | None, same_person: float | None, quick: bool
) -> None:
    """Refuse what cannot be made, such as a view without faces, before the long work begins."""
    for view in views:
        if view not in VIEWS:
            raise FerError(unknown("view", view, VIEWS))
    if views and quick:
        raise FerError("--view shows faces, and --quick finds none; leave one of them out.")
    if same_person is not None and quick:
        raise FerError(
            "--same-person compares faces, and --quick finds none; leave one of them out."
        )
    if sheet is None:
        return
    if quick:
        raise FerError("--sheet shows faces, and --quick finds none; leave one of them out.")
    _check_writable("--sheet", sheet, ".png")


def _check_writable(flag: str, file: Path | None, suffix: str) -> None:
    if file is None:
        return
    if file.suffix.lower() != suffix:
        raise FerError(f"{flag} is '{file}'; it must be the name of a {suffix} file.")
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise FerError(f"{flag}: {file} cannot be written; {file.parent} must be a folder.")


def _prepare(
    checked: "Checked", names: Sequence[str], store: "Path | SharedPlace", progress: "Progress"
) -> None:
    from search.checkup import checkup

    for view in names:
        progress.print(f"preparing the view {view}")
        checkup.prepare_view(checked, view, store=store, progress=progress)


def _draw(checked: "Checked", path: Path | None, subjects: int) -> None:
    from search.checkup import contact_sheet

    if path is not None and checked.prepared is not None:
        contact_sheet.draw(path, checked.manifest, checked.prepared.faces, subjects=subjects)


def _print(checked: "Checked", as_json: bool, file: Path | None) -> None:
    from search.checkup.findings import listed

    report = checked.report
    file = listed(report, dict(checked.manifest.places), file)
    if as_json:
        print(json.dumps(asdict(report), indent=1))
        return
    from rich.table import Table
    from rich.text import Text

    from search.checkup import lines as texts

    facts, findings = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
    for name, fact in texts.facts(report):
        facts.add_row(name, Text(fact))
    lines = list(texts.finding_lines(report))
    for line in lines[:_MOST_LINES]:
        findings.add_row(*map(Text, line.columns))
    command.show(facts)
    command.show(findings)
    hidden = len(report.findings) - sum(line.findings for line in lines[:_MOST_LINES])
    if hidden:
        print(f"{hidden} more findings are not told of here")
    if file is not None:
        print(f"all findings are listed in {file}")
    verdict = "a study may start" if report.may_start else "a study must not start"
    print(f"{verdict}: {report.because}")


if __name__ == "__main__":
    sys.exit(command.run(app))
