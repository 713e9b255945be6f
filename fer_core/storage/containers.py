"""Open videos by their content, whatever their names, and say how their containers are to be read.

`media` asks what a file is, and the room `faces` decodes frames. A name is never taken for a
protocol, a pattern of numbers or a playlist: PyAV gets the open file and no name at all.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# A video is taken for cut short if it has less than this share of the frames that its index lists,
# or of the seconds that its container declares. Sound files were seen to have up to 3 % less.
LEAST_YIELD = 0.95
# Pixels further from square than this are taken for an error of the file. Anamorphic films and
# broadcasts lie between 1:2 and 2:1 (ITU-T H.264, table E-1).
WIDEST_PIXEL = 4
# FFmpeg's demuxers that read text, or other files that a text names. They are no videos here.
_NOT_VIDEOS = frozenset(("tty", "concat", "hls", "dash", "sdp", "ffmetadata", "applehttp"))
_NO_PROTOCOLS = {"protocol_whitelist": "none"}  # a file cannot make FFmpeg open another one
_BOXES = frozenset(  # at the top of a file of ISO/IEC 14496-12 or QuickTime
    b"ftyp moov mdat free skip wide moof mfra meta uuid sidx styp pdin ssix prft emsg udta".split()
)
_MATRIX = struct.Struct(">5i")  # the first five numbers of a display matrix
_BOX_HEAD = 16  # bytes: the length of a box, its kind, and the length again if it is large
_SLACK = 8  # bytes; some writers count the header of a RIFF chunk as part of it


class _Nameless:
    """An open file without its name, by which FFmpeg would choose a protocol or a format."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read, self.tell = file.read, file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; -1, which FFmpeg takes for an error, if a damaged file names none."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1


@contextmanager
def open_video(path: Path, *, quick: bool = False) -> Iterator["InputContainer"]:
    """Open a video; `quick` decodes nothing to learn more than its headers say.

    Raises: FFmpegError if it is no video; OSError if it cannot be opened.
    """
    import av  # takes 0.1 s to import, too long for --help

    options = _NO_PROTOCOLS | ({"analyzeduration": "0"} if quick else {})
    with (
        path.open("rb") as file,
        av.open(_Nameless(file), "r", metadata_errors="replace", options=options) as container,
    ):
        yield container


def picture_of(container: "InputContainer") -> "VideoStream | None":
    """Choose the stream that is the picture: the first one that is no cover image."""
    from av.stream import Disposition

    streams = container.streams.video
    return next((s for s in streams if not s.disposition & Disposition.attached_pic), None)


def kind(path: Path) -> Literal["video", "image"] | None:
    """Say whether FFmpeg reads a file as a video or as one image; None if as neither."""
    from av.error import FFmpegError

    try:
        with open_video(path, quick=True) as container:
            stream, name = picture_of(container), container.format.name
            if stream is None or stream.codec_context is None or name in _NOT_VIDEOS:
                return None
            return "image" if name.endswith("_pipe") or name == "image2" else "video"
    except FFmpegError:
        return None


def reading(path: Path) -> str:
    """Say how a video is read if versions that trusted its declared frames read it differently.

    It is empty for a video that they read rightly, and for a damaged one.
    """
    from av.error import FFmpegError

    try:
        with open_video(path, quick=True) as container:
            stream = picture_of(container)
            if stream is None:
                return ""
            listed, aspect = listed_frames(container), pixel_aspect(stream)
            parts = {
                f"stream {stream.index}": stream.index != container.streams.video[0].index,
                f"pixels {aspect}": aspect != 1,
                f"{listed} frames": 0 < listed < LEAST_YIELD * stream.frames,
                "mirrored": _is_mirrored(path),
            }
            return ", ".join(part for part, applies in parts.items() if applies)
    except (FFmpegError, ValueError):
        return ""


def pixel_aspect(stream: "VideoStream") -> Fraction:
    """Read how wide a pixel is shown for its height; 1 if the file says nothing, or nonsense."""
    # A stream whose codec no installed decoder knows has no context, and no attribute of one.
    declared = stream.codec_context and stream.sample_aspect_ratio
    if not declared or not Fraction(1, WIDEST_PIXEL) <= declared <= WIDEST_PIXEL:
        return Fraction(1)
    aspect = Fraction(declared)
    shown = shown_size(stream.width, stream.height, aspect)
    return Fraction(1) if shown == (stream.width, stream.height) else aspect


