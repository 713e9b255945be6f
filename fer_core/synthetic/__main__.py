"""The command `python -m fer_core.synthetic --out FOLDER`, which renders the synthetic dataset.

It is for users who want the dataset without a search; `search.run` renders it by itself. What the
command does is in `dataset`.
"""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fer_core.data.datasets.synthetic import Layout, manifest
from fer_core.errors import FerError, command_line, reader_left
from fer_core.synthetic.dataset import MOST_SUBJECTS, ensure

Out = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER",
        help="The folder to write the dataset to. It and its parents are made if needed; a folder "
        "with other contents is never overwritten.",
    ),
]
ImitatedLayout = Annotated[
    Layout,
    typer.Option(
        help="The real dataset whose folders, file names and emotions are imitated. Only sase_fe "
        "has acted clips as well as genuine ones."
    ),
]
Subjects = Annotated[
    int, typer.Option(help=f"The number of people to render, 1 to {MOST_SUBJECTS}.")
]
Seed = Annotated[
    int, typer.Option(min=0, help="The seed of all random numbers; another gives other people.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="The number of processes that render at the same time. The default is one per core.",
        show_default=False,
    ),
]


def main(
    out: Out,
    layout: ImitatedLayout = "sase_fe",
    subjects: Subjects = 24,
    seed: Seed = 0,
    workers: Workers = None,
) -> None:
    """Render the synthetic dataset: videos of drawn faces that show emotions, with landmarks.

    Nothing is rendered again if the folder already holds the same dataset.

    To search on it: python -m search.run --dataset synthetic --data-root FOLDER
    """
    started = time.monotonic()
    try:
        ensure(out, layout=layout, subjects=subjects, seed=seed, workers=workers)
        rendered = manifest(out)
    except FerError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if reader_left(error):
            raise
        typer.echo(f"error: {out} cannot be written: {error}", err=True)
        raise typer.Exit(FerError.exit_code) from None
    seconds = time.monotonic() - started
    people, clips = len(rendered.subjects), len(rendered.clips)
    typer.echo(f"{out}: {clips} clips of {people} subjects, layout {layout}, {seconds:.0f} s")


def _run() -> int:
    typer.run(main)
    return 0


if __name__ == "__main__":
    sys.exit(command_line(_run))
