import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from fer_core.data.manifest import Clip
from fer_core.errors import DataError
from fer_core.faces import video
from fer_core.faces.file_checks import Header, header
from fer_core.faces.pictures import is_cut_short

NOISE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


def clip_at(path, **values):
    words = {"subject": "1", "emotion": "anger", "authenticity": None, "sha256": ""}
    return Clip(clip=path.name, path=path, **words | values)


def write_image(path, image=NOISE):
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(path, image)
    return path


def write_video(path, options=None):
    noise = np.random.default_rng(0)
    with av.open(path, "w", options=options or {}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(60):
            image = noise.integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_video_with_sound(path, seconds=3.0):
    """Write 2.4 s of picture and more of sound, interleaved as they are heard."""
    picture, sound = {".webm": ("libvpx", "libopus"), ".flv": ("flv", "mp3")}.get(
        path.suffix, ("mpeg4", "mp2")
    )
    noise, rate = np.random.default_rng(0), 44_100 if sound == "mp3" else 48_000
    with av.open(path, "w") as container:
        stream = container.add_stream(picture, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        voice = container.add_stream(sound, rate=rate, layout="mono")
        fitted = av.AudioResampler(voice.format, voice.layout, rate, voice.frame_size)
        for i in range(int(25 * seconds)):
            if i < 60:
                image = noise.integers(0, 255, (48, 64, 3), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            wave = noise.normal(0, 3000, (1, rate // 25)).astype(np.int16)
            heard = av.AudioFrame.from_ndarray(wave, "s16", "mono")
            heard.sample_rate, heard.pts = rate, i * rate // 25
            for frame in fitted.resample(heard):
                container.mux(voice.encode(frame))
        container.mux(stream.encode())
        container.mux(voice.encode())
    return path


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def turned(path, orientation):
    """Write the EXIF orientation into a JPEG."""
    jpeg, tiff = (
        path.read_bytes(),
        b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0),
    )
    segment = b"Exif\0\0" + tiff
    path.write_bytes(
        jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
    )
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff", ".webp"])
def test_a_plain_picture_has_a_size_and_nothing_to_note(tmp_path, suffix):
    path = write_image(tmp_path / f"a{suffix}")

    assert header(clip_at(path)) == Header(1, (64, 48))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize(
    ("image", "notes"),
    [
        (NOISE[..., 0], {"grey, read as three equal channels"}),
        (np.dstack([NOISE, NOISE[..., 0]]), {"its alpha channel is dropped"}),
        (NOISE.astype(np.uint16) * 256, {"16 bits a channel, read as 8"}),
        (
            NOISE[..., 0].astype(np.uint16) * 256,
            {"16 bits a channel, read as 8", "grey, read as three equal channels"},
        ),
    ],
    ids=["grey", "rgba", "16 bit", "16 bit grey"],
)
def test_what_reading_changes_of_a_picture_is_noted(tmp_path, suffix, image, notes):
    path = write_image(tmp_path / f"a{suffix}", image)

    assert set(header(clip_at(path)).notes) == notes


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_picture_that_its_exif_turns_is_noted(tmp_path, orientation):
    path = turned(write_image(tmp_path / "a.jpg"), orientation)

    assert header(clip_at(path)).notes == (f"turned as its EXIF orientation {orientation} says",)


def test_an_upright_exif_is_not_worth_a_word(tmp_path):
    path = turned(write_image(tmp_path / "a.jpg"), 1)

    assert header(clip_at(path)).notes == ()


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_cut_short_is_refused(tmp_path, suffix):
    path = cut(write_image(tmp_path / f"a{suffix}"), 0.6)

    assert "it is cut short after" in (header(clip_at(path)).fault or "")


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\nIEND", b"\xff\xd8\xff\xd9"])
def test_what_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)

    assert "it is no image" in (header(clip_at(path)).fault or "")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("side", "refused"), [(10_000, False), (30_000, True)])
def test_a_picture_too_large_to_decode_is_refused_unopened(tmp_path, side, refused):
    path = write_image(tmp_path / "a.bmp", NOISE)
    data = bytearray(path.read_bytes())
    data[18:26] = struct.pack("<ii", side, side)
    path.write_bytes(data)

    if refused:
        assert "it is no image" in (header(clip_at(path)).fault or "")
    else:
        assert header(clip_at(path)).size == (side, side)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_video_tells_its_frames_without_being_decoded(tmp_path, suffix):
    path = write_video(tmp_path / f"a{suffix}")

    assert header(clip_at(path)) == Header(60, (64, 48))


@pytest.mark.parametrize("name", ["1001_DFA_ANG_XX.flv", "WolfgangLanger_Pexels.mp4"])
def test_a_real_video_has_as_many_packets_as_frames(shared_data, name):
    path = shared_data / "video" / name

    assert header(clip_at(path)).frames == sum(1 for _ in video.frames(path))


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_video_cut_short_is_refused(tmp_path, suffix, share):
    path = cut(write_video(tmp_path / f"a{suffix}"), share)

    assert "cut short" in (header(clip_at(path)).fault or "")


def test_a_video_cut_within_a_packet_is_refused_though_nearly_all_of_it_is_there(tmp_path):
    path = cut(write_video(tmp_path / "a.mp4", {"movflags": "faststart"}), 0.98)

    assert "it is damaged or cut short at frame" in (header(clip_at(path)).fault or "")


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".flv", ".mp4", ".avi"])
def test_sound_that_outlasts_the_picture_cuts_nothing_short(tmp_path, suffix):
    path = write_video_with_sound(tmp_path / f"a{suffix}")

    assert header(clip_at(path)) == Header(60, (64, 48))
    assert sum(1 for _ in video.frames(path)) == 60


