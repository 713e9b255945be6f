"""Make the first stored stage, `faces`: decode each clip once, follow its face and cut it out.

A shard holds the faces of several clips in the format of `tracks`. `search` makes the shards ahead
of the trials, `features` reads them, and `predict` makes one for a new video.
"""

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
from fer_core.config import GIVEN
from fer_core.data.manifest import Clip, Manifest
from fer_core.errors import DataError
from fer_core.faces import landmarks, video
from fer_core.faces.follow import (
    FOUND,
    INTERPOLATED,
    LEFT_OUT,
    LONGEST_GAP,
    FollowedFrame,
    cut,
    follow,
    given,
    join_points,
    whole,
)
from fer_core.faces.landmarks import base_engine
from fer_core.faces.tracks import FRAME, packed
from fer_core.storage.files import file_sha256
from fer_core.storage.stages import Shard, Tally

SHARD_CLIPS = 8  # clips per shard, on average
LEAST_STILLS, MOST_STILLS = 4, 64  # photographs per shard, on average
SHARDS = 32  # shards to aim for with photographs, so that several workers share them evenly
LEAST_FOUND = 0.5  # share of a clip's frames that must show a face; with fewer, it is skipped
NO_FACE = "no face found."  # why a clip is skipped
_FACELESS = ("no face found", "a face was found in", "the dataset has no landmarks", "landmarks ")
# The packages whose versions change what an engine finds.
_PACKAGES = {
    "data": (),
    GIVEN: (),
    "dlib": ("dlib-bin",),
    "face_alignment": ("face-alignment", "torch"),
}
_CODE = 2  # raise it whenever a change makes the same input give another result


def shards(manifest: Manifest, engine: str, device: str, tally: Tally) -> list[Shard]:
    """List the shards of the stage `faces` for a dataset; `tracks.Faces` reads each of them.

    `engine` is a landmark engine's name, `data` for the landmarks that come with the dataset, or
    `given` where each picture is a face that was cut out, and no landmarks are wanted. Making a
    shard skips a clip that cannot be read or shows too few faces, and stores the reason.
    """
    # A photograph that turns out to move, or not to, must not change the shards of all others.
    photographs = all(clip.is_still or clip.is_named_still for clip in manifest.clips)
    size = _stills(len(manifest.clips)) if photographs else SHARD_CLIPS
    groups = _groups(manifest.clips, size)
    return [_shard(group, engine, device, tally) for group in groups]


