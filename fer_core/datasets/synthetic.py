"""Expression videos that this project renders itself, in the layouts of real datasets.

    python -m fer_core.datasets.synthetic --layout sase_fe --out data/synthetic --subjects 24

Six emotions of every subject from neutral to apex, deterministic by seed, with exact landmarks. In
SASE-FE's layout each is there twice, genuine and acted; the two differ in their dynamics only (see
`rendering/dynamics.py`), so that no still can tell them and a sequence can. In OULU-CASIA's layout
there are only genuine ones, with fear in place of contempt.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from fer_core.datasets import oulu_casia, sase_fe
from fer_core.errors import DataError, FerError, unknown
from fer_core.manifest import Clip, Manifest, file_sha256
from fer_core.processes import spread

Layout = Literal["oulu_casia", "sase_fe"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
RECORD = "synthetic.json"
RENDERER = 2  # counts up whenever other pixels come out
MOST_SUBJECTS = 999  # P001 to P999


@dataclass(frozen=True)
class Record:
    """What a rendered folder was made from; written last, so a folder that has it is complete."""

    layout: Layout
    subjects: int
    seed: int
    renderer: int = RENDERER


def ensure(
    root: Path,
    *,
    layout: Layout = "sase_fe",
    subjects: int = 24,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render the dataset into `root` unless it is there, and return `root`.

    `progress` is told after each subject how many of how many are done.

    Raises: DataError where `root` holds something else.
    """
    if layout not in LAYOUTS:
        raise DataError(unknown("layout", layout, LAYOUTS))
    if not 1 <= subjects <= MOST_SUBJECTS:
        raise DataError(f"{subjects} subjects cannot be rendered; ask for 1 to {MOST_SUBJECTS}.")
    wanted = Record(layout, subjects, seed)
    if _is_there(root, wanted):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
    try:
        _render(aside, wanted, workers or os.cpu_count() or 1, progress)
        (aside / RECORD).write_text(json.dumps(asdict(wanted)) + "\n")
        aside.chmod(0o755)
        with suppress(OSError):  # another process may have been first
            aside.rename(root)
        if not _is_there(root, wanted):
            raise DataError(f"{root} could not be written; check that its folder can be.")
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return root


def manifest(root: Path) -> Manifest:
    """Read a rendered folder through the adapter of its layout."""
    record = _record(root)
    if record is None:
        raise DataError(
            f"{root} holds no synthetic dataset; render one into a new folder with "
            "python -m fer_core.datasets.synthetic --out FOLDER."
        )
    read = sase_fe.manifest if record.layout == "sase_fe" else oulu_casia.manifest
    real = read(root)
    clips = tuple(_with_landmarks(clip) for clip in real.clips)
    return replace(real, dataset="synthetic", clips=clips)


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


def _render(
    folder: Path, record: Record, workers: int, progress: Callable[[int, int], None] | None
) -> None:
    subjects = range(1, record.subjects + 1)
    for done in spread(partial(_render_subject, folder, record), subjects, workers):
        if progress is not None:
            progress(done, record.subjects)


def _render_subject(folder: Path, record: Record, subject: int) -> None:
    from fer_core.datasets.rendering import writing  # OpenCV and PyAV only where pixels are made

    if record.layout == "sase_fe":
        writing.write_sase_fe_subject(folder, record.seed, subject)
    else:
        writing.write_oulu_casia_subject(folder, record.seed, subject)


def _with_landmarks(clip: Clip) -> Clip:
    beside = clip.path.with_suffix(".landmarks.npy")
    path = clip.path / "landmarks.npy" if clip.path.is_dir() else beside
    known = file_sha256(path) if path.is_file() else None  # the clip is skipped where it is gone
    return replace(clip, landmarks=path, landmarks_sha256=known)


def _is_there(root: Path, wanted: Record) -> bool:
    """Say whether `root` holds what is wanted; it may be absent or empty, but nothing else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    found = _record(root)
    if found == wanted:
        return True
    held = "something else" if found is None else f"another rendering, {_settings(found)}"
    raise DataError(f"{root} holds {held}; choose a new folder for {_settings(wanted)}.")


def _record(root: Path) -> Record | None:
    try:
        return Record(**json.loads((root / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _settings(record: Record) -> str:
    return ", ".join(f"{name} {value}" for name, value in asdict(record).items())


if __name__ == "__main__":
    typer.run(main)