@pytest.mark.parametrize("share", [0.7, 0.5, 0.1])
@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".flv", ".mp4", ".avi"])
def test_a_video_with_sound_cut_short_is_refused(tmp_path, suffix, share):
    path = cut(write_video_with_sound(tmp_path / f"a{suffix}"), share)

    assert header(clip_at(path)).fault is not None
    with pytest.raises(DataError):
        list(video.frames(path))


@pytest.mark.parametrize("share", [0.9, 0.7, 0.3])
@pytest.mark.parametrize("emotion", ["ANG", "FEA", "SAD"])  # the last two without a corrupt packet
def test_a_real_video_with_sound_cut_short_is_refused(shared_data, tmp_path, emotion, share):
    name = f"1001_DFA_{emotion}_XX.flv"
    (tmp_path / name).write_bytes((shared_data / "video" / name).read_bytes())
    path = cut(tmp_path / name, share)

    assert "cut short" in (header(clip_at(path)).fault or "")


@pytest.mark.parametrize("duration", ["long", "00:00:nan", ""])
def test_a_duration_that_is_none_is_passed_over(tmp_path, duration):
    path = write_video_with_sound(tmp_path / "a.mkv")
    path.write_bytes(path.read_bytes().replace(b"00:00:02.400000000", duration.encode().ljust(18)))

    assert header(clip_at(path)).frames == 60


@pytest.mark.parametrize("content", ["", "not a film\n" * 50])
def test_a_text_file_named_as_a_video_is_refused(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_text(content)

    assert "it is no video" in (header(clip_at(path)).fault or "")


def test_sound_alone_is_refused(tmp_path):
    path = tmp_path / "a.avi"
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))

    assert "it holds no video stream" in (header(clip_at(path)).fault or "")


def test_a_folder_counts_its_frames_and_joins_their_notes(tmp_path):
    for i in range(3):
        write_image(tmp_path / "a" / f"{i}.png", NOISE[..., 0])
    (tmp_path / "a" / "notes.txt").write_text("no frame")
    (tmp_path / "a" / ".hidden.png").write_text("no frame")

    found = header(clip_at(tmp_path / "a"))

    assert found == Header(3, (64, 48), ("grey, read as three equal channels",))


def test_one_bad_frame_is_named(tmp_path):
    write_image(tmp_path / "a" / "0.png")
    cut(write_image(tmp_path / "a" / "1.png"), 0.5)

    assert "frame 1.png: it is cut short" in (header(clip_at(tmp_path / "a")).fault or "")


def test_a_folder_without_images_is_refused(tmp_path):
    assert "without images" in (header(clip_at(tmp_path)).fault or "")


def test_a_file_that_is_gone_is_refused(tmp_path):
    assert "it cannot be read: No such file" in (header(clip_at(tmp_path / "a.jpg")).fault or "")


def test_a_line_of_a_table_is_one_frame_of_a_size_that_it_does_not_tell():
    assert header(clip_at(Path("fer2013.csv"), offset=7)) == Header(1, None)


@pytest.mark.parametrize("after", [b"\xff\xd8\xff\xda" * 50, b"\x00" * 99, b"mp4 \xff\xda \xff"])
def test_what_follows_a_whole_photograph_does_not_cut_it_short(tmp_path, after):
    path = write_image(tmp_path / "motion.jpg")
    whole = path.read_bytes()

    assert not is_cut_short(whole + after)
    assert is_cut_short(whole[: len(whole) * 2 // 3])


def test_a_thumbnail_in_a_cut_photograph_does_not_make_it_whole(tmp_path):
    jpeg = write_image(tmp_path / "a.jpg").read_bytes()
    segment = b"\xff\xe1" + (len(jpeg) + 2).to_bytes(2) + jpeg

    assert not is_cut_short(jpeg[:2] + segment + jpeg[2:])
    assert is_cut_short(jpeg[:2] + segment + jpeg[2 : len(jpeg) // 2])


@pytest.mark.parametrize("block", [b"Exif\0\0II*\0", b"abc", b"Exif\0\0" + b"\xff" * 40])
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_damaged_exif_block_is_no_reason_to_stop(tmp_path, suffix, block):
    path = tmp_path / f"odd{suffix}"
    Image.fromarray(NOISE).save(path, exif=block)

    found = header(clip_at(path))

    assert (found.frames, found.fault) == (1, None)


def test_a_video_whose_codec_nothing_decodes_is_named(tmp_path):
    path = write_video(tmp_path / "a.avi")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZZ99").replace(b"XVID", b"ZZ99"))

    assert header(clip_at(path)).fault == "no installed decoder knows its codec"
