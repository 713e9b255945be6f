"""Damaged media of any kind give a reason and end no load: each oddity, with bytes changed."""

import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer_core.data.datasets import load
from fer_core.data.manifest import Clip
from fer_core.data.media import examine
from fer_core.errors import DataError
from fer_core.faces import video
from fer_core.faces.file_checks import header
from fer_core.faces.pictures import read_image
from tests.fer_core.faces.oddities import FOLDERS, ODDITIES, moving, picture, saved

FILES = [odd for odd in ODDITIES if odd not in FOLDERS and odd.name != "empty.jpg"]
PLACES = st.integers(0, 63) | st.integers(0, 499) | st.integers(0, 2**20)  # most are in the head
LEVELS = st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255)
CHANGES = st.lists(st.tuples(PLACES, LEVELS), min_size=1, max_size=6)


def read_in_all_ways(path):
    clip = Clip(clip="", subject="", emotion="", authenticity=None, path=path, sha256="")
    with suppress(DataError):
        examine(path)
    header(clip)  # returns a fault, and raises nothing
    with suppress(DataError):
        for image in video.frames(path):
            assert image.ndim == 3


@pytest.mark.parametrize("odd", FILES, ids=lambda odd: odd.name)
def test_changed_bytes_give_a_picture_or_a_reason(odd, tmp_path):
    path = tmp_path / odd.name
    odd.write(path, picture(1))
    whole = path.read_bytes()

    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(CHANGES, st.integers(1, 4))
    def damaged(changes, cut):
        content = bytearray(whole)
        for place, level in changes:
            content[place % len(content)] = level
        path.write_bytes(content if cut > 1 else content[: len(content) // 2])
        read_in_all_ways(path)

    damaged()


def replaced(word, other):
    return lambda content: content.replace(word, other, 1)


def no_colours(content):
    """Turn an AVIF into a video whose pixels no decoder can turn into RGB."""
    changed = bytearray(content)
    changed[11] = 255  # the brand, so that FFmpeg is asked
    pixels = content.index(b"mdat")  # the box of the pixels
    changed[pixels + 14] = 1
    return bytes(changed)


def no_table(content):
    """Say that a GIF has no table of colours, whose bytes are then read as blocks."""
    return content[:10] + b"\0" + content[11:28] + b"\xff" + content[29:]


@pytest.mark.parametrize(
    ("name", "write", "damage"),
    [
        ("no picture.avif", saved("AVIF"), replaced(b"iloc", b"xloc")),
        ("no pixels.avif", saved("AVIF"), lambda content: content[:-200] + bytes(200)),
        ("no width.tif", saved("TIFF"), replaced(b"\x00\x01\x04\x00", b"\x7f\x01\x04\x00")),
        ("two widths.tif", saved("TIFF"), replaced(b"\x00\x01\x04\x00", b"\x00\x01\x05\x00")),
        ("colours of no kind.avif", saved("AVIF", quality=95), no_colours),
        ("no table of colours.gif", moving("GIF"), no_table),
        ("no place for a line.pcx", saved("PCX"), lambda content: content[:4] + bytes(30)),
    ],
)
def test_one_damaged_file_leaves_the_others_of_its_dataset(tmp_path, name, write, damage):
    saved("JPEG")(tmp_path / "whole.jpg", picture(1))
    write(tmp_path / name, picture(2))
    content = (tmp_path / name).read_bytes()
    assert damage(content) != content
    (tmp_path / name).write_bytes(damage(content))
    (tmp_path / "manifest.csv").write_text(f"path,subject,emotion\nwhole.jpg,1,joy\n{name},2,joy\n")

    manifest = load("folder", tmp_path)

    assert "whole.jpg" in [clip.clip for clip in manifest.clips]
    read_in_all_ways(tmp_path / name)


def test_a_small_file_that_declares_huge_sides_is_refused_before_it_is_decoded(tmp_path):
    def chunk(name, content):
        return (
            len(content).to_bytes(4, "big")
            + name
            + content
            + zlib.crc32(name + content).to_bytes(4, "big")
        )

    sides = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", sides), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))

    with pytest.raises(DataError, match=r"huge\.png is too large; scale it down. .*900000000"):
        read_image(path)
