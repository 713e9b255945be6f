"""Decode the frames of a clip: a video, an image, a folder of images, or a row of a table.

`faces_stage` reads every clip through this module. The frame count that a video file declares is
not trusted; decoded frames are counted. The declared count only helps to detect a file that was
cut short (see `file_checks.shortfall`). A file with a corrupt packet is refused as well.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame

from fer_core.arrays import Image
from fer_core.data.manifest import IMAGE_SUFFIXES, is_image
from fer_core.errors import DataError
from fer_core.faces.file_checks import is_cut_short, shortfall

FOLDER_RATE = 25.0  # frames a second assumed for a folder; OULU-CASIA's rate, Zhao et al. 2011


def frames(path: Path, offset: int | None = None) -> Iterator[Image]:
    """Decode a clip's frames in order, each (H, W, 3) RGB; only one is in memory at a time.

    If `path` is a table of pixels, `offset` is where the clip's line begins, in bytes.

    Raises: DataError, with the file and the reason, if not all frames can be decoded.
    """
    if offset is not None:
        yield _read_row(path, offset)
    elif path.is_dir():
        yield from _read_folder(path)
    elif not path.is_file():
        raise DataError(f"{path} does not exist.")
    elif is_image(path):
        yield _read_image(path)
    else:
        for frame in _decode(path):
            yield _rgb(frame)


def frames_per_second(path: Path) -> float:
    """Read the frame rate that a video declares; FOLDER_RATE for images, which declare none.

    Raises: DataError if the file cannot be opened.
    """
    if path.is_dir() or is_image(path):
        return FOLDER_RATE
    try:
        with av.open(str(path)) as container:
            rate = container.streams.video[0].average_rate
    except (FFmpegError, IndexError) as error:
        raise DataError(f"{path} cannot be opened as a video: {error}") from error
    return float(rate) if rate else FOLDER_RATE


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
    visible = (file for file in path.iterdir() if not file.name.startswith("."))
    files = sorted(filter(is_image, visible), key=_number)
    if not files:
        raise DataError(
            f"folder {path} holds no image; images are files that end in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    yield from map(_read_image, files)


def _number(file: Path) -> tuple[int, str]:
    """Give a key that sorts by the last number in a file's name, so that 10 comes after 9."""
    numbers = re.findall(r"\d+", file.stem)
    return (int(numbers[-1]) if numbers else 0, file.name)


def _read_image(path: Path) -> Image:
    data = path.read_bytes()
    if is_cut_short(data):
        raise DataError(f"image {path} is cut short after {len(data)} bytes.")
    # OpenCV converts to 8 bits and three channels, and turns as the EXIF orientation says.
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise DataError(f"image {path} cannot be decoded: OpenCV knows no such image format.")
    rgb: Image = np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)
    return rgb


def _decode(path: Path) -> Iterator[VideoFrame]:
    decoded, seconds = 0, 0.0
    try:
        with av.open(path, metadata_errors="replace") as container:
            if not container.streams.video:
                raise DataError(f"{path} holds no video stream; is it a whole video?")
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    raise DataError(f"video {path} is damaged or cut short at frame {decoded}.")
                for frame in packet.decode():
                    decoded += 1
                    seconds = frame.time or seconds
                    yield frame
            if decoded == 0:
                raise DataError(f"video {path} holds no frame.")
            if short := shortfall(container, decoded, seconds):
                raise DataError(f"video {path} is cut short: {short}.")
    except FFmpegError as error:
        raise DataError(
            f"video {path} cannot be decoded past {decoded} frames: {error.strerror}."
        ) from error


def _rgb(frame: VideoFrame) -> Image:
    quarter_turns = round(frame.rotation / 90)  # anticlockwise; undoes how the camera was held
    return np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns)
