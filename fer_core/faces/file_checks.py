"""What the header of a clip's file tells before a pixel is decoded: frames, size and oddities.

A still is opened by Pillow, which reads on demand, and searched for its end mark; so are all
images of a folder. A video is demuxed: every packet is seen and none decoded.
"""

import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from PIL import Image, ImageFile

from fer_core.data.manifest import Clip, is_image
from fer_core.errors import DataError

LEAST_YIELD = 0.95  # of what a container declares; sound files were seen to fall short by 3 %
_DURATION = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")  # Matroska's tag of a stream, as muxers write it
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA  # markers, ITU-T T.81, table B.1
_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # what ends a scan: no stuffing, no restart
_ORIENTATION = 0x0112  # Exif 2.32, table 4; 1 is upright
_GREY = {"1", "L", "I", "F"}  # first bands of Pillow's modes without colour


@dataclass(frozen=True)
class Header:
    """What a clip's file says of itself, which decoding may yet belie."""

    frames: int = 0
    size: tuple[int, int] | None = None  # (width, height) as stored; None: not told
    notes: tuple[str, ...] = ()  # what reading will do to it
    fault: str | None = None  # why it cannot be a clip


def header(clip: Clip) -> Header:
    """Examine the file, or folder of frames, of a clip."""
    if clip.offset is not None:  # a line of a table
        return Header(1)
    try:
        if clip.path.is_dir():
            return _folder(clip.path)
        return _still(clip.path) if is_image(clip.path) else _video(clip.path)
    except DataError as error:
        return Header(fault=str(error))
    except FFmpegError as error:
        return Header(fault=f"it is no video, or cut short: {error.strerror}")
    except OSError as error:
        return Header(fault=f"it cannot be read: {error.strerror}")


def is_cut_short(data: bytes) -> bool:
    """Say whether an image's file ends before its end mark; False where its format has none.

    What follows the image, as the film does in a phone's moving photograph, is not looked at.
    """
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[max(0, data.find(b"IDAT")) :]
    return data.startswith(b"\xff\xd8") and not _reaches_end(data)


def _reaches_end(jpeg: bytes) -> bool:
    """Walk from marker to marker, over the thumbnails that some segments hold, to the end mark."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] != _JPEG_END:
        marker = jpeg[at + 1]
        at += 1 if marker == 0xFF else 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        if marker == _JPEG_SCAN:
            found = _IN_SCAN.search(jpeg, at)
            at = found.start() if found else len(jpeg)
    end = bytes((0xFF, _JPEG_END))
    strayed = jpeg[at : at + 1] != b"\xff"  # bytes that are no segment, which decoders skip
    return end in jpeg[at:] if strayed else jpeg[at : at + 2] == end


def shortfall(container: InputContainer, frames: int, seconds: float) -> str | None:
    """Say how a video that yields so many frames, the last at a time, falls short; None: whole.

    The count of frames is the better witness; the time is asked where none is declared.
    """
    stream = container.streams.video[0]
    if frames < LEAST_YIELD * stream.frames:
        return f"it declares {stream.frames} frames and yields {frames}"
    if stream.frames or stream.average_rate is None:
        return None
    own = _own_seconds(stream)
    declared = (container.duration or 0) / av.time_base if own is None else own
    seconds += float(1 / stream.average_rate)  # the last frame lasts, too
    if seconds >= LEAST_YIELD * declared:
        return None
    if own is None and _last_seconds(container) >= LEAST_YIELD * declared:
        return None  # the container lasts as long as its sound, which outlasts the picture
    return f"it declares {declared:.2f} s and yields {seconds:.2f} s"


def _own_seconds(stream: VideoStream) -> float | None:
    """Read how long the picture is to last, where it is told apart from the sound."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if tag := _DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, tag.groups())
        return 3600 * hours + 60 * minutes + seconds
    return None


def _last_seconds(container: InputContainer) -> float:
    """Find where the last packet of any stream ends, in the file anew: not every one rewinds."""
    with av.open(container.name) as again:
        packets = (packet for packet in again.demux() if packet.size)
        return max(float(((p.pts or 0) + (p.duration or 0)) * p.time_base) for p in packets)


def _folder(path: Path) -> Header:
    found: list[Header] = []
    for file in sorted(path.glob("[!.]*")):
        if is_image(file):
            try:
                found.append(_still(file))
            except DataError as error:
                raise DataError(f"frame {file.name}: {error}") from error
    if not found:
        raise DataError("it is a folder without images")
    notes = dict.fromkeys(note for still in found for note in still.notes)
    return Header(len(found), found[0].size, tuple(notes))


def _still(path: Path) -> Header:
    data = path.read_bytes()
    if is_cut_short(data):
        raise DataError(f"it is cut short after {len(data)} bytes")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            return Header(1, image.size, tuple(_notes(image)))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError("it is no image that Pillow knows") from error


def _notes(image: ImageFile.ImageFile) -> list[str]:
    orientation = _orientation(image)
    said = {
        "16 bits a channel, read as 8": ";16" in str(image.tile),
        "grey, read as three equal channels": image.getbands()[0] in _GREY,
        "its alpha channel is dropped": image.has_transparency_data,
        f"turned as its EXIF orientation {orientation} says": orientation in range(2, 9),
    }
    return [note for note, holds in said.items() if holds]


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1)) if "exif" in image.info else 1
    except (OSError, SyntaxError, TypeError, ValueError, struct.error):
        return 1  # a damaged block, which decoders do not heed either


def _video(path: Path) -> Header:
    with av.open(path, metadata_errors="replace") as container:
        if not container.streams.video:
            raise DataError("it holds no video stream")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise DataError("nothing here decodes its codec")
        packets, seconds = 0, 0.0
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise DataError(f"it is damaged or cut short at frame {packets}")
            if packet.size:
                packets += 1
                seconds = max(seconds, float((packet.pts or 0) * packet.time_base))
        if not packets:
            raise DataError("it holds no frame")
        if short := shortfall(container, packets, seconds):
            raise DataError(f"it is cut short: {short}")
        return Header(packets, (stream.width, stream.height))