def _stills(count: int) -> int:
    """Choose how many of `count` photographs a shard holds, on average.

    It is a power of two, so that a few more photographs do not change the other shards.
    """
    size = 1 << max(0, (count // SHARDS).bit_length() - 1)
    return max(LEAST_STILLS, min(MOST_STILLS, size))


def _groups(clips: Sequence[Clip], size: int) -> Iterator[list[Clip]]:
    """Group clips by hashes of their names, so that a new clip changes only its own group."""
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
    own = engine == "data"
    parts = {
        "code": _CODE,
        "clips": [_content(clip, own) for clip in clips],
        # The device is not part of the key: it moves points by a fraction of a pixel only.
        "landmarks": [engine, _engine_sha256(engine)],
        **({"looks": landmarks.CLOSER_LOOKS} if base_engine(engine) != engine else {}),
        "versions": [version(p) for p in ("av", "opencv-python", *_PACKAGES[base_engine(engine)])],
    }
    return Shard("faces", parts, partial(_make, clips, engine, device, tally), once=True)


def searches(engine: str) -> bool:
    """Say whether an engine looks for faces; if not, they come with the dataset."""
    return engine not in ("data", GIVEN)


def _content(clip: Clip, own: bool) -> list[str | None]:
    """Name what the faces of a clip depend on, apart from the engine.

    A clip that is read as it always was has the key that it always had.
    """
    landmarks_sha256 = clip.landmarks_sha256 if own else None
    return [clip.clip, clip.sha256, landmarks_sha256, *([clip.reading] if clip.reading else [])]


@cache  # hashing 100 MB takes time, and a worker asks again for each trial
def _engine_sha256(engine: str) -> tuple[str, ...]:
    return tuple(map(file_sha256, landmarks.files(engine))) if searches(engine) else ()


@cache  # a worker loads the engine once for all of its trials
def _finder(engine: str, device: str) -> landmarks.Finder:
    return landmarks.load_finder(engine, device=device)


def _make(
    clips: Sequence[Clip], engine: str, device: str, tally: Tally
) -> tuple[Array, dict[str, Any]]:
    rows: list[Array] = []
    files: list[bytes] = []
    meta: dict[str, dict[str, Any]] = {"clips": {}, "skipped": {}, "notes": {}}
    # On a machine without the dataset, stop here; otherwise every clip would be stored as skipped.
    if clips and not any(clip.path.exists() for clip in clips):
        raise DataError(
            f"{clips[0].path} is not on this machine; find the faces on a machine that has it."
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
    """Give a clip's records (T,), its JPEG files, and the most other faces seen in a frame."""
    rows: list[Array] = []
    files: list[bytes] = []
    others = 0
    for frame in followed_frames(clip, engine, device):
        row = np.zeros((), FRAME)
        row["state"], row["points"] = frame.state, np.nan
        jpeg = b""
        if frame.state != LEFT_OUT:
            square = whole(frame.image) if frame.points is None else cut(frame.image, frame.points)
            row["points"], jpeg = np.nan if frame.points is None else frame.points, square.jpeg
            row["left"], row["top"], row["scale"] = square.left, square.top, square.scale
        rows.append(row)
        files.append(jpeg)
        others = max(others, frame.others)
    tally.add(frames_decoded=len(rows), faces_searched=len(rows) if searches(engine) else 0)
    states = [int(row["state"]) for row in rows]
    if states.count(LEFT_OUT) == len(states):
        raise DataError(NO_FACE)
    if states.count(FOUND) < LEAST_FOUND * len(states):
        raise DataError(
            f"a face was found in {states.count(FOUND)} of {len(states)} frames only; "
            f"{LEAST_FOUND:.0%} are needed."
        )
    return np.stack(rows), files, others


def is_faceless(reason: str) -> bool:
    """Whether a clip was skipped for want of a face or its landmarks, and can be read."""
    return reason.startswith(_FACELESS)


def followed_frames(clip: Clip, engine: str, device: str) -> Iterator[FollowedFrame]:
    """Decode a clip and follow its face; with the engine `data`, read the dataset's landmarks.

    With the engine `given` each frame is the face.

    Raises: DataError if the clip or its landmarks cannot be read.
    """
    frames = video.frames(clip.path, clip.offset)
    if engine == GIVEN:
        return given(frames)
    if engine != "data":
        return follow(frames, _finder(engine, device))
    return join_points(frames, _load_points(clip.landmarks))


def _load_points(path: Path | None) -> Array:
    """Read the landmarks (T, 68, 2) of a clip from its .npy file."""
    if path is None:
        raise DataError("the dataset has no landmarks for it; choose --landmarks dlib.")
    try:
        points: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"landmarks {path} cannot be read: {error}") from error
    if not isinstance(points, np.ndarray):
        raise DataError(f"landmarks {path} are not one array in a .npy file.")
    if points.ndim != 3 or points.shape[1:] != (68, 2) or points.dtype.kind not in "fiu":
        raise DataError(
            f"landmarks {path} are {points.dtype} {points.shape}, not (frames, 68, 2) numbers."
        )
    return points.astype(np.float32)


def _text(error: OSError | cv2.error) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error).splitlines()[0]


def _note(states: Array, others: int) -> str:
    """Describe what is unusual about a clip's faces, for the user; empty if nothing is."""
    counts = Counter(states.tolist())
    notes = []
    if others:
        notes.append(f"{others + 1} faces in a frame: the largest central one is followed")
    if counts[INTERPOLATED]:
        notes.append(f"{counts[INTERPOLATED]} of {len(states)} frames without a face interpolated")
    if counts[LEFT_OUT]:
        notes.append(
            f"{counts[LEFT_OUT]} of {len(states)} frames left out: no face at an end, or for more "
            f"than {LONGEST_GAP} frames"
        )
    return "; ".join(notes)
