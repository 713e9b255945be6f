"""Render the synthetic dataset: a folder of clips, several subjects at a time.

    python -m fer_core.synthetic --layout sase_fe --out data/synthetic --subjects 24

`search` and the command above call `ensure`. Each subject shows six emotions, each from neutral to
its apex. The same seed gives the same files, and the landmarks of each frame are exact. In
SASE-FE's layout each emotion appears twice, genuine and acted. The two differ only in their
dynamics (see `dynamics.py`), so a sequence of frames can tell them apart, and a single frame
cannot. OULU-CASIA's layout has genuine clips only, with fear in place of contempt.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

from fer_core.data.datasets.synthetic import LAYOUTS, RECORD, Layout, Record, read_record
from fer_core.errors import DataError, unknown
from fer_core.machine import allowed_cores
from fer_core.storage.processes import spread

MOST_SUBJECTS = 999  # OULU-CASIA's folder names have three digits, P001 to P999


def ensure(
    root: Path,
    *,
    layout: Layout = "sase_fe",
    subjects: int = 24,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render the dataset into `root` unless it is already there, and return `root`.

    After each subject, `progress` is called with the number of finished subjects and of all. The
    folder appears under its name only when it is complete.

    Raises: DataError if the arguments are impossible, or `root` holds something else.
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
        _render(aside, wanted, workers or allowed_cores(), progress)
        (aside / RECORD).write_text(json.dumps(asdict(wanted)) + "\n")
        aside.chmod(0o755)
        with suppress(OSError):  # another process may have rendered the same folder meanwhile
            aside.rename(root)
        if not _is_there(root, wanted):
            raise DataError(
                f"{root} could not be written; check that you may write to {root.parent}."
            )
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return root


def _render(
    folder: Path, record: Record, workers: int, progress: Callable[[int, int], None] | None
) -> None:
    subjects = range(1, record.subjects + 1)
    for done in spread(partial(_render_subject, folder, record), subjects, workers):
        if progress is not None:
            progress(done, record.subjects)


def _render_subject(folder: Path, record: Record, subject: int) -> None:
    from fer_core.synthetic import writing  # imports OpenCV and PyAV, needed only to render

    if record.layout == "sase_fe":
        writing.write_sase_fe_subject(folder, record.seed, subject)
    else:
        writing.write_oulu_casia_subject(folder, record.seed, subject)


def _is_there(root: Path, wanted: Record) -> bool:
    """Say whether `root` holds the wanted dataset; it may also be absent or empty.

    Raises: DataError if it holds anything else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    found = read_record(root)
    if found == wanted:
        return True
    found_text = "something else" if found is None else f"another rendering, {_settings(found)}"
    raise DataError(f"{root} holds {found_text}; choose a new folder for {_settings(wanted)}.")


def _settings(record: Record) -> str:
    return ", ".join(f"{name} {value}" for name, value in asdict(record).items())
