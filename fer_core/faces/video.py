"""Decode the frames of a clip: a video, an image, a folder of images, or a row of a table.

`faces_stage` reads every clip through this module. What a file is, its content says. The frame
count that a video declares is not trusted: the frames that are decoded count, each at its own time.
A file that was cut short (see `file_checks.shortfall`) or has a corrupt packet is refused.
"""

import itertools
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame

from fer_core.arrays import Array, Image
from fer_core.data.media import Kind, frame_files, frame_order, kind_of
from fer_core.errors import DataError
from fer_core.faces.file_checks import shortfall
from fer_core.faces.pictures import moving_pictures, read_image
from fer_core.storage.containers import (
    LEAST_YIELD,
    listed_frames,
    open_video,
    picture_of,
    pixel_aspect,
    shown_size,
)

FOLDER_RATE = 25.0  # frames a second assumed for a folder; OULU-CASIA's rate, Zhao et al. 2011
# A video whose frames all lie within this part of a frame of a constant rate has that rate:
# containers round times, some to milliseconds.
_REGULAR = 0.5


def frames(path: Path, offset: int | None = None) -> Iterator[Image]:
    """Decode a clip's frames in order, each (H, W, 3) RGB; only one is in memory at a time.

    If `path` is a table of pixels, `offset` is where the clip's line begins, in bytes.

    Raises: DataError, with the file and the reason, if not all frames can be decoded.
    """
    kind = _kind(path, offset)
    if kind == "row":
        yield _read_row(path, offset or 0)
    elif kind == "frames":
        yield from _read_folder(path)
    elif kind == "image":
        yield read_image(path)
    elif kind == "animation":
        yield from (image for image, _ in moving_pictures(path))
    else:
        for frame, shape in _decode(path):
            yield _rgb(path, frame, shape)


def times(path: Path, offset: int | None = None) -> Array:
    """Give the seconds at which each frame of a clip begins, from 0, and the last one ends: (T+1,).

    Images tell no time, and follow each other at FOLDER_RATE.

    Raises: DataError, as `frames` does.
    """
    kind = _kind(path, offset)
    if kind == "video":
        return _video_times(path)
    if kind == "animation":
        ends = itertools.accumulate((seconds for _, seconds in moving_pictures(path)), initial=0)
        return np.array([float(end) for end in ends])
    count = len(frame_files(path)) if kind == "frames" else 1
    return np.arange(count + 1) / FOLDER_RATE


def _kind(path: Path, offset: int | None) -> Kind:
    """Say what a clip is. A file that nobody recognises is tried as a video.

    Raises: DataError if it does not exist, or needs a plugin that is not installed.
    """
    if offset is not None:
        return "row"
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    try:
        return kind_of(path) or "video"
    except DataError as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


def _video_times(path: Path) -> Array:
    shown, last = [], 0.0
    for frame, _ in _decode(path):
        shown.append(frame.time)
        last = float((frame.duration or 0) * (frame.time_base or 0))
    with open_video(path) as container:
        stream = picture_of(container)
        rate = float((stream and stream.average_rate) or FOLDER_RATE)
    regular = np.arange(len(shown) + 1) / rate
    if any(time is None for time in shown):
        return regular
    begins = np.array(shown, float) - shown[0]
    apart = np.diff(begins)
    if not (apart > 0).all() or (abs(begins - regular[:-1]) * rate < _REGULAR).all():
        return regular
    return np.append(begins, begins[-1] + (last or np.median(apart)))


def _read_row(path: Path, offset: int) -> Image:
    """Read a square grey image from the longest cell of a table's line, as in FER2013."""
    with path.open("rb") as file:
        file.seek(offset)
        line = file.readline().decode("utf-8", "replace")
    cell = max(re.split(r"[,;\t|]", line), key=len).strip("\"' \r\n")
    try:
        levels = np.array(cell.split(), np.uint8)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"table {path}, byte {offset}: the pixels are no levels from 0 to 255: {error}."
        ) from error
    side = math.isqrt(len(levels))
    if not side or side * side != len(levels):
        raise DataError(f"table {path}, byte {offset}: {len(levels)} pixels make no square image.")
    return np.repeat(levels.reshape(side, side, 1), 3, axis=2)


def _read_folder(path: Path) -> Iterator[Image]:
    try:
        files = sorted(frame_files(path), key=frame_order)
    except DataError as error:
        raise DataError(f"folder {path} cannot be read: {error}.") from error
    if not files:
        raise DataError(f"folder {path} holds no image; docs/datasets.md lists their suffixes.")
    yield from map(read_image, files)


class _Shape(NamedTuple):
    """How the frames of a video are shown: the width of a pixel, and the turn of the picture."""

    aspect: Fraction
    turn: tuple[int, int, int, int] | None  # (a, b, c, d): a pixel (p, q) goes to (ap+cq, bp+dq)


def _decode(path: Path) -> Iterator[tuple[VideoFrame, _Shape]]:
    """Decode the frames of a video that are shown, each with how it is shown."""
    decoded, damaged, seconds, shape = 0, 0, 0.0, None
    try:
        with open_video(path) as container:
            stream = picture_of(container)
            if stream is None:
                raise DataError(f"{path} holds no video stream; is it a whole video?")
            aspect, listed = pixel_aspect(stream), listed_frames(container)
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    raise DataError(f"video {path} is damaged or cut short at frame {decoded}.")
                for frame in packet.decode():
                    decoded, damaged = decoded + 1, damaged + frame.is_corrupt
                    seconds = frame.time or seconds
                    shape = shape or _Shape(aspect, _turn(frame))
                    yield frame, shape
            if decoded == 0:
                raise DataError(f"video {path} holds no frame.")
            if damaged > (1 - LEAST_YIELD) * decoded:
                raise DataError(f"video {path} is damaged in {damaged} of {decoded} frames.")
            if short := shortfall(path, container, decoded, seconds, listed=listed):
                raise DataError(f"video {path} is cut short: {short}.")
    except FFmpegError as error:
        raise DataError(
            f"video {path} cannot be decoded past {decoded} frames: {error.strerror}."
        ) from error


def _rgb(path: Path, frame: VideoFrame, shape: _Shape) -> Image:
    """Turn a frame into the picture that is shown; PyAV sees to its colours."""
    width, height = shown_size(frame.width, frame.height, shape.aspect)
    try:
        pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
    except FFmpegError as error:
        raise DataError(f"video {path}: its colours cannot be read: {error.strerror}.") from error
    return _turned(pixels, shape)


def _turn(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """Read the display matrix (a, b, u, c, d, v, x, y, w), ISO/IEC 14496-12, 8.3.2.3.

    It holds for the whole video: ask for it once. PyAV 18.1 keeps a frame that was asked in memory
    until Python's garbage collector runs.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return None
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
    return a, b, c, d


def _turned(pixels: Array, shape: _Shape) -> Image:
    """Undo how the camera was held, and mirror what the file says is mirrored.

    The matrix is taken for the nearest one of quarter turns.
    """
    if shape.turn is None:
        return pixels
    a, b, c, d = shape.turn
    across, down = (c, b) if abs(a) + abs(d) < abs(b) + abs(c) else (a, d)
    turned = pixels if (across, down) == (a, d) else pixels.swapaxes(0, 1)
    turned = turned[:, ::-1] if across < 0 else turned
    return np.ascontiguousarray(turned[::-1] if down < 0 else turned)
