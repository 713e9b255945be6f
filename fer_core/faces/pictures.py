"""Decode pictures: single images of any format, and the pictures of a GIF, WebP or PNG that moves.

OpenCV decodes what it knows; Pillow, with its plugins, and PyAV the rest. `video` reads the
pictures of a clip through this module.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from av.error import FFmpegError
from PIL import Image as Pillow
from PIL import ImageOps, ImageSequence

from fer_core.arrays import Array, Image
from fer_core.errors import DataError
from fer_core.storage.containers import open_video
from fer_core.storage.picture_formats import pillow_errors, pillow_formats

# Browsers show a picture that is to be shown for 10 ms or less for as long as this.
# https://searchfox.org/mozilla-central/source/image/FrameTimeout.h
LEAST_SECONDS, USUAL_SECONDS = Fraction(11, 1000), Fraction(1, 10)
# Of these OpenCV ignores how they are turned (AVIF), or what their largest level is (PGM, PPM).
_PILLOW_FIRST = re.compile(rb"....ftyp(avif|avis|mif1|msf1)|P[2356]\s", re.DOTALL)
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA  # markers, ITU-T T.81, table B.1
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a marker that is no stuffing or restart
# The largest levels that are usual in images of 32 bits, and the factors that make them 255.
_LEVELS = {"F": ((1, 255), (255, 1), (65535, 1 / 257)), "I": ((255, 1), (65535, 1 / 257))}


def read_image(path: Path) -> Image:
    """Decode one image, or the first picture of one that moves, to (H, W, 3) RGB.

    Raises: DataError, with the file and the reason, if it cannot be decoded.
    """
    data = path.read_bytes()
    if is_cut_short(data):
        raise DataError(f"image {path} is cut short after {len(data)} bytes.")
    image = None if _PILLOW_FIRST.match(data) else _by_opencv(data)
    image = _by_pillow(path) if image is None else image
    image = _by_opencv(data) if image is None else image
    image = _by_pyav(path) if image is None else image
    if image is None:
        raise DataError(
            f"image {path} cannot be decoded: it is damaged, or in a format that none of OpenCV, "
            "Pillow and FFmpeg knows."
        )
    return image


def moving_pictures(path: Path) -> Iterator[tuple[Image, Fraction]]:
    """Decode the pictures of a GIF, WebP or PNG that moves, each with its seconds on the screen.

    Raises: DataError, with the file and the reason, if not all of them can be decoded.
    """
    data = path.read_bytes()
    if is_cut_short(data):
        raise DataError(f"animation {path} is cut short after {len(data)} bytes.")
    count = 0
    try:
        with warnings.catch_warnings(action="ignore"), Pillow.open(BytesIO(data)) as moving:
            # A PNG may begin with a picture for readers that know no motion; it is not shown.
            skipped = int(bool(getattr(moving, "default_image", False)))
            for picture in islice(ImageSequence.Iterator(moving), skipped, None):
                image = rgb(ImageOps.exif_transpose(picture))
                yield image, _seconds(picture)
                count += 1
    except pillow_errors() as error:
        raise DataError(
            f"animation {path} cannot be decoded past {count} pictures: {error}."
        ) from error
    if not count:
        raise DataError(f"animation {path} holds no picture.")


def _seconds(picture: Pillow.Image) -> Fraction:
    """Read for how many seconds a picture of an animation is shown."""
    seconds = Fraction(picture.info.get("duration") or 0).limit_denominator(1000) / 1000
    return seconds if seconds >= LEAST_SECONDS else USUAL_SECONDS


def _by_opencv(data: bytes) -> Image | None:
    """Decode with OpenCV, which gives 8 bits and three channels, turned as EXIF says."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # Pillow comes next
    floats = data.startswith(b"PF")  # of colours; their levels are not known
    flags = cv2.IMREAD_UNCHANGED if floats else cv2.IMREAD_COLOR
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if bgr is None or bgr.ndim != 3:
        return None
    if floats:
        bgr = _in_8_bits(bgr, _LEVELS["F"])
    decoded: Image = np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)
    return decoded


def _by_pillow(path: Path) -> Image | None:
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Pillow.open(path, formats=pillow_formats()) as image,
        ):
            return rgb(ImageOps.exif_transpose(image))
    except Pillow.DecompressionBombError as error:
        raise DataError(f"image {path} is too large; scale it down. {error}") from error
    except pillow_errors():
        return None


def _by_pyav(path: Path) -> Image | None:
    """Decode with FFmpeg, for images such as OpenEXR."""
    try:
        with open_video(path) as container:
            frame = next(container.decode(video=0))
            return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except (FFmpegError, IndexError, StopIteration):
        return None


def rgb(picture: Pillow.Image) -> Image:
    """Turn a picture of any of Pillow's modes into (H, W, 3) RGB; transparency is dropped."""
    if picture.mode.startswith("I;16"):
        levels: Array = np.asarray(picture).astype(np.uint16) >> 8
    elif picture.mode in ("I", "F"):
        levels = _in_8_bits(np.asarray(picture, np.float64), _LEVELS[picture.mode])
    else:
        return np.array(picture.convert("RGB"))
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)


def _in_8_bits(levels: Array, usual: Sequence[tuple[float, float]]) -> Array:
    """Scale levels of 32 bits to 0 to 255; what they go up to is not written down.

    The smallest of the usual ranges that holds them is taken; other levels are stretched.
    """
    finite: Array = np.nan_to_num(levels)
    low, high = float(finite.min()), float(finite.max())
    fitting = (factor for most, factor in usual if low >= 0 and high <= most)
    if (factor := next(fitting, None)) is None:
        finite, factor = finite - low, 255 / max(high - low, 1e-12)
    return np.asarray(np.round(finite * factor))


def is_cut_short(data: bytes) -> bool:
    """Say whether an image's file ends before its end mark; False if its format has no end mark.

    Bytes after the image do not matter, such as the film in a phone's moving photograph.
    """
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[max(0, data.find(b"IDAT")) :]
    if data.startswith(b"GIF8"):
        return not _gif_ends(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return data.startswith(b"\xff\xd8") and not _jpeg_ends(data)


def _gif_ends(gif: bytes) -> bool:
    """Walk from block to block until the trailer; GIF89a specification, appendix A."""
    place = 13 + _colours(gif[10:11])
    while place < len(gif):
        block = gif[place : place + 1]
        if block == b",":  # an image
            place += 11 + _colours(gif[place + 9 : place + 10])
        elif block == b"!":  # an extension
            place += 2
        else:
            return b";" in gif[place:]
        while place < len(gif) and gif[place]:
            place += 1 + gif[place]
        place += 1
    return False


def _colours(flags: bytes) -> int:
    """Give the bytes of the table of colours that follows, by the flags of a GIF's block."""
    bits = flags[0] if flags else 0
    return 3 << ((bits & 7) + 1) if bits & 0x80 else 0


def _jpeg_ends(jpeg: bytes) -> bool:
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
