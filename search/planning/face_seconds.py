"""Predict how long finding all faces of a dataset takes, and how large they are in the store.

A few clips are searched, and the result is scaled up to all frames. The checkup prints the
forecast before it starts, and `--dry-run` adds its seconds to the time of the study.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from fer_core.data.manifest import Clip
from fer_core.errors import DataError
from fer_core.faces import faces_stage
from fer_core.faces.follow import cut
from fer_core.faces.tracks import FRAME
from fer_core.storage.shared_store import SharedPlace, free_bytes
from search.request import find_faces

PROBED_CLIPS = 12  # clips that are searched, spread over the dataset
PROBED_FRAMES = 8  # only the first frames of each of these clips are searched
PROBED_SECONDS = 5.0  # no further clip is searched after this


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What it takes to find the faces in all frames, if the store has none of them."""

    frames: int
    seconds: float
    bytes: int
    free_bytes: int  # free on the disk of the store
    workers: int

    def __str__(self) -> str:
        took = f"{self.seconds:.0f} s" if self.seconds < 100 else f"{self.seconds / 60:.0f} min"
        return (
            f"about {took} on {self.workers} processes and {_size(self.bytes)} of "
            f"{_size(self.free_bytes)} free, for {self.frames} frames"
        )


def forecast(
    clips: Sequence[Clip], *, frames: int, engine: str, workers: int, store: Path | SharedPlace
) -> Forecast | None:
    """Search the first frames of some clips and scale up; None if none of them can be read."""
    spread = np.linspace(0, len(clips) - 1, min(PROBED_CLIPS, len(clips))).round().astype(int)
    started, probed, size = time.perf_counter(), 0, 0
    for position in spread:
        if time.perf_counter() - started > PROBED_SECONDS:
            break
        try:
            sizes = _probe(clips[position], engine)
        except (DataError, OSError, cv2.error):
            continue
        probed, size = probed + len(sizes), size + sum(sizes)
    if not probed:
        return None
    seconds = (time.perf_counter() - started) / probed * frames / workers
    return Forecast(
        frames=frames,
        seconds=seconds,
        bytes=round(size / probed * frames),
        free_bytes=free_bytes(store),
        workers=workers,
    )


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
