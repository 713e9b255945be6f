import io
import os
from contextlib import suppress

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fer_core.data import media
from fer_core.data.datasets import load
from fer_core.data.media import examine, kind_of
from fer_core.data.reading import as_before
from fer_core.errors import DataError
from fer_core.storage.file_names import EARLIER, IMAGE_SUFFIXES, VIDEO_SUFFIXES
from fer_core.storage.files import file_sha256
from tests.fer_core.faces.oddities import film, folder, picture

NO_PHOTOGRAPHS = (  # documents, icons, textures of games, scientific data; and MPEG, a video
    ".blp .bufr .bw .cur .dcx .dds .emf .eps .fit .fits .flc .fli .ftc .ftu .gbr .grib .h5 .hdf "
    ".icb .icns .ico .iim .im .mpeg .mpg .msp .palm .pcd .pdf .ps .pxr .rgb .rgba .vda .vst .wmf "
    ".xbm .xpm"
)
READ_EARLIER = (("jpg", "JPEG"), ("png", "PNG"), ("bmp", "BMP"), ("tiff", "TIFF"), ("webp", "WEBP"))


def image(path, format="JPEG", number=1, **options):
    picture(number).save(path, format, **options)
    return path


@pytest.mark.parametrize(("suffix", "format"), READ_EARLIER)
def test_a_photograph_is_hashed_and_read_as_it_always_was(tmp_path, suffix, format):
    path = image(tmp_path / f"a.{suffix}", format)

    found = examine(path)

    assert (found.sha256, found.kind, found.reading) == (file_sha256(path), "image", "")


@pytest.mark.parametrize("format", ["mp4", "avi", "matroska", "flv"])
def test_a_plain_video_is_hashed_and_read_as_it_always_was(tmp_path, format):
    path = tmp_path / f"a.{'mkv' if format == 'matroska' else format}"
    film(format, "flv" if format == "flv" else "mpeg4", frames=60)(path, picture(1))

    found = examine(path)

    assert (found.sha256, found.kind, found.reading) == (file_sha256(path), "video", "")


@pytest.mark.parametrize(
    ("name", "write", "reading"),
    [
        ("a.mp4", film("mp4", aspect=2), "pixels 2"),
        ("a.avi", film("avi", "mpeg4", pts=[2 * i for i in range(12)]), "12 frames"),
        ("a.jpg", film("mp4"), "video"),
        ("a.png", lambda path, _: image(path, "GIF"), ""),  # OpenCV decoded it by its content
        ("a.png", lambda path, _: image(path, "TGA"), "pillow"),
        (
            "a.webp",
            lambda p, i: i.save(p, save_all=True, append_images=[picture(200)]),
            "animation",
        ),
        ("a.tif", lambda p, i: Image.fromarray(np.eye(9, dtype=np.float32)).save(p), "pillow"),
        ("a.gif", lambda path, _: image(path, "GIF"), ""),  # no earlier store holds a .gif
    ],
)
def test_what_earlier_versions_read_differently_says_so_for_its_key(tmp_path, name, write, reading):
    write(tmp_path / name, picture(1))

    assert examine(tmp_path / name).reading == reading


