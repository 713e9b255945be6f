import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from fer_core.data.manifest import Clip
from fer_core.errors import DataError
from fer_core.faces import video
from fer_core.faces.file_checks import header
from fer_core.storage.containers import bytes_missing
from tests.fer_core.faces.oddities import EDITED, LEFT, film, folder, moving, picture

UNEVEN = [i if i < 8 else 3 * i - 16 for i in range(16)]  # 25 frames a second, then a third of it


def write_video(path, *, frames=60, options=None, quarter_turns=0):
    """Write grey frames of 64x48 whose level tells their index, with noise so that they weigh."""
    noise = np.random.default_rng(0)
    with av.open(path, "w", options=options or {}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if quarter_turns:
            stream.set_display_rotation(90 * quarter_turns)
        for i in range(frames):
            image = np.full((48, 64, 3), 3 * i, np.uint8)
            image[:, :16] = noise.integers(0, 255, (48, 16, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def exif_orientation(jpeg, orientation):
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def clip_at(path):
    return Clip(clip="", subject="", emotion="", authenticity=None, path=path, sha256="")


@pytest.mark.parametrize(
    ("name", "total"),
    [("1001_DFA_ANG_XX.flv", 67), ("1001_DFA_HAP_XX.flv", 56), ("WolfgangLanger_Pexels.mp4", 472)],
)
def test_a_real_clip_yields_its_frames(shared_data, name, total):
    images = list(video.frames(shared_data / "video" / name))

    assert len(images) == total
    assert {image.shape for image in images} == {(360, 640 if total == 472 else 480, 3)}
    assert {image.dtype for image in images} == {np.dtype(np.uint8)}


def test_frames_come_in_order_and_one_at_a_time(tmp_path):
    frames = video.frames(write_video(tmp_path / "clip.mp4"))

    levels = [next(frames)[:, 32:].mean() for _ in range(60)]

    np.testing.assert_allclose(levels, 3 * np.arange(60), atol=6)
    assert next(frames, None) is None


def test_a_video_is_turned_as_the_camera_was_held(tmp_path):
    upright = next(video.frames(write_video(tmp_path / "upright.mp4")))

    turned = next(video.frames(write_video(tmp_path / "turned.mp4", quarter_turns=1)))

    np.testing.assert_array_equal(turned, np.rot90(upright))


@pytest.mark.parametrize("share", [0.9, 0.5])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {}),
        ("clip.mp4", {"movflags": "faststart"}),
        ("clip.avi", {}),
        ("clip.mkv", {}),
    ],
)
def test_a_video_cut_short_is_refused_by_name(tmp_path, name, options, share):
    path = cut(write_video(tmp_path / name, options=options), share)

    with pytest.raises(DataError, match=name):
        list(video.frames(path))


def test_a_video_cut_within_a_packet_is_refused_though_nearly_all_of_it_decodes(tmp_path):
    path = cut(write_video(tmp_path / "clip.mp4", options={"movflags": "faststart"}), 0.98)

    with pytest.raises(DataError, match="damaged or cut short at frame"):
        list(video.frames(path))


@pytest.mark.parametrize("name", ["1001_DFA_ANG_XX.flv", "WolfgangLanger_Pexels.mp4"])
def test_a_real_clip_cut_short_is_refused(shared_data, tmp_path, name):
    path = tmp_path / name
    path.write_bytes((shared_data / "video" / name).read_bytes())

    with pytest.raises(DataError, match=name):
        list(video.frames(cut(path, 0.7)))


@pytest.mark.parametrize("text", ["", "not a film\n" * 50])
def test_a_text_file_named_as_a_video_is_refused(tmp_path, text):
    path = tmp_path / "text.mp4"
    path.write_text(text)

    with pytest.raises(DataError, match=r"text\.mp4 cannot be decoded"):
        list(video.frames(path))


def test_a_file_with_sound_only_is_refused(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))

    with pytest.raises(DataError, match="no video stream"):
        list(video.frames(path))


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.mp4 does not exist"):
        list(video.frames(tmp_path / "absent.mp4"))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((6, 8), np.uint8), ((6, 8, 3), np.uint8), ((6, 8, 4), np.uint8), ((6, 8, 3), np.uint16)],
    ids=["grey", "rgb", "rgba", "16 bit"],
)
def test_a_still_of_any_depth_becomes_8_bit_rgb(tmp_path, shape, dtype):
    path = tmp_path / "still.png"
    stored = np.full(shape, np.iinfo(dtype).max, dtype)
    if len(shape) == 3:
        stored[..., 0] = 0  # blue, as OpenCV orders
    cv2.imwrite(path, stored)

    (image,) = video.frames(path)

    expected = [255, 255, 0 if len(shape) == 3 else 255]
    assert (image == np.array(expected, np.uint8)).all()
    assert (image.shape, image.dtype) == ((6, 8, 3), np.uint8)


