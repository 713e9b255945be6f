"""Frames of a clip, one after another: of a video, image, folder of images, or row of a table.

A container's own frame count is not trusted: what was decoded is counted. It only betrays a file
that was cut short: one with a corrupt packet is refused, and one that yields under 95 % of the
frames it declares, or of the seconds where it declares no frames. Sound files were seen to fall
short by 3 %.
"""

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from fer_core.data.manifest import IMAGE_SUFFIXES, is_image
from fer_core.errors import DataError
from fer_core.faces.file_checks import is_cut_short, shortfall

Image = NDArray[np.uint8]

FOLDER_RATE = 25.0  # frames a second of a folder of images; OULU-CASIA's, Zhao et al. 2011


def frames(path: Path, offset: int | None = None) -> Iterator[Image]:
    """Decode a clip's frames in order, each (H, W, 3) RGB, holding one at a time.

    `offset` is that of the line, in bytes, where `path` is a table of pixels.

    Raises: DataError where nothing, or not all, can be decoded; it names the file and why.
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
    """Read the rate that a video declares; FOLDER_RATE for folders of images, which declare none.

    Raises: DataError where the file cannot be opened.
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
    """Read the grey levels of a square image from the longest cell of a line."""
    with path.open("rb") as file:
        file.seek(offset)
        line = file.readline().decode("utf-8", "replace")
    cell = max(next(csv.reader([line]), [""]), key=len)
    try:
        levels = np.array(cell.split(), np.uint8)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"table {path}, byte {offset}: the pixels are no levels: {error}."
        ) from error
    side = math.isqrt(len(levels))
    if not side or side * side != len(levels):
        raise DataError(f"table {path}, byte {offset}: {len(levels)} pixels make no square.")
    return np.repeat(levels.reshape(side, side, 1), 3, axis=2)


def _read_folder(path: Path) -> Iterator[Image]:
    seen = (file for file in path.iterdir() if not file.name.startswith("."))
    files = sorted(filter(is_image, seen), key=_number)
    if not files:
        raise DataError(
            f"folder {path} holds no image; known are {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    yield from map(_read_image, files)


def _number(file: Path) -> tuple[int, str]:
    """Order by the last number of a name, so that 10 comes after 9."""
    numbers = re.findall(r"\d+", file.stem)
    return (int(numbers[-1]) if numbers else 0, file.name)


def _read_image(path: Path) -> Image:
    data = path.read_bytes()
    if is_cut_short(data):
        raise DataError(f"image {path} is cut short after {len(data)} bytes.")
    # To 8 bits and three channels, turned as its EXIF orientation says.
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise DataError(f"image {path} cannot be decoded: it is no image that OpenCV knows.")
    rgb: Image = np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)
    return rgb


def _decode(path: Path) -> Iterator[VideoFrame]:
    decoded, seconds = 0, 0.0
    try:
        with av.open(path, metadata_errors="replace") as container:
            if not container.streams.video:
                raise DataError(f"{path} holds no video stream; is it a video, and whole?")
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
    quarter_turns = round(frame.rotation / 90)  # anticlockwise, as the camera was held
    return np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns)