def shown_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Give the size at which a frame is shown; the smaller direction grows, so no pixel is lost."""
    if aspect >= 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def listed_frames(container: "InputContainer") -> int:
    """Count the frames to be shown that the index at the head of an MP4, or an AVI, lists.

    An edit list may hide stored frames, and a recorder may drop some. 0 if there is no such index.
    """
    stream = picture_of(container)
    has_index = container.format.name in ("avi", "mov,mp4,m4a,3gp,3g2,mj2")
    if stream is None or not has_index or not stream.frames:
        return 0
    return sum(entry.size > 0 and not entry.is_discard for entry in stream.index_entries)


def bytes_missing(path: Path) -> int:
    """Count the bytes by which a container's parts reach beyond the end of the file; 0 if whole.

    Known are MP4 and QuickTime, AVI, and Matroska with WebM. In other files nothing says it.
    """
    size = os.stat(path).st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in _BOXES:
            return max(0, _end_of_boxes(file, size) - size)
        if head[:4] == b"RIFF":
            end = _end_of_riff(file, size)
            return end - size if end > size + _SLACK else 0
        if head[:4] == b"\x1aE\xdf\xa3":
            return max(0, _end_of_matroska(file) - size)
    return 0


def _is_mirrored(path: Path) -> bool:
    """Whether an MP4 says that a track is shown mirrored: by the matrix in its head.

    ISO/IEC 14496-12, 8.3.2: the matrix follows 40 bytes of the box, or 52 in its version 1.
    """
    size = os.stat(path).st_size
    with path.open("rb") as file:
        head, place = file.read(_BOX_HEAD), 0
        while head[4:8] in _BOXES and head[4:8] != b"moov":
            length = int.from_bytes(head[8:] if head[:4] == b"\0\0\0\1" else head[:4])
            place = place + length if length >= 8 else size
            file.seek(place)
            head = file.read(_BOX_HEAD)
        if head[4:8] != b"moov":
            return False
        file.seek(place)
        tracks = file.read(int.from_bytes(head[:4])).split(b"tkhd")[1:]
    for track in tracks:
        begin = 52 if track[:1] == b"\1" else 40
        if len(track) >= begin + _MATRIX.size:
            a, b, _, c, d = _MATRIX.unpack_from(track, begin)
            if a * d - b * c < 0:
                return True
    return False


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Walk over the boxes at the top of a file, to the end of the last one."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        head = file.read(16)
        length = int.from_bytes(head[:4])
        if length == 1:
            length = int.from_bytes(head[8:16])
        if head[4:8] not in _BOXES or length < 8:  # 0: to the end of the file; else no box
            break
        place += length
    return place


def _end_of_riff(file: BinaryIO, size: int) -> int:
    """Walk over the RIFF chunks of an AVI; recorders that were stopped leave the length 0."""
    place = end = 0
    while place + 8 <= size:
        file.seek(place)
        head = file.read(8)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or length in (0, 2**32 - 1):
            break
        place += 8 + length + length % 2
        end = place - length % 2
    return end


def _end_of_matroska(file: BinaryIO) -> int:
    """Find where the segment of a Matroska file ends; 0 if it was written as a stream, unmeasured.

    An EBML number begins with as many zero bits as it has further bytes, and a 1. All ones mean
    unknown.
    """
    file.seek(4)
    length, _ = _ebml_number(file)
    file.seek(length, os.SEEK_CUR)
    if file.read(4) != b"\x18S\x80g":  # the segment
        return 0
    length, unknown = _ebml_number(file)
    return 0 if unknown else file.tell() + length


def _ebml_number(file: BinaryIO) -> tuple[int, bool]:
    first = int.from_bytes(file.read(1))
    further = 8 - first.bit_length()
    if further > 7:
        return 0, True
    bits = 7 * (further + 1)
    value = int.from_bytes(bytes((first,)) + file.read(further)) & (2**bits - 1)
    return value, value == 2**bits - 1
