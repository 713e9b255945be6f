"""Check the file of a clip without decoding it: count its frames, read its size, find its faults.

`search.checkup` checks a whole dataset this way before a search, and the plan counts frames with
it; `video` uses the tests for files that are cut short. An image's header is read by Pillow, and
its bytes are searched for the mark that ends it; so is each image of a folder. A video is split
into packets, and none of them is decoded.
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

# A video is taken for cut short if it has less than this share of the frames, or of the seconds,
# that its container declares. Sound files were seen to have up to 3 % less.
LEAST_YIELD = 0.95
_DURATION = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")  # a stream's DURATION tag in a Matroska file
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA  # markers, ITU-T T.81, table B.1
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a marker that is no stuffing or restart
_ORIENTATION = 0x0112  # Exif 2.32, table 4; 1 is upright
_GREY = {"1", "L", "I", "F"}  # the first band of those Pillow modes that have no colour


@dataclass(frozen=True)
class Header:
    """What a clip's file declares about itself; decoding may show that some of it is wrong."""

    frames: int = 0
    size: tuple[int, int] | None = None  # (width, height) as stored; None if the file has none
    notes: tuple[str, ...] = ()  # how reading will change the pixels, for the user
    fault: str | None = None  # why the file cannot be used; None if nothing is wrong


def header(clip: Clip) -> Header:
    """Examine the file of a clip, or its folder of frames; a fault is returned, not raised."""
    if clip.offset is not None:  # the clip is one line of a table
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
    """Say whether an image's file ends before its end mark; False if its format has no end mark.

    Bytes after the image do not matter, such as the film in a phone's moving photograph.
    """
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[max(0, data.find(b"IDAT")) :]
    return data.startswith(b"\xff\xd8") and not _reaches_end(data)


def _reaches_end(jpeg: bytes) -> bool:
    """Walk from marker to marker until the end mark.

    A search for the end mark alone would stop at that of a thumbnail inside a segment.
    """
    place = 2
    while place + 4 <= len(jpeg) and jpeg[place] == 0xFF and jpeg[place + 1] != _JPEG_END:
        marker = jpeg[place + 1]
        place += 1 if marker == 0xFF else 2 + int.from_bytes(jpeg[place + 2 : place + 4])
        if marker == _JPEG_SCAN:
            found = _SCAN_END.search(jpeg, place)
            place = found.start() if found else len(jpeg)
    end = bytes((0xFF, _JPEG_END))
    strayed = jpeg[place : place + 1] != b"\xff"  # bytes that are no segment; decoders skip them
    return end in jpeg[place:] if strayed else jpeg[place : place + 2] == end


def shortfall(container: InputContainer, frames: int, seconds: float) -> str | None:
    """Say how a video with `frames` frames, the last at `seconds`, is incomplete; None if whole.

    The declared number of frames is compared first; the declared time only if there is no number.
    """
    stream = container.streams.video[0]
    if frames < LEAST_YIELD * stream.frames:
        return f"it declares {stream.frames} frames and yields {frames}"
    if stream.frames or stream.average_rate is None:
        return None
    own = _own_seconds(stream)
    declared = (container.duration or 0) / av.time_base if own is None else own
    seconds += float(1 / stream.average_rate)  # the last frame has a duration, too
    if seconds >= LEAST_YIELD * declared:
        return None
    if own is None and _last_seconds(container) >= LEAST_YIELD * declared:
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


def _last_seconds(container: InputContainer) -> float:
    """Find where the last packet of any stream ends."""
    with av.open(container.name) as again:  # opened anew, because not every file can rewind
        packets = (packet for packet in again.demux() if packet.size)
        return max(float(((p.pts or 0) + (p.duration or 0)) * p.time_base) for p in packets)


def _folder(path: Path) -> Header:
    stills: list[Header] = []
    for file in sorted(path.glob("[!.]*")):
        if is_image(file):
            try:
                stills.append(_still(file))
            except DataError as error:
                raise DataError(f"frame {file.name}: {error}") from error
    if not stills:
        raise DataError("it is a folder without images")
    notes = dict.fromkeys(note for still in stills for note in still.notes)
    return Header(len(stills), stills[0].size, tuple(notes))


def _still(path: Path) -> Header:
    data = path.read_bytes()
    if is_cut_short(data):
        raise DataError(f"it is cut short after {len(data)} bytes")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            return Header(1, image.size, tuple(_notes(image)))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError("it is no image in a format that Pillow knows") from error


def _notes(image: ImageFile.ImageFile) -> list[str]:
    orientation = _orientation(image)
    notes = {
        "16 bits a channel, read as 8": ";16" in str(image.tile),
        "grey, read as three equal channels": image.getbands()[0] in _GREY,
        "its alpha channel is dropped": image.has_transparency_data,
        f"turned as its EXIF orientation {orientation} says": orientation in range(2, 9),
    }
    return [note for note, applies in notes.items() if applies]


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1)) if "exif" in image.info else 1
    except (OSError, SyntaxError, TypeError, ValueError, struct.error):
        return 1  # the block is damaged, and decoders ignore it as well


def _video(path: Path) -> Header:
    with av.open(path, metadata_errors="replace") as container:
        if not container.streams.video:
            raise DataError("it holds no video stream")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise DataError("no installed decoder knows its codec")
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
