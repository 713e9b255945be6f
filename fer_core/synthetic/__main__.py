"""The command `python -m fer_core.synthetic --out FOLDER`, which renders the synthetic dataset."""

import time
from pathlib import Path
from typing import Annotated

import typer

from fer_core.data.datasets.synthetic import Layout, manifest
from fer_core.errors import FerError
from fer_core.synthetic.dataset import ensure


def main(
    out: Annotated[Path, typer.Option(help="Folder to make; its parent is made too.")],
    layout: Annotated[Layout, typer.Option(help="Whose folders and file names.")] = "sase_fe",
    subjects: Annotated[int, typer.Option(help="How many people.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other people.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: all cores.")
    ] = None,
) -> None:
    """Render the synthetic dataset, unless it is there already."""
    started = time.monotonic()
    try:
        ensure(out, layout=layout, subjects=subjects, seed=seed, workers=workers)
        found = manifest(out)
    except FerError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    seconds = time.monotonic() - started
    people, clips = len(found.subjects), len(found.clips)
    typer.echo(f"{out}: {clips} clips of {people} subjects, layout {layout}, {seconds:.0f} s")


if __name__ == "__main__":
    typer.run(main)
