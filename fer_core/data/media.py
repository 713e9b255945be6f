"""What a file is, by its content: a picture, a moving picture, a video, or none of these.

`reading` asks this of each file that a table or an adapter names, and the room `faces` opens the
file in the same way. The suffix of a file (`file_names`) decides only where its content says
nothing.
"""

import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from fer_core.errors import DataError
from fer_core.storage import containers, picture_formats
from fer_core.storage.file_names import (
    EARLIER,
    EARLIER_IMAGES,
    HEIF_SUFFIXES,
    IMAGE_SUFFIXES,
    MOTION_JPEG_SUFFIXES,
    RAW_SUFFIXES,
    VIDEO_SUFFIXES,
    is_image_name,
    is_junk,
)
from fer_core.storage.files import file_sha256
from fer_core.storage.picture_formats import check_plugin, tiff_tags

Kind = Literal["image", "animation", "video", "frames", "row"]
"""One picture; a picture that moves, such as a GIF; a video; a folder of images; a table's row."""

HEAD = 4096  # bytes that are read of a file to tell what it is
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# How files begin: the signatures in the specifications of the formats, as listed at
# https://www.garykessler.net/library/file_sigs.html.
_PLAIN = (b"\xff\xd8\xff", b"BM")  # JPEG and BMP: one picture, which OpenCV decodes
_OPENCV = (  # the formats that OpenCV decodes
    *(*_PLAIN, *_TIFF, b"\x89PNG", b"RIFF", b"GIF8", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51"),
    *(b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"),
)
_VIDEOS = (b"\x1aE\xdf\xa3", b"FLV", b"\0\0\1\xba", b"\0\0\1\xb3", b"0&\xb2u\x8ef\xcf\x11", b"OggS")
_DOCUMENTS = (b"PK\3\4", b"%PDF", b"\xd0\xcf\x11\xe0")  # zip files, PDF, old office files
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1")  # the last two are used for HEIF as well
_JPEG_XL = b"\0\0\0\x0cJXL \r\n\x87\n"  # ISO/IEC 18181-2; the bare form has two bytes only
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free")  # begin QuickTime and MP4 files
# Tags of TIFF 6.0 and DNG 1.7. A picture of subfile type 1 is a preview of one in a sub-IFD.
_SUBFILE_TYPE, _BITS, _SUB_IFDS, _DNG_VERSION = 0x00FE, 0x0102, 0x014A, 0xC612
_RAW = "it is a camera's raw file, of which only a preview could be read; convert it to PNG or JPEG"
_BLOCK = 2**20


@dataclass(frozen=True)
class Examined:
    """What a file was found to be, and the hash of its content."""

    sha256: str
    kind: Kind | None  # None: neither its content nor its suffix is that of an image or a video
    # How it is read, if the versions that knew only the suffixes in EARLIER read it differently;
    # else empty. The key of its stored faces holds it, so that no result of theirs is used.
    reading: str = ""


def frame_files(folder: Path) -> list[Path]:
    """List the images of a folder of frames, by their suffixes, in the order of their names.

    Where no file has the suffix of an image, the files that are images by their content count.

    Raises: DataError that names the frame, if it is an image in a format that cannot be read;
        OSError if a file without a suffix cannot be opened.
    """
    files = [path for path in sorted(folder.iterdir()) if not is_junk(path.name)]
    files = [path for path in files if not os.path.isdir(path)]
    return list(filter(is_image_name, files)) or list(filter(_is_nameless_image, files))


def frame_order(file: Path) -> tuple[int, list[str | int], str]:
    """Give a key that sorts frames by the last number in their names, so that 10 comes after 9.

    Where that number is the same, the other numbers count, from the first one on.
    """
    parts = re.split(r"(\d+)", file.stem)
    numbers = parts[1::2]
    natural = [int(part) if place % 2 else part for place, part in enumerate(parts)]
    return (int(numbers[-1]) if numbers else 0, natural, file.name)


def _earlier_order(file: Path) -> tuple[int, str]:
    """Give the key by which earlier versions sorted frames."""
    last, _, name = frame_order(file)
    return last, name


def _is_nameless_image(path: Path) -> bool:
    """Whether a file without a suffix is an image; a pipe, which nobody may write to, is none."""
    try:
        is_file = not path.suffix and stat.S_ISREG(path.stat().st_mode)
        return is_file and kind_of(path) == "image"
    except DataError as error:
        raise DataError(f"frame {path.name}: {error}") from error


def kind_of(path: Path) -> Kind | None:
    """Say what a file or a folder is; None if it is neither an image nor a video.

    Raises: DataError if it is an image in a format that cannot be read; OSError if it cannot be
        opened.
    """
    if path.is_dir():
        return "frames"
    with path.open("rb") as file:
        return _kind(path, file.read(HEAD))


def is_jpeg(path: Path) -> bool:
    """Whether a file begins as a JPEG does."""
    with path.open("rb") as file:
        return file.read(3) == b"\xff\xd8\xff"


def examine(path: Path) -> Examined:
    """Hash a file, and say what it is and how it is read.

    Raises: DataError if it is an image in a format that cannot be read; OSError if it cannot be
        opened.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        kind = _kind(path, head)
        sha256 = _hash(head, file)
    return Examined(sha256, kind, _reading(path, head, kind))


def examine_frames(folder: Path, files: Collection[Path], beside: Iterable[str] = ()) -> Examined:
    """Hash the files of a folder of frames that are read: its frames, and some others by name.

    A folder that holds nothing else has the hash that `files.file_sha256` gives it.

    Raises: as `examine` does.
    """
    hashes, others = {}, set()
    in_order = sorted(files, key=frame_order)
    if in_order != sorted(files, key=_earlier_order):
        others.add("order of all numbers")
    for path in files:
        try:
            found = examine(path)
        except DataError as error:
            raise DataError(f"frame {path.name}: {error}") from error
        hashes[path.name] = found.sha256
        if found.reading or path.suffix.lower() not in EARLIER_IMAGES:
            others.add(found.reading or path.suffix.lower())
    for name in beside:
        if (folder / name).is_file():
            hashes[name] = file_sha256(folder / name)
    lines = (f"{name}:{sha256}" for name, sha256 in sorted(hashes.items()))
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return Examined(digest, "frames", " ".join(sorted(others)))


def _hash(head: bytes, file: BinaryIO) -> str:
    digest = hashlib.sha256(head)
    while block := file.read(_BLOCK) if len(head) == HEAD else b"":
        digest.update(block)
    return digest.hexdigest()


def _reading(path: Path, head: bytes, kind: Kind | None) -> str:
    """Say how a file is read if earlier versions read it differently; else empty.

    It is empty as well for a file that they did not read, by its suffix.
    """
    suffix = path.suffix.lower()
    if suffix not in EARLIER:
        return ""
    if kind != ("image" if suffix in EARLIER_IMAGES else "video"):
        return kind or ""
    if kind == "video":
        return containers.reading(path)
    is_known = head.startswith(_OPENCV) or _brand(head) in _AVIF_BRANDS
    return "" if is_known and not _has_deep_levels(path, head) else "pillow"


def _kind(path: Path, head: bytes) -> Kind | None:
    if head.startswith(_PLAIN):
        return "video" if path.suffix.lower() in MOTION_JPEG_SUFFIXES else "image"
    if head.startswith(_DOCUMENTS):  # FFmpeg finds pictures in them
        return None
    if path.suffix.lower() in RAW_SUFFIXES or head[4:12] == b"ftypcrx " or _is_raw(path, head):
        raise DataError(_RAW)
    if head.startswith(_TIFF):
        return "image"
    if head.startswith((b"\x89PNG", b"RIFF", b"GIF8")) or _brand(head):
        return _of_family(path, head)
    if head.startswith(_VIDEOS) or head[4:8] in _BOXES:
        return "video"
    if head.startswith(_JPEG_XL):
        check_plugin("JXL")
        return "image"
    return _asked(path) or _by_suffix(path)


def _of_family(path: Path, head: bytes) -> Kind | None:
    """Tell pictures from moving pictures and videos in the formats that hold more than one kind."""
    if head.startswith(b"RIFF") and head[8:12] != b"WEBP":
        return "video" if head[8:11] == b"AVI" else _asked(path) or _by_suffix(path)
    brand = _brand(head)
    if brand in _HEIF_BRANDS or (brand and any(each in head[12:64] for each in _HEIF_BRANDS)):
        check_plugin("HEIF")
    elif brand and brand not in _AVIF_BRANDS:
        return "video"
    if head.startswith(b"\x89PNG") and b"IDAT" in head and b"acTL" not in head:
        return "image"  # the mark of an animation comes before the pixels
    if head.startswith(b"RIFF") and not (head[12:16] == b"VP8X" and head[20] & 2):
        return "image"  # WebP container specification: the flag of an animation
    return picture_formats.kind(path) or "image"


def _brand(head: bytes) -> bytes:
    """Read which kind of MP4 or HEIF file this is: its major brand, ISO/IEC 14496-12, 4.3.

    `head` are its first bytes. The result is empty for a file of another format.
    """
    return head[8:12] if head[4:8] == b"ftyp" else b""


def _asked(path: Path) -> Kind | None:
    """Ask Pillow, then PyAV, what a file is whose first bytes say nothing."""
    return picture_formats.kind(path) or containers.kind(path)


def _by_suffix(path: Path) -> Kind | None:
    suffix = path.suffix.lower()
    if suffix in HEIF_SUFFIXES:
        check_plugin("HEIF")
    if suffix == ".jxl":
        check_plugin("JXL")
    return "image" if suffix in IMAGE_SUFFIXES else "video" if suffix in VIDEO_SUFFIXES else None


def _is_raw(path: Path, head: bytes) -> bool:
    """Whether a TIFF is a camera's raw file, whose first picture is a small preview."""
    if not head.startswith(_TIFF):
        return False
    tags = tiff_tags(path)
    is_preview = tags.get(_SUBFILE_TYPE) == 1 and _SUB_IFDS in tags
    return is_preview or _DNG_VERSION in tags or head[8:10] == b"CR"


def _has_deep_levels(path: Path, head: bytes) -> bool:
    """Whether a TIFF holds more than 16 bits a level, which OpenCV does not turn into 8."""
    bits = tiff_tags(path).get(_BITS, ()) if head.startswith(_TIFF) else ()
    levels = bits if isinstance(bits, tuple) else (bits,)
    return any(isinstance(each, int) and each > 16 for each in levels)  # bytes: a damaged tag
