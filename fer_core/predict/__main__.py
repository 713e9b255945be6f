"""The command `python -m fer_core.predict DIR VIDEO`, which reads emotions from a video.

It checks the arguments, prints the prediction and draws the timeline. The work is in `on_video`.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from fer_core.errors import FerError, command_line, reader_left
from fer_core.machine import keep_to_allowed_cores
from fer_core.predict import model_folder
from fer_core.predict.on_video import SUFFIXES, predict
from fer_core.predict.prediction import in_json, text
from fer_core.storage import signals

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="The folder of a trained model. Export one with python -m search.replay STUDY/TRIAL "
        "--export DIR.",
    ),
]
Video = Annotated[
    Path,
    typer.Argument(
        metavar="VIDEO",
        help="The video to read: a video file, or a folder that holds its frames as images. If it "
        "shows several faces, the largest central one is followed.",
    ),
]
Picture = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The image file to draw the timeline to, which ends in "
        f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}. The default is VIDEO-timeline.png in the "
        "current folder.",
        show_default=False,
    ),
]
Faces = Annotated[
    Literal["as-trained", "found"],
    typer.Option(
        metavar="HOW",
        help="'as-trained': a model that was trained on cut-out faces takes each picture, whole, "
        "for a face. 'found': the face is looked for and cut out first, as every other model does.",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print the probabilities as one line of JSON instead of as text."),
]


def main(
    model: Folder,
    path: Video,
    picture: Picture = None,
    faces: Faces = "as-trained",
    as_json: AsJson = False,
) -> None:
    """Print the emotion of the face in a video, and draw it over time.

    If the model was trained for it, this also shows whether the emotion is genuine or acted.
    """
    from fer_core.predict.timeline import draw  # imports matplotlib, which --help does not need

    timeline = picture or Path(f"{path.resolve().stem}-timeline.png")
    signals.handle(signals.interrupt)
    keep_to_allowed_cores()
    try:
        _check(timeline, path)
        prediction = predict(model_folder.load(model), path, cuts_given=faces == "found")
        draw(prediction, path.name, timeline)
    except FerError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if reader_left(error):
            raise
        typer.echo(f"error: {error.strerror or error}: {error.filename or timeline}", err=True)
        raise typer.Exit(FerError.exit_code) from None
    except KeyboardInterrupt:
        with signals.last_words():
            typer.echo("Interrupted.", err=True)
        raise typer.Exit(signals.INTERRUPTED) from None
    typer.echo(in_json(prediction) if as_json else text(prediction))
    typer.echo(f"timeline: {timeline}", err=True)


def _check(timeline: Path, path: Path) -> None:
    """Refuse a place for the timeline that cannot be written, or that holds what is read.

    Raises: FerError that names the place.
    """
    if not timeline.parent.is_dir() or timeline.suffix not in SUFFIXES:
        raise FerError(
            f"--picture is {timeline}; it must end in {' or '.join(SUFFIXES)} and lie in a folder "
            "that exists."
        )
    if path.resolve() in (timeline.resolve(), timeline.resolve().parent):
        raise FerError(
            f"{timeline} would be written over or among what is read; name another file with "
            "--picture."
        )


def _run() -> int:
    typer.run(main)
    return 0


if __name__ == "__main__":
    sys.exit(command_line(_run))
