"""Check the file of a clip without decoding it: count its frames, read its size, find its faults.

`search.checkup` checks a whole dataset this way before a search, and the plan counts frames with
it; `video` uses the tests for files that are cut short. An image's header is read by Pillow, and
its bytes are searched for the mark that ends it; so is each image of a folder. A video is split
into packets, and none of them is decoded.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from PIL import Image, ImageFile

from fer_core.data.manifest import Clip
from fer_core.data.media import frame_files, kind_of
from fer_core.errors import DataError
from fer_core.faces.pictures import is_cut_short, moving_pictures, read_image
from fer_core.storage.containers import (
    LEAST_YIELD,
    bytes_missing,
    listed_frames,
    open_video,
    picture_of,
    pixel_aspect,
    shown_size,
)
from fer_core.storage.picture_formats import pillow_errors, pillow_formats

_DURATION = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")  # a stream's DURATION tag in a Matroska file
_ORIENTATION = 0x0112  # Exif 2.32, table 4; 1 is upright
_DEEP = ("I", "F")  # Pillow's modes of 32 bits
_GREY = {"1", "L", "I", "F"}  # the first band of those Pillow modes that have no colour


@dataclass(frozen=True)
class Header:
    """What a clip's file declares about itself; decoding may show that some of it is wrong."""

    frames: int = 0
    size: tuple[int, int] | None = None  # (width, height) of a frame; None if the file has none
    notes: tuple[str, ...] = ()  # how reading will change the pixels, for the user
    fault: str | None = None  # why the file cannot be used; None if nothing is wrong


def header(clip: Clip) -> Header:
    """Examine the file of a clip, or its folder of frames; a fault is returned, not raised."""
    if clip.offset is not None:  # the clip is one line of a table
        return Header(1)
    try:
        match kind_of(clip.path):
            case "frames":
                return _folder(clip.path)
            case "image":
                return _still(clip.path)
            case "animation":
                return _animation(clip.path)
            case _:
                return _video(clip.path)
    except DataError as error:
        return Header(fault=str(error))
    except FFmpegError as error:
        return Header(fault=f"it is no video, or cut short: {error.strerror}")
    except OSError as error:
        return Header(fault=f"it cannot be read: {error.strerror}")


def shortfall(
    path: Path, container: InputContainer, frames: int, seconds: float, *, listed: int
) -> str | None:
    """Say what a video lacks: frames, bytes or time. None if it is whole.

    The video yielded `frames` frames, the last of them at `seconds`. If the container has an index,
    the index decides: `listed` is how many of its frames are to be shown. Without an index, the
    video is cut short if parts of it would lie far beyond the end of the file, or if it declares a
    longer time. The declared number of frames does not count: edit lists hide frames, and recorders
    drop some.
    """
    if frames <= listed:
        short = frames < LEAST_YIELD * listed
        return f"its index lists {listed} frames and it yields {frames}" if short else None
    size, missing = path.stat().st_size, bytes_missing(path)
    if size < LEAST_YIELD * (size + missing):
        return f"{missing} bytes are missing at its end"
    stream = picture_of(container)
    if stream is None or stream.average_rate is None:
        return None
    own = _own_seconds(stream)
    declared = (container.duration or 0) / av.time_base if own is None else own
    seconds += float(1 / stream.average_rate)  # the last frame has a duration, too
    if seconds >= LEAST_YIELD * declared:
        return None
    if own is None and _last_seconds(path) >= LEAST_YIELD * declared:
        return None  # the declared time is that of the sound, which is longer than the picture
    return f"it declares {declared:.2f} s and yields {seconds:.2f} s"


