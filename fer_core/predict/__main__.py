"""The command `python -m fer_core.predict DIR VIDEO`."""

from pathlib import Path
from typing import Annotated

import typer

from fer_core.errors import FerError
from fer_core.predict import model_folder
from fer_core.predict.on_video import SUFFIXES, predict
from fer_core.predict.prediction import in_json, text


def main(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="What search.replay exported.")],
    path: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video, or a folder of images.")],
    picture: Annotated[Path | None, typer.Option(help="Default: VIDEO-timeline.png, here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the emotion and authenticity of a video, and draw them over time."""
    from fer_core.predict.timeline import draw  # matplotlib, which --help can do without

    drawn = picture or Path(f"{path.stem}-timeline.png")
    try:
        if not drawn.parent.is_dir() or drawn.suffix not in SUFFIXES:
            raise FerError(
                f"--picture is {drawn}; it must be a {' or '.join(SUFFIXES)} in a folder."
            )
        found = predict(model_folder.load(model), path)
        draw(found, path.name, drawn)
    except FerError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        typer.echo(f"error: {error.strerror or error}: {error.filename or drawn}", err=True)
        raise typer.Exit(FerError.exit_code) from None
    typer.echo(in_json(found) if as_json else text(found))
    typer.echo(f"timeline: {drawn}", err=True)


if __name__ == "__main__":
    typer.run(main)
