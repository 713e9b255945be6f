"""`python -m search.doctor`: look at a dataset before a study does, and prepare its faces."""

import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from fer_core.config import VIEWS
from fer_core.errors import DataError, FerError, unknown
from fer_core.storage.paths import S3Path
from search import command
from search.request import settings as settings_

if TYPE_CHECKING:
    from fer_core.storage.shared_store import SharedPlace
    from search.checkup.checkup import Checked, Report
    from search.screen.progress import Progress

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_INTERRUPTED = "interrupted; what is prepared is kept, and the same command goes on."
_MISSING = "Share of its clips that a study can do without."
_GATHERED = ("ignored", "note")  # kinds of findings
_LINES = 40  # of findings; --json has all


@app.command()
def main(
    dataset: Annotated[str, Option(help="A dataset's name.")],
    data_root: Annotated[Path, Option(help="Where the dataset lies.")],
    store: Annotated[str, Option(metavar="DIR|s3://..", help="Of what studies share.")] = "store",
    landmarks: Annotated[str, Option(help="auto, data, dlib or face_alignment.")] = "auto",
    task: Annotated[str | None, Option(help="emotion, authenticity or hidden.")] = None,
    max_missing: Annotated[float, Option(min=0, max=1, help=_MISSING)] = settings_.MAX_MISSING,
    workers: Annotated[int | None, Option(min=1, help="Processes; else one a core.")] = None,
    sheet: Annotated[Path | None, Option(help="Draw faces to look at: a .png file.")] = None,
    sheet_subjects: Annotated[int, Option(min=1, help="Subjects on the sheet.")] = 8,
    view: Annotated[list[str] | None, Option(help="Prepare this view too; repeatable.")] = None,
    quick: Annotated[bool, Option("--quick", help="Examine files, find no faces.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, Option("-q", help="Say nothing but the report.")] = False,
) -> None:
    """Say what of a dataset is missing, odd or unfit, and prepare its faces for every study."""
    with command.errors_said(_INTERRUPTED):
        settings_.check_names(dataset, task, landmarks)
        _check_asked(view or (), sheet, quick)
        kept = _kept(store)
        from search.checkup import checkup  # OpenCV and torch take seconds, which --help has not
        from search.screen.progress import Progress

        with Progress(verbosity=0 if quiet else 1) as progress:
            checked = checkup.check(
                dataset,
                data_root.absolute(),
                store=kept,
                landmarks=landmarks,
                task=task,
                max_missing=max_missing,
                workers=workers or os.cpu_count() or 1,
                quick=quick,
                progress=progress,
            )
            _prepare(checked, view or (), kept, progress)
            _draw(checked, sheet, sheet_subjects)
        _print(checked.report, as_json)
        if not checked.report.may_start:
            raise typer.Exit(DataError.exit_code)


def _kept(store: str) -> "Path | SharedPlace":
    """Read where stages go, and see that S3 answers before an hour's work."""
    kept = settings_.store_at(store)
    place = getattr(kept, "place", None)
    if isinstance(place, S3Path):
        place.check()
    return kept


def _check_asked(views: Sequence[str], sheet: Path | None, quick: bool) -> None:
    """Refuse what could not be made, before an hour's work and not after."""
    for view in views:
        if view not in VIEWS:
            raise FerError(unknown("view", view, VIEWS))
    if views and quick:
        raise FerError("--view shows faces, and --quick finds none; leave one of them out.")
    if sheet is None:
        return
    if quick:
        raise FerError("--sheet shows faces, and --quick finds none; leave one of them out.")
    if sheet.suffix.lower() != ".png":
        raise FerError(f"--sheet is '{sheet}'; it must be the name of a .png file.")
    if sheet.is_dir() or not os.access(sheet.parent, os.W_OK):
        raise FerError(f"--sheet: {sheet} cannot be written; {sheet.parent} must be a folder.")


def _prepare(
    checked: "Checked", named: Sequence[str], store: "Path | SharedPlace", progress: "Progress"
) -> None:
    from search.checkup import checkup

    for view in named:
        progress.print(f"preparing the view {view}")
        checkup.prepare_view(checked, view, store=store, progress=progress)


def _draw(checked: "Checked", path: Path | None, subjects: int) -> None:
    from search.checkup import contact_sheet

    if path is not None and checked.prepared is not None:
        contact_sheet.draw(path, checked.manifest, checked.prepared.faces, subjects=subjects)


def _print(report: "Report", as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(report), indent=1))
        return
    from rich.table import Table
    from rich.text import Text

    facts, listed = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
    for name, fact in _facts(report):
        facts.add_row(name, Text(fact))
    lines = list(_lines(report))
    for line in lines[:_LINES]:
        listed.add_row(*map(Text, line))
    command.show(facts)
    command.show(listed)
    if len(lines) > _LINES:
        print(f"and {len(lines) - _LINES} more, see --json")
    verdict = "a study may start" if report.may_start else "a study must not start"
    print(f"{verdict}: {report.because}")


def _facts(report: "Report") -> Iterator[tuple[str, str]]:
    """Say in a few lines what a copy of a dataset is."""
    from fer_core.data.datasets import DATASETS  # NumPy takes 0.1 s, which --help has not

    kinds = Counter(finding.kind for finding in report.findings)
    yield "dataset", f"{report.dataset}, {report.root}"
    yield "clips", f"{report.clips} of {report.subjects} subjects, {report.frames} frames"
    yield "classes", ", ".join(f"{name} {count}" for name, count in report.classes.items())
    known = "as published" if DATASETS[report.dataset].totals else "none are known"
    for said in report.totals or [known]:
        yield "totals", said
    for split in report.protocols:
        said = f"cannot be followed: {split.unfit}" if split.unfit else split.about
        yield "protocol", f"{split.name}: {said}"
    yield "findings", ", ".join(f"{kind} {count}" for kind, count in kinds.items()) or "none"
    if report.faces:
        found = asdict(report.faces)
        yield (
            "faces",
            ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in found.items()),
        )
    if report.forecast:
        yield "preparing", str(report.forecast)


def _lines(report: "Report") -> Iterator[tuple[str, str, str]]:
    """Give kind, path and reason; a note on many files is one line, a lost one has its own."""
    paths = defaultdict(list)
    for finding in report.findings:
        alone = "" if finding.kind in _GATHERED else finding.path
        paths[finding.kind, finding.reason, alone].append(finding.path)
    for (kind, reason, _), (first, *others) in paths.items():
        yield kind, f"{first} and {len(others)} more" if others else first, reason


if __name__ == "__main__":
    sys.exit(command.run(app))