def _own_seconds(stream: VideoStream) -> float | None:
    """Read the declared duration of the picture; None if only the whole file declares one."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if tag := _DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, tag.groups())
        return 3600 * hours + 60 * minutes + seconds
    return None


def _last_seconds(path: Path) -> float:
    """Find where the last packet of any stream ends."""
    with open_video(path) as again:  # opened anew, because not every file can rewind
        packets = (packet for packet in again.demux() if packet.size)
        return max(float(((p.pts or 0) + (p.duration or 0)) * p.time_base) for p in packets)


def _folder(path: Path) -> Header:
    stills: list[Header] = []
    for file in frame_files(path):
        try:
            stills.append(_still(file))
        except DataError as error:
            raise DataError(f"frame {file.name}: {error}") from error
    if not stills:
        raise DataError("it is a folder without images")
    notes = dict.fromkeys(note for still in stills for note in still.notes)
    return Header(len(stills), stills[0].size, tuple(notes))


def _still(path: Path) -> Header:
    kind_of(path)  # raises DataError if its format cannot be read
    data = path.read_bytes()
    if is_cut_short(data):
        raise DataError(f"it is cut short after {len(data)} bytes")
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(path, formats=pillow_formats()) as image,
        ):
            return Header(1, image.size, tuple(_notes(image)))
    except pillow_errors() as error:
        return _unknown_to_pillow(path, error)


def _unknown_to_pillow(path: Path, error: Exception) -> Header:
    """Read an image that other libraries may decode, such as a TIFF of three floating levels."""
    if isinstance(error, Image.DecompressionBombError):
        raise DataError(f"it is no image that is safe to decode: {error}") from error
    try:
        height, width, _ = read_image(path).shape
    except DataError:
        raise DataError("it is no image in a format that OpenCV, Pillow or FFmpeg knows") from error
    return Header(1, (width, height))


def _animation(path: Path) -> Header:
    shapes = [image.shape for image, _ in moving_pictures(path)]
    height, width, _ = shapes[0]
    return Header(len(shapes), (width, height), ("a picture that moves, read as a clip",))


def _notes(image: ImageFile.ImageFile) -> list[str]:
    orientation, pictures = _orientation(image), getattr(image, "n_frames", 1)
    layers = image.format == "PSD"  # which Pillow counts as pictures
    notes = {
        "16 bits a channel, read as 8": ";16" in str(image.tile),
        "32 bits a level, scaled to 8": image.mode in _DEEP and ";16" not in str(image.tile),
        f"the first of {pictures} pictures is read": pictures > 1 and not layers,
        f"its {pictures} layers are read as one picture": pictures > 1 and layers,
        "grey, read as three equal channels": image.getbands()[0] in _GREY,
        "its alpha channel is dropped": image.has_transparency_data,
        f"turned as its EXIF orientation {orientation} says": orientation in range(2, 9),
    }
    return [note for note, applies in notes.items() if applies]


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1)) if "exif" in image.info else 1
    except pillow_errors():
        return 1  # the block is damaged, and decoders ignore it as well


def _video(path: Path) -> Header:
    with open_video(path) as container:
        stream = picture_of(container)
        if stream is None:
            raise DataError("it holds no video stream")
        if stream.codec_context is None:
            raise DataError("no installed decoder knows its codec")
        listed = listed_frames(container)
        packets, hidden, seconds = 0, 0, 0.0
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise DataError(f"it is damaged or cut short at frame {packets}")
            if packet.is_discard:
                hidden += 1
            elif packet.size:
                packets += 1
                seconds = max(seconds, float((packet.pts or 0) * packet.time_base))
        if not packets:
            raise DataError("it holds no frame")
        if short := shortfall(path, container, packets, seconds, listed=listed):
            raise DataError(f"it is cut short: {short}")
        return _shown(stream, packets, hidden)


def _shown(stream: VideoStream, frames: int, hidden: int) -> Header:
    """Give the frames as they are shown, and say how that differs from what is stored."""
    stored = (stream.width, stream.height)
    size = shown_size(*stored, pixel_aspect(stream))
    notes = {
        f"stored {stored[0]}x{stored[1]}, read as it is shown: {size[0]}x{size[1]}": size != stored,
        f"its edit list hides {hidden} frames, which are not read": hidden > 0,
    }
    return Header(frames, size, tuple(note for note, applies in notes.items() if applies))