def test_a_still_is_turned_as_its_exif_says(tmp_path):
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16] = 255  # white on the left
    path = tmp_path / "still.jpg"
    path.write_bytes(exif_orientation(cv2.imencode(".jpg", image)[1].tobytes(), 6))

    (turned,) = video.frames(path)

    assert turned.shape[:2] == (32, 16)
    assert turned[:12].min() > 200  # turned clockwise: white on top


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_cut_short_is_refused(tmp_path, suffix):
    path = tmp_path / f"still{suffix}"
    cv2.imwrite(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))

    with pytest.raises(DataError, match="cut short"):
        list(video.frames(cut(path, 0.6)))


@pytest.mark.parametrize("content", [b"", b"text"])
def test_a_text_file_named_as_an_image_is_refused(tmp_path, content):
    path = tmp_path / "still.jpg"
    path.write_bytes(content)

    with pytest.raises(DataError, match="cannot be decoded"):
        list(video.frames(path))


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    for i in range(12):
        cv2.imwrite(tmp_path / f"{i}.png", np.full((6, 8), i, np.uint8))
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._3.png").write_text("macOS leaves such files behind")

    images = list(video.frames(tmp_path))

    assert [image[0, 0, 0] for image in images] == list(range(12))


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        list(video.frames(tmp_path))


def test_a_row_of_a_table_of_pixels_is_a_grey_picture(tmp_path):
    table = tmp_path / "fer2013.csv"
    levels = np.arange(48 * 48) % 256
    header = "emotion,pixels,Usage\n"
    table.write_text(header + f"3,{' '.join(map(str, levels))},Training\n")

    (image,) = video.frames(table, offset=len(header))

    assert image.shape == (48, 48, 3)
    np.testing.assert_array_equal(image[..., 1].ravel(), levels)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        ("1 2 3 4 5 6", "6 pixels make no square"),
        ("10 20 x 40", "no levels"),
        ("10 20 30 256", "no levels"),
    ],
)
def test_a_damaged_row_of_pixels_is_refused(tmp_path, pixels, reason):
    table = tmp_path / "fer2013.csv"
    table.write_text(f"3,{pixels},Training\n")

    with pytest.raises(DataError, match=rf"fer2013\.csv, byte 0: .*{reason}"):
        next(video.frames(table, offset=0))


def test_frames_are_those_that_pyav_gives_for_the_path(tmp_path):
    path = write_video(tmp_path / "clip.mp4")

    with av.open(path) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

    np.testing.assert_array_equal(list(video.frames(path)), expected)


def test_frames_that_an_edit_list_hides_are_not_read_and_that_is_noted(tmp_path):
    EDITED(tmp_path / "trimmed.mp4", picture(1))

    assert sum(1 for _ in video.frames(tmp_path / "trimmed.mp4")) == 18
    seen = header(clip_at(tmp_path / "trimmed.mp4"))
    assert (seen.frames, seen.fault) == (18, None)
    assert seen.notes == ("its edit list hides 12 frames, which are not read",)


@pytest.mark.parametrize("step", [2, 5])
def test_an_avi_whose_recorder_dropped_frames_is_whole_and_its_frames_keep_their_times(
    tmp_path, step
):
    path = tmp_path / "dropped.avi"
    film("avi", "mpeg4", pts=[step * i for i in range(12)])(path, picture(1))

    assert sum(1 for _ in video.frames(path)) == 12
    assert header(clip_at(path)).frames == 12
    np.testing.assert_allclose(video.times(path)[:-1], np.arange(12) * step / 25, atol=1e-6)


def test_an_avi_of_dropped_frames_that_is_cut_is_refused_all_the_same(tmp_path):
    path = tmp_path / "dropped.avi"
    film("avi", "mpeg4", frames=60, pts=[2 * i for i in range(60)])(path, picture(1))

    with pytest.raises(DataError, match="bytes are missing at its end"):
        list(video.frames(cut(path, 0.9)))


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "mov", "webm"])
@pytest.mark.parametrize("lost", [200, 1000])
def test_a_container_says_how_many_bytes_it_lacks(tmp_path, suffix, lost):
    path = tmp_path / f"whole.{suffix}"
    kind = {"mkv": "matroska"}.get(suffix, suffix)
    film(kind, "libvpx" if suffix == "webm" else "mpeg4", frames=60)(path, picture(1))
    assert bytes_missing(path) == 0

    path.write_bytes(path.read_bytes()[:-lost])

    assert bytes_missing(path) == pytest.approx(lost, abs=1)


