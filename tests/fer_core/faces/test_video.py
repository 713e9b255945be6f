import struct

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.config import ClipConfig
from fer_core.errors import DataError
from fer_core.faces import video

CLIP = ClipConfig(start=0.5, end=0.8, frames=5)
WHOLE = ClipConfig(start=0.0, end=1.0, frames=3)


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


windows = st.builds(
    lambda ends, frames: ClipConfig(start=min(ends), end=max(ends), frames=frames),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.integers(1, 64),
)


@given(total=st.integers(1, 10_000), clip=windows)
def test_a_window_gives_as_many_indices_as_asked_in_range_and_never_falling(total, clip):
    indices = video.window(total, clip)

    assert len(indices) == clip.frames
    assert set(indices) <= set(range(total))
    assert list(indices) == sorted(indices)


@given(total=st.integers(1, 1000), frames=st.integers(2, 64))
def test_a_whole_window_holds_the_first_and_the_last_frame(total, frames):
    indices = video.window(total, ClipConfig(start=0.0, end=1.0, frames=frames))

    assert (indices[0], indices[-1]) == (0, total - 1)


def test_a_window_of_one_frame_takes_its_middle():
    assert video.window(101, ClipConfig(start=0.5, end=0.8, frames=1)) == (65,)


def test_a_clip_shorter_than_its_window_repeats_frames():
    assert video.window(2, WHOLE) == (0, 1, 1)


@pytest.mark.parametrize(
    ("name", "total"),
    [("1001_DFA_ANG_XX.flv", 67), ("1001_DFA_HAP_XX.flv", 56), ("WolfgangLanger_Pexels.mp4", 472)],
)
def test_a_real_clip_yields_its_frames(shared_data, name, total):
    frames = video.read(shared_data / "video" / name, CLIP)

    assert (frames.total, frames.decoded) == (total, total)
    assert frames.indices == video.window(total, CLIP)
    assert frames.images.shape == (5, 360, 640 if total == 472 else 480, 3)
    assert frames.images.dtype == np.uint8


@pytest.mark.parametrize("kept_bytes", [video.KEPT_BYTES, 10 * 64 * 48])
def test_the_picked_frames_are_those_of_the_window(tmp_path, monkeypatch, kept_bytes):
    monkeypatch.setattr(video, "KEPT_BYTES", kept_bytes)
    path = write_video(tmp_path / "clip.mp4")

    frames = video.read(path, CLIP)

    levels = frames.images[:, :, 32:].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, 3 * np.array(frames.indices), atol=6)


def test_a_long_clip_is_decoded_twice_instead_of_being_held(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "KEPT_BYTES", 10 * 64 * 48)
    path = write_video(tmp_path / "clip.mp4")

    frames = video.read(path, CLIP)

    assert (frames.total, frames.decoded) == (60, 120)


def test_a_video_is_turned_as_the_camera_was_held(tmp_path):
    upright = video.read(write_video(tmp_path / "upright.mp4"), WHOLE)

    turned = video.read(write_video(tmp_path / "turned.mp4", quarter_turns=1), WHOLE)

    np.testing.assert_array_equal(turned.images[0], np.rot90(upright.images[0]))


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
        video.read(path, CLIP)


def test_a_video_cut_within_a_packet_is_refused_though_nearly_all_of_it_decodes(tmp_path):
    path = cut(write_video(tmp_path / "clip.mp4", options={"movflags": "faststart"}), 0.98)

    with pytest.raises(DataError, match="damaged or cut short at frame"):
        video.read(path, CLIP)


@pytest.mark.parametrize("name", ["1001_DFA_ANG_XX.flv", "WolfgangLanger_Pexels.mp4"])
def test_a_real_clip_cut_short_is_refused(shared_data, tmp_path, name):
    path = tmp_path / name
    path.write_bytes((shared_data / "video" / name).read_bytes())

    with pytest.raises(DataError, match=name):
        video.read(cut(path, 0.7), CLIP)


@pytest.mark.parametrize("text", ["", "not a film\n" * 50])
def test_a_text_file_named_as_a_video_is_refused(tmp_path, text):
    path = tmp_path / "text.mp4"
    path.write_text(text)

    with pytest.raises(DataError, match=r"text\.mp4 cannot be decoded"):
        video.read(path, CLIP)


def test_a_file_with_sound_only_is_refused(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))

    with pytest.raises(DataError, match="no video stream"):
        video.read(path, CLIP)


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.mp4 does not exist"):
        video.read(tmp_path / "absent.mp4", CLIP)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((6, 8), np.uint8), ((6, 8, 3), np.uint8), ((6, 8, 4), np.uint8), ((6, 8, 3), np.uint16)],
    ids=["grey", "rgb", "rgba", "16 bit"],
)
def test_a_still_of_any_depth_becomes_8_bit_rgb_repeated(tmp_path, shape, dtype):
    path = tmp_path / "still.png"
    stored = np.full(shape, np.iinfo(dtype).max, dtype)
    if len(shape) == 3:
        stored[..., 0] = 0  # blue, as OpenCV orders
    cv2.imwrite(path, stored)

    frames = video.read(path, CLIP)

    expected = [255, 255, 0 if len(shape) == 3 else 255]
    assert (frames.images == np.array(expected, np.uint8)).all()
    assert frames.images.shape == (5, 6, 8, 3)
    assert (frames.images.dtype, frames.total, frames.decoded) == (np.uint8, 1, 1)


def test_a_still_is_turned_as_its_exif_says(tmp_path):
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16] = 255  # white on the left
    path = tmp_path / "still.jpg"
    path.write_bytes(exif_orientation(cv2.imencode(".jpg", image)[1].tobytes(), 6))

    frames = video.read(path, CLIP)

    assert frames.images.shape[1:3] == (32, 16)
    assert frames.images[0, :12].min() > 200  # turned clockwise: white on top


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_cut_short_is_refused(tmp_path, suffix):
    path = tmp_path / f"still{suffix}"
    cv2.imwrite(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))

    with pytest.raises(DataError, match="cut short"):
        video.read(cut(path, 0.6), CLIP)


@pytest.mark.parametrize("content", [b"", b"text"])
def test_a_text_file_named_as_an_image_is_refused(tmp_path, content):
    path = tmp_path / "still.jpg"
    path.write_bytes(content)

    with pytest.raises(DataError, match="cannot be decoded"):
        video.read(path, CLIP)


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    for i in range(12):
        cv2.imwrite(tmp_path / f"{i}.png", np.full((6, 8), i, np.uint8))
    (tmp_path / "notes.txt").write_text("not a frame")

    frames = video.read(tmp_path, WHOLE)

    assert frames.images[:, 0, 0, 0].tolist() == [0, 6, 11]
    assert (frames.total, frames.decoded) == (12, 3)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        video.read(tmp_path, CLIP)


def test_a_folder_of_images_of_two_sizes_is_refused(tmp_path):
    cv2.imwrite(tmp_path / "0.png", np.zeros((6, 8), np.uint8))
    cv2.imwrite(tmp_path / "1.png", np.zeros((8, 6), np.uint8))

    with pytest.raises(DataError, match="differ in size"):
        video.read(tmp_path, WHOLE)
