"""The first stored stage, `faces`: each clip decoded once, its face followed and cut out."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fer_core.arrays import Array
from fer_core.data.manifest import Clip, Manifest
from fer_core.errors import DataError
from fer_core.faces import landmarks, video
from fer_core.faces.follow import (
    FOUND,
    INTERPOLATED,
    LEFT_OUT,
    LONGEST_GAP,
    Seen,
    cut,
    follow,
    follow_given,
)
from fer_core.faces.tracks import FRAME, packed
from fer_core.storage.files import file_sha256
from fer_core.storage.stages import Shard, Tally

SHARD_CLIPS = 8  # on average
LEAST_STILLS, MOST_STILLS = 4, 64  # of a shard of photographs, on average
SHARDS = 32  # at least, where there are photographs enough: several workers share them evenly
LEAST_FOUND = 0.5  # of a clip's frames; with fewer it is left out
_PACKAGES = {"data": (), "dlib": ("dlib-bin",), "face_alignment": ("face-alignment", "torch")}
_CODE = 2  # raise it when the same input gives another result


def shards(manifest: Manifest, engine: str, device: str, tally: Tally) -> list[Shard]:
    """Name the shards of the stage `faces`, which `tracks.Faces` reads.

    A clip that cannot be read or shows too few faces is left out, with its reason.
    """
    size = _stills(len(manifest.clips)) if manifest.stills else SHARD_CLIPS
    groups = _groups(manifest.clips, size)
    return [_shard(group, engine, device, tally) for group in groups]


def _stills(count: int) -> int:
    """Give the photographs of a shard: a power of two, so that few more leave it as it was."""
    size = 1 << max(0, (count // SHARDS).bit_length() - 1)
    return max(LEAST_STILLS, min(MOST_STILLS, size))


def _groups(clips: Sequence[Clip], size: int) -> Iterator[list[Clip]]:
    """Group clips by name, so that adding a clip leaves the other groups as they are."""
    group: list[Clip] = []
    for clip in clips:
        group.append(clip)
        ends = hashlib.sha256(os.fsencode(clip.clip)).digest()[0] % size == 0
        if ends or len(group) == 2 * size:
            yield group
            group = []
    if group:
        yield group


def _shard(clips: Sequence[Clip], engine: str, device: str, tally: Tally) -> Shard:
    given = engine == "data"
    parts = {
        "code": _CODE,
        "clips": [[c.clip, c.sha256, c.landmarks_sha256 if given else None] for c in clips],
        # Not the device: points are the same on any, to a fraction of a pixel.
        "landmarks": [engine, _engine_sha256(engine)],
        "versions": [version(package) for package in ("av", "opencv-python", *_PACKAGES[engine])],
    }
    return Shard("faces", parts, partial(_make, clips, engine, device, tally), once=True)


@cache  # of 100 MB and more; a worker asks again for each trial
def _engine_sha256(engine: str) -> tuple[str, ...]:
    return () if engine == "data" else tuple(map(file_sha256, landmarks.files(engine)))


@cache  # the same in every trial of a worker
def _finder(engine: str, device: str) -> landmarks.Finder:
    return landmarks.engine(engine, device=device)


def _make(
    clips: Sequence[Clip], engine: str, device: str, tally: Tally
) -> tuple[Array, dict[str, Any]]:
    rows: list[Array] = []
    files: list[bytes] = []
    meta: dict[str, dict[str, Any]] = {"clips": {}, "skipped": {}, "notes": {}}
    if clips and not any(clip.path.exists() for clip in clips):  # else all would count as skipped
        raise DataError(
            f"{clips[0].path} is not on this machine; have its faces found where it is."
        )
    for clip in clips:
        try:
            clip_rows, clip_files, others = _followed(clip, engine, device, tally)
        except DataError as error:
            meta["skipped"][clip.clip] = str(error)
            continue
        except (OSError, cv2.error) as error:
            meta["skipped"][clip.clip] = f"{clip.path} cannot be read: {_text(error)}."
            continue
        meta["clips"][clip.clip] = (len(files), len(files) + len(clip_files))
        rows.append(clip_rows)
        files += clip_files
        if note := _note(clip_rows["state"], others):
            meta["notes"][clip.clip] = note
    return packed(np.concatenate([np.zeros(0, FRAME), *rows]), files), meta


def _followed(clip: Clip, engine: str, device: str, tally: Tally) -> tuple[Array, list[bytes], int]:
    """Give a clip's records (T,), its JPEG files, and how many other faces it shows."""
    rows: list[Array] = []
    files: list[bytes] = []
    others = 0
    for frame in seen(clip, engine, device):
        row = np.zeros((), FRAME)
        row["state"], row["points"] = frame.state, np.nan
        jpeg = b""
        if frame.points is not None:
            square = cut(frame.image, frame.points)
            row["points"], jpeg = frame.points, square.jpeg
            row["left"], row["top"], row["scale"] = square.left, square.top, square.scale
        rows.append(row)
        files.append(jpeg)
        others = max(others, frame.others)
    tally.add(frames_decoded=len(rows), faces_searched=0 if engine == "data" else len(rows))
    states = [int(row["state"]) for row in rows]
    if states.count(LEFT_OUT) == len(states):
        raise DataError("no face found.")
    if states.count(FOUND) < LEAST_FOUND * len(states):
        raise DataError(
            f"a face was found in {states.count(FOUND)} of {len(states)} frames only; "
            f"{LEAST_FOUND:.0%} are needed."
        )
    return np.stack(rows), files, others


def seen(clip: Clip, engine: str, device: str) -> Iterator[Seen]:
    """Follow the face of a clip from frame to frame, or read where it comes along.

    Raises: DataError where the clip or its landmarks cannot be read.
    """
    frames = video.frames(clip.path, clip.offset)
    if engine != "data":
        return follow(frames, _finder(engine, device))
    return follow_given(frames, _given(clip.landmarks))


def _given(path: Path | None) -> Array:
    if path is None:
        raise DataError("it comes without landmarks.")
    try:
        points: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"landmarks {path} cannot be read: {error}") from error
    if not isinstance(points, np.ndarray):
        raise DataError(f"landmarks {path} are no .npy array.")
    if points.ndim != 3 or points.shape[1:] != (68, 2) or points.dtype.kind not in "fiu":
        raise DataError(f"landmarks {path} are {points.dtype} {points.shape}, not (frames, 68, 2).")
    return points.astype(np.float32)


def _text(error: OSError | cv2.error) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error).splitlines()[0]


def _note(states: Array, others: int) -> str:
    counts = Counter(states.tolist())
    said = []
    if others:
        said.append(f"{others + 1} faces in a frame: the largest central one is followed")
    if counts[INTERPOLATED]:
        said.append(f"{counts[INTERPOLATED]} of {len(states)} frames without a face interpolated")
    if counts[LEFT_OUT]:
        said.append(
            f"{counts[LEFT_OUT]} of {len(states)} frames left out: no face at an end, or for more "
            f"than {LONGEST_GAP} frames"
        )
    return "; ".join(said)
