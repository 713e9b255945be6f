"""Predict how long finding all faces of a dataset takes, and how large they are in the store.

A few clips are searched, and the result is scaled up to all frames. The checkup prints the
forecast before it starts, and `--dry-run` adds its seconds to the time of the study.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from fer_core.data.manifest import Clip
from fer_core.errors import DataError
from fer_core.faces import faces_stage
from fer_core.faces.file_checks import header
from fer_core.faces.follow import cut
from fer_core.faces.tracks import FRAME
from fer_core.storage.file_names import MEDIA_SUFFIXES
from fer_core.storage.shared_store import SharedPlace, free_bytes
from search.request import find_faces
from search.screen.times import readable

PROBED_CLIPS = 48  # clips that are searched, spread over the dataset
PROBED_FRAMES = 8  # only the first frames of each of these clips are searched
PROBED_SECONDS = 5.0  # no further clip is searched after this
COUNTED_CLIPS = 64  # videos whose frames are counted, spread over the dataset
COUNTED_SECONDS = 3.0  # no further one is counted after this
LARGE = 2000  # files; reading fewer takes a second

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What it takes to find the faces in all frames, if the store has none of them."""

    frames: int
    seconds: float
    bytes: int
    free_bytes: int  # free on the disk of the store
    workers: int

    def __str__(self) -> str:
        return (
            f"about {readable(self.seconds)} on {self.workers} processes and {_size(self.bytes)} "
            f"of {_size(self.free_bytes)} free, for {self.frames} frames"
        )

    def scaled(self, frames: int) -> "Forecast":
        """Give the forecast for another number of frames of the same kind."""
        factor = frames / max(1, self.frames)
        size = round(self.bytes * factor)
        return replace(self, frames=frames, seconds=self.seconds * factor, bytes=size)


def forecast(
    clips: Sequence[Clip], *, frames: int, engine: str, workers: int, store: Path | SharedPlace
) -> Forecast | None:
    """Search the first frames of some clips and scale up; None if none of them can be read."""
    probed, size, seconds, loading = 0, 0, 0.0, 0.0
    began = time.perf_counter()
    for clip in _spread(clips, PROBED_CLIPS):
        started = time.perf_counter()
        if probed and started - began > PROBED_SECONDS:
            break
        try:
            if not loading:
                _probe(clip, engine)  # the first one also loads the engine, as each process will
                loading, started = time.perf_counter() - started, time.perf_counter()
            sizes = _probe(clip, engine)
        except (DataError, OSError, cv2.error):
            continue
        seconds += time.perf_counter() - started
        probed, size = probed + len(sizes), size + sum(sizes)
    if not probed:
        return None
    return Forecast(
        frames=frames,
        seconds=loading + seconds / probed * frames / workers,
        bytes=round(size / probed * frames),
        free_bytes=free_bytes(store),
        workers=workers,
    )


def count_frames(clips: Sequence[Clip]) -> int:
    """Count the frames of clips: one a photograph; those of videos are estimated from some."""
    videos = [clip for clip in clips if not clip.is_still]
    counted: list[int] = []
    began = time.perf_counter()
    for clip in _spread(videos, COUNTED_CLIPS):
        if counted and time.perf_counter() - began > COUNTED_SECONDS:
            break
        counted.append(header(clip).frames)
    return len(clips) - len(videos) + round(np.mean(counted or [0]) * len(videos))


def quick_forecast(
    root: Path, *, engine: str, workers: int, store: Path | SharedPlace
) -> Forecast | None:
    """Forecast for all images and videos below a folder, before the dataset is read.

    What the dataset makes of the files is not asked, and links to folders are not followed. None if
    there are fewer than LARGE files: then reading the dataset takes no time either.
    """
    files = [
        os.path.join(folder, file)
        for folder, _, files in os.walk(root)
        for file in files
        if os.path.splitext(file)[1].lower() in MEDIA_SUFFIXES and not file.startswith(".")
    ]
    if len(files) < LARGE:
        return None
    some = [
        Clip(clip=file, subject="", emotion="", authenticity=None, path=Path(file), sha256="")
        for file in _spread(files, PROBED_CLIPS)
    ]
    frames = round(count_frames(some) / len(some) * len(files))
    return forecast(some, frames=frames, engine=engine, workers=workers, store=store)


def _spread(clips: Sequence[Item], most: int) -> list[Item]:
    """Choose some clips, evenly from the first to the last."""
    places = np.linspace(0, len(clips) - 1, min(most, len(clips))).round().astype(int)
    return [clips[place] for place in places]


def _probe(clip: Clip, engine: str) -> list[int]:
    """Find the face in each of a clip's first frames, and return the bytes that each takes."""
    device = find_faces.device_of(engine)
    frames = islice(faces_stage.followed_frames(clip, engine, device), PROBED_FRAMES)
    return [
        FRAME.itemsize + (0 if s.points is None else len(cut(s.image, s.points).jpeg))
        for s in frames
    ]


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count < 2e9 else f"{count / 1e9:.0f} GB"