def test_bytes_after_a_whole_video_do_not_cut_it_short(tmp_path):
    for kind in ("mp4", "avi", "matroska"):
        path = tmp_path / f"whole.{kind}"
        film(kind, "mpeg4")(path, picture(1))
        path.write_bytes(path.read_bytes() + b"left by a recorder" * 9)

        assert bytes_missing(path) == 0
        assert sum(1 for _ in video.frames(path)) == 12


@pytest.mark.parametrize(
    ("aspect", "shown"),
    [
        (Fraction(16, 9), (114, 48)),
        (Fraction(3, 4), (64, 64)),
        (Fraction(1000, 999), (64, 48)),
        (Fraction(100, 1), (64, 48)),  # an error of the file
    ],
)
@pytest.mark.parametrize("kind", ["mp4", "matroska", "avi"])
def test_frames_have_the_shape_that_is_shown_and_lose_no_pixel(tmp_path, kind, aspect, shown):
    path = tmp_path / "anamorphic"
    film(kind, "mpeg4", aspect=aspect)(path, picture(1))

    image = next(video.frames(path))
    seen = header(clip_at(path))

    assert image.shape == (shown[1], shown[0], 3)
    assert seen.size == shown
    assert bool(seen.notes) == (shown != (64, 48))


def test_a_turned_video_of_wide_pixels_is_widened_before_it_is_turned(tmp_path):
    film("mp4", aspect=2, turned=90)(tmp_path / "a.mp4", picture(1))

    assert next(video.frames(tmp_path / "a.mp4")).shape == (128, 48, 3)


@pytest.mark.parametrize("kind", ["mp4", "matroska", "flv"])
def test_frames_of_a_variable_rate_have_their_own_times(tmp_path, kind):
    path = tmp_path / "uneven"
    film(kind, "flv" if kind == "flv" else "mpeg4", frames=16, pts=UNEVEN)(path, picture(1))

    times = video.times(path)

    np.testing.assert_allclose(times[:-1], np.array(UNEVEN) / 25, atol=0.002)
    assert times[-1] > times[-2]


def test_frames_of_a_constant_rate_lie_at_equal_steps_though_the_container_rounds(tmp_path):
    for kind in ("mp4", "matroska", "flv"):
        path = tmp_path / kind
        film(kind, "flv" if kind == "flv" else "mpeg4", frames=30)(path, picture(1))

        np.testing.assert_array_equal(video.times(path), np.arange(31) / 25)


def test_images_have_times_too(tmp_path):
    folder(["1.jpg", "2.jpg"])(tmp_path / "clip", picture(1))
    moving("GIF")(tmp_path / "a.gif", picture(1))
    picture(1).save(tmp_path / "a.png")

    np.testing.assert_allclose(video.times(tmp_path / "clip"), [0, 0.04, 0.08])
    np.testing.assert_allclose(video.times(tmp_path / "a.gif"), [0, 0.04, 0.24, 0.28])
    np.testing.assert_allclose(video.times(tmp_path / "a.png"), [0, 0.04])


@pytest.mark.parametrize("matrix", [1, 6])  # ITU-T H.273: BT.709 and BT.601
@pytest.mark.parametrize("levels", [1, 2])  # limited and full
@pytest.mark.parametrize(("kind", "codec"), [("mp4", "libx264"), ("webm", "libvpx-vp9")])
def test_colours_are_those_that_were_filmed_in_every_range(tmp_path, kind, codec, levels, matrix):
    path = tmp_path / "colours"
    pixels = np.asarray(picture(1))
    with av.open(path, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.color_range, stream.codec_context.colorspace = levels, matrix
        colours = {"dst_colorspace": {1: "ITU709", 6: "ITU601"}[matrix], "dst_color_range": levels}
        for i in range(3):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format="yuv420p", **colours)
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

    image = next(video.frames(path))

    np.testing.assert_allclose(image[24, 16], LEFT, atol=6)


@pytest.mark.parametrize(
    "name",
    [
        "2026-01-01T12:30:05.mp4",
        "-x.mp4",
        "%03d.png",
        "pipe:",
        "pipe:0",
        "concat:a|b",
        "http:x",
        "*",
    ],
)
def test_a_name_is_never_a_protocol_nor_a_pattern(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    film("mp4")(tmp_path / name, picture(1))
    path = Path(name)

    assert sum(1 for _ in video.frames(path)) == 12
    assert header(clip_at(path)).frames == 12
    assert len(video.times(path)) == 13


def test_the_picture_is_read_though_a_cover_image_and_sound_come_with_it(tmp_path):
    film("mp4", cover=True, sound=True)(tmp_path / "a.mp4", picture(1))
    with av.open(tmp_path / "a.mp4") as container:
        assert len(container.streams.video) == 2

    images = list(video.frames(tmp_path / "a.mp4"))

    assert {image.shape for image in images} == {(48, 64, 3)}
    assert len(images) == 12