@given(st.binary(max_size=200))
def test_no_content_makes_the_question_fail(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any content"
    path.write_bytes(data)

    with suppress(DataError):  # some bytes are those of a format that cannot be read
        assert kind_of(path) in (None, "image", "animation", "video")


def test_the_suffixes_of_earlier_versions_are_still_looked_for():
    assert EARLIER <= IMAGE_SUFFIXES | VIDEO_SUFFIXES
    assert not IMAGE_SUFFIXES & VIDEO_SUFFIXES


def test_all_suffixes_that_pillow_gives_to_pictures_are_looked_for_or_known_to_be_none():
    Image.init()

    assert set(Image.registered_extensions()) - IMAGE_SUFFIXES == set(NO_PHOTOGRAPHS.split())


@pytest.mark.parametrize("left", ["Thumbs.db", "desktop.ini", ".DS_Store", "._1.jpg"])
def test_what_a_system_leaves_in_a_folder_of_frames_changes_no_hash(tmp_path, left):
    folder(["1.jpg", "2.jpg"])(tmp_path / "clip", picture(1))
    (tmp_path / "manifest.csv").write_text("path,subject,emotion\nclip,1,joy\n")
    before = load("folder", tmp_path)

    (tmp_path / "clip" / left).write_text("left behind")

    after = load("folder", tmp_path)
    assert (after.sha256, after.clips, after.aside) == (before.sha256, before.clips, before.aside)
    assert before.clips[0].sha256 == file_sha256(before.clips[0].path) or not left.startswith(".")


def test_a_folder_that_holds_frames_only_keeps_the_hash_of_earlier_versions(tmp_path):
    folder(["a.jpg", "a.b.png", "10.jpg"])(tmp_path / "clip", picture(1))

    found = media.examine_frames(tmp_path / "clip", media.frame_files(tmp_path / "clip"))

    assert found.sha256 == file_sha256(tmp_path / "clip")


def test_the_clips_and_hashes_of_earlier_versions_can_be_had_for_their_studies(tmp_path):
    folder(["1.jpg", "2.jpg"], "Thumbs.db")(tmp_path / "clip", picture(1))
    image(tmp_path / "a.jpg")
    image(tmp_path / "b.jfif", number=2)
    rows = "clip,1,joy\na.jpg,2,joy\nb.jfif,3,joy\n"
    (tmp_path / "manifest.csv").write_text(f"path,subject,emotion\n{rows}")

    earlier = as_before(load("folder", tmp_path))

    hashes = {clip.clip: clip.sha256 for clip in earlier.clips}
    assert hashes == {name: file_sha256(tmp_path / name) for name in ("a.jpg", "clip")}


def test_of_two_equal_files_the_one_that_was_read_before_stays(tmp_path):
    image(tmp_path / "a.jfif")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jfif").read_bytes())
    (tmp_path / "manifest.csv").write_text("path,subject,emotion\na.jfif,1,joy\nb.jpg,1,joy\n")

    manifest = load("folder", tmp_path)

    assert [clip.clip for clip in manifest.clips] == ["b.jpg"]


def test_a_pipe_among_frames_without_suffixes_is_not_waited_for(tmp_path):
    folder(["0001"])(tmp_path / "clip", picture(1))
    os.mkfifo(tmp_path / "clip" / "0002")
    (tmp_path / "manifest.csv").write_text("path,subject,emotion\nclip,1,joy\n")

    manifest = load("folder", tmp_path)

    assert [clip.clip for clip in manifest.clips] == ["clip"]
    assert dict(manifest.aside) == {".csv": 1, "no suffix": 1}


@pytest.mark.parametrize("frame", [b"\0\0\0\x1cftypheic" + bytes(99), b"II*\0\x10\0\0\0CR\2\0"])
def test_a_frame_that_cannot_be_read_leaves_its_folder_out_by_name_and_no_other(tmp_path, frame):
    folder(["0001"])(tmp_path / "whole", picture(1))
    folder([], "notes.txt")(tmp_path / "phone", picture(2))
    (tmp_path / "phone" / "0001").write_bytes(frame)
    (tmp_path / "manifest.csv").write_text("path,subject,emotion\nwhole,1,joy\nphone,2,joy\n")

    manifest = load("folder", tmp_path)

    ((name, reason),) = manifest.left_out
    assert (name, reason.partition(": ")[0]) == ("phone", "frame 0001")
    assert manifest.aside == ((".csv", 1),)  # notes.txt is part of what was left out


def test_photographs_stay_photographs_whatever_their_names(tmp_path):
    image(tmp_path / "no suffix")
    image(tmp_path / "b.mp4", number=2)
    (tmp_path / "manifest.csv").write_text("path,subject,emotion\nno suffix,1,joy\nb.mp4,2,joy\n")

    assert load("folder", tmp_path).stills


def test_a_gif_that_moves_is_no_photograph(tmp_path):
    buffer = io.BytesIO()
    picture(1).save(buffer, "GIF", save_all=True, append_images=[picture(2)])
    (tmp_path / "a.gif").write_bytes(buffer.getvalue())
    (tmp_path / "manifest.csv").write_text("path,subject,emotion\na.gif,1,joy\n")

    assert not load("folder", tmp_path).stills


def test_a_playlist_opens_no_other_file(tmp_path):
    film("mp4")(tmp_path / "h264.mp4", picture(1))
    for name, text in {
        "a": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nh264.mp4\n#EXT-X-ENDLIST\n",
        "b": "ffconcat version 1.0\nfile 'h264.mp4'\n",
    }.items():
        (tmp_path / name).write_text(text)

        assert kind_of(tmp_path / name) is None
    with av.open(str(tmp_path / "h264.mp4")) as container:
        assert container.streams.video


def test_frames_follow_all_numbers_in_their_names_and_a_new_order_is_another_reading(tmp_path):
    names = ["img1_a2.png", "img2_a2.png", "img10_a2.png", "img1_a3.png"]
    files = [tmp_path / name for name in names]
    for number, file in enumerate(files):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(file)

    assert sorted(set(files), key=media.frame_order) == files
    assert media.examine_frames(tmp_path, files).reading == "order of all numbers"
    assert media.examine_frames(tmp_path, files[:2]).reading == ""
