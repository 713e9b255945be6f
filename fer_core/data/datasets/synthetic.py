"""The synthetic dataset: clips rendered by `fer_core.synthetic`, in the layout of a real dataset.

The file `synthetic.json` in its folder says which layout that is, and the adapter of that dataset
reads the clips. This module does not import the renderer, which imports this module to write the
record.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from fer_core.data.datasets import oulu_casia, sase_fe
from fer_core.data.manifest import Clip, Manifest
from fer_core.data.reading import LANDMARKS
from fer_core.errors import DataError
from fer_core.storage.files import file_sha256

Layout = Literal["oulu_casia", "sase_fe"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
RECORD = "synthetic.json"
RENDERER = 2  # version of the renderer; count up when its pixels change


@dataclass(frozen=True)
class Record:
    """How a folder was rendered: the file `synthetic.json`.

    It is written last, so a folder that has it is complete.
    """

    layout: Layout
    subjects: int
    seed: int
    renderer: int = RENDERER


def manifest(root: Path) -> Manifest:
    """Read a rendered folder by the adapter of its layout, and add the rendered landmarks."""
    record = read_record(root)
    if record is None:
        raise DataError(
            f"{root} holds no synthetic dataset; render one into a new folder with "
            "python -m fer_core.synthetic --out FOLDER."
        )
    read = sase_fe.manifest if record.layout == "sase_fe" else oulu_casia.manifest
    real = read(root)
    clips = tuple(_with_landmarks(clip) for clip in real.clips)
    return replace(real, dataset="synthetic", clips=clips)


def read_record(root: Path) -> Record | None:
    """Read how a folder was rendered; None if it was not, or not completely."""
    try:
        return Record(**json.loads((root / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _with_landmarks(clip: Clip) -> Clip:
    beside = clip.path.with_suffix(".landmarks.npy")
    path = clip.path / LANDMARKS if clip.path.is_dir() else beside
    sha256 = file_sha256(path) if path.is_file() else None  # None: the clip will be skipped
    return replace(clip, landmarks=path, landmarks_sha256=sha256)
