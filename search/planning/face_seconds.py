"""What finding the faces of a dataset will take, from a few clips of it."""

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

PROBED_CLIPS, PROBED_FRAMES = 12, 8  # clips, spread over the dataset, and the first frames of each
PROBED_SECONDS = 5.0  # after which no clip is begun


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The stage `faces` made from nothing; what the store holds already is not made again."""

    frames: int
    seconds: float
    bytes: int
    free_bytes: int  # where the store lies
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
    """Time the first frames of some clips; None where none of them can be read."""
    spread = np.linspace(0, len(clips) - 1, min(PROBED_CLIPS, len(clips))).round().astype(int)
    began, probed, size = time.perf_counter(), 0, 0
    for i in spread:
        if time.perf_counter() - began > PROBED_SECONDS:
            break
        try:
            sizes = _probe(clips[i], engine)
        except (DataError, OSError, cv2.error):
            continue
        probed, size = probed + len(sizes), size + sum(sizes)
    if not probed:
        return None
    seconds = (time.perf_counter() - began) / probed * frames / workers
    return Forecast(
        frames=frames,
        seconds=seconds,
        bytes=round(size / probed * frames),
        free_bytes=free_bytes(store),
        workers=workers,
    )


def _probe(clip: Clip, engine: str) -> list[int]:
    """Follow and cut the first frames of a clip, and give the bytes that each takes."""
    device = find_faces.device_of(engine)
    frames = islice(faces_stage.followed_frames(clip, engine, device), PROBED_FRAMES)
    return [
        FRAME.itemsize + (0 if s.points is None else len(cut(s.image, s.points).jpeg))
        for s in frames
    ]


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count < 2e9 else f"{count / 1e9:.0f} GB"
