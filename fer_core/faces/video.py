"""Frames of a clip: a video, one still image, or a folder of numbered images.

A container's own frame count is not trusted for choosing frames: what was decoded is counted. It
only betrays a file that was cut short: one with a corrupt packet is refused, and one that yields
under 95 % of the frames it declares, or of the seconds where it declares no frames. Sound files
were seen to fall short by 3 %.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from fer_core.config import ClipConfig
from fer_core.errors import DataError
from fer_core.manifest import IMAGE_SUFFIXES, is_image

LEAST_YIELD = 0.95  # of the frames, or seconds, that a container declares
KEPT_BYTES = 2**30  # a longer clip is decoded twice; SASE-FE's, 350 frames of 1280x960, take 0.6
_ENDS = {  # start of a file: (mark, what must follow its last occurrence if the file is whole)
    b"\xff\xd8": (b"\xff\xda", b"\xff\xd9"),  # JPEG: start of scan, end of image
    b"\x89PNG": (b"IDAT", b"IEND"),
}

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Frames:
    """The frames of one clip that a window picks."""

    images: Image  # (T, H, W, 3) RGB
    indices: tuple[int, ...]  # T positions in the clip, from 0, never falling
    total: int  # frames that the clip has
    decoded: int  # images that were decoded to find out, a measure of cost


def read(path: Path, clip: ClipConfig) -> Frames:
    """Decode the `clip.frames` frames of a clip that its window picks.

    A still image is a clip of one frame, repeated.

    Raises: DataError where nothing, or not all, can be decoded; it names the file and why.
    """
    if path.is_dir():
        return _read_folder(path, clip)
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    if is_image(path):
        return _gather(path, window(1, clip), {0: _read_image(path)}, total=1, decoded=1)
    return _read_video(path, clip)


def window(total: int, clip: ClipConfig) -> tuple[int, ...]:
    """Pick `clip.frames` of `total` frames, evenly from `start` to `end`, both included.

    One frame is taken from the middle; where the window holds too few, frames repeat.
    """
    first, last = clip.start * (total - 1), clip.end * (total - 1)
    if clip.frames == 1:
        first = last = (first + last) / 2
    return tuple(int(i + 0.5) for i in np.linspace(first, last, clip.frames))


def _read_folder(path: Path, clip: ClipConfig) -> Frames:
    files = sorted((file for file in path.iterdir() if is_image(file)), key=_number)
    if not files:
        raise DataError(
            f"folder {path} holds no image; known are {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    indices = window(len(files), clip)
    images = {i: _read_image(files[i]) for i in set(indices)}
    return _gather(path, indices, images, total=len(files), decoded=len(images))


def _number(file: Path) -> tuple[int, str]:
    """Order by the last number of a name, so that 10 comes after 9."""
    numbers = re.findall(r"\d+", file.stem)
    return (int(numbers[-1]) if numbers else 0, file.name)


def _read_image(path: Path) -> Image:
    data = path.read_bytes()
    for start, (mark, end) in _ENDS.items():
        if data.startswith(start) and data.rfind(end) <= data.rfind(mark):
            raise DataError(f"image {path} is cut short after {len(data)} bytes.")
    # To 8 bits and three channels, turned as its EXIF orientation says.
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise DataError(f"image {path} cannot be decoded: it is no image that OpenCV knows.")
    rgb: Image = np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)
    return rgb


def _read_video(path: Path, clip: ClipConfig) -> Frames:
    kept: list[VideoFrame] = []  # as the decoder gave them, half the size of RGB
    total = size = 0
    for frame in _decode(path):
        total += 1
        size += sum(plane.buffer_size for plane in frame.planes)
        if size <= KEPT_BYTES:
            kept.append(frame)
        else:
            kept.clear()
    indices = window(total, clip)
    wanted = set(indices)
    if kept:
        images = {i: _rgb(kept[i]) for i in wanted}
        return _gather(path, indices, images, total=total, decoded=total)
    images = {i: _rgb(frame) for i, frame in enumerate(_decode(path)) if i in wanted}
    return _gather(path, indices, images, total=total, decoded=2 * total)


def _decode(path: Path) -> Iterator[VideoFrame]:
    decoded, seconds = 0, 0.0
    try:
        with av.open(path) as container:
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
            _check_yield(path, container, decoded, seconds)
    except FFmpegError as error:
        raise DataError(
            f"video {path} cannot be decoded past {decoded} frames: {error.strerror}."
        ) from error


def _check_yield(path: Path, container: InputContainer, decoded: int, seconds: float) -> None:
    stream = container.streams.video[0]
    if decoded == 0:
        raise DataError(f"video {path} holds no frame.")
    if decoded < LEAST_YIELD * stream.frames:
        raise DataError(
            f"video {path} is cut short: it declares {stream.frames} frames and yields {decoded}."
        )
    if stream.frames or stream.average_rate is None:  # the count is a better witness
        return
    declared = (container.duration or 0) / av.time_base
    seconds += float(1 / stream.average_rate)  # the last frame lasts, too
    if seconds < LEAST_YIELD * declared:
        raise DataError(
            f"video {path} is cut short: it declares {declared:.2f} s and yields {seconds:.2f} s."
        )


def _rgb(frame: VideoFrame) -> Image:
    quarter_turns = round(frame.rotation / 90)  # anticlockwise, as the camera was held
    return np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns)


def _gather(
    path: Path, indices: tuple[int, ...], images: dict[int, Image], *, total: int, decoded: int
) -> Frames:
    sizes = sorted({image.shape[:2] for image in images.values()})
    if len(sizes) > 1:
        raise DataError(f"the frames of {path} differ in size (rows, columns): {sizes}.")
    return Frames(np.stack([images[i] for i in indices]), indices, total, decoded)
