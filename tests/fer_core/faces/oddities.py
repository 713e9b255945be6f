"""A folder of the media that people have: formats, containers, names and damage, a file of each.

`write` makes it, with a table that names the files. `python -m tests.fer_core.faces.oddities`
prints how each of them is read. No file is stored: Pillow, OpenCV and PyAV write them all.
"""

import io
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from fer_core.data.datasets import load
from fer_core.errors import DataError
from fer_core.faces import video

LEFT, RIGHT = (200, 60, 30), (30, 60, 200)  # the colours of the two halves of each picture
GREY = (98, 98, 98)  # of the left half, by ITU-R BT.601
SIZE = (64, 48)


@dataclass(frozen=True)
class Oddity:
    """One file, what is read of it, or why it is refused."""

    name: str
    write: Callable[[Path, Image.Image], object]
    frames: int = 1
    size: tuple[int, int] = SIZE
    left: tuple[int, int, int] = LEFT  # the colour that is read in the middle of the left half
    refused: str = ""  # a part of the sentence; empty: it is read
    at_once: bool = True  # whether the manifest refuses it; else reading does


def picture(number, size=SIZE):
    """Paint two halves, and a corner that tells this picture from all others."""
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:, : size[0] // 2], pixels[:, size[0] // 2 :] = LEFT, RIGHT
    pixels[:8, :8] = (number, 255 - number, number // 2)
    return Image.fromarray(pixels)


def saved(format, mode="RGB", **options):
    def write(path, image):
        path.write_bytes(encoded(image.convert(mode), format, **options))

    return write


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def moving(format, **options):
    def write(path, image):
        others = [image.rotate(180 * i) for i in (0, 1, 0)][1:]
        path.write_bytes(
            encoded(image, format, save_all=True, append_images=others, duration=[40, 200, 40])
        )

    return write


def levels(dtype, most, format="TIFF"):
    """Write grey levels up to `most` in a deep type."""

    def write(path, image):
        grey = np.asarray(image.convert("L")) / 255 * most
        path.write_bytes(encoded(Image.fromarray(grey.astype(dtype)), format))

    return write


def by_opencv(suffix, dtype, most):
    def write(path, image):
        bgr = (np.asarray(image)[..., ::-1] / 255 * most).astype(dtype)
        path.write_bytes(cv2.imencode(suffix, bgr)[1].tobytes())

    return write


def rotated(path, image):
    """Store it turned, with the EXIF mark that turns it back."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path.write_bytes(encoded(image.rotate(90, expand=True), "JPEG", exif=exif, quality=95))


def tiff_with_tags(tags):
    def write(path, image):
        path.write_bytes(encoded(image, "TIFF", tiffinfo=tags))

    return write


def openexr(path, image):
    """Write an OpenEXR of float levels up to 1, which FFmpeg writes and OpenCV does not."""
    codec = av.CodecContext.create("exr", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = *image.size, "gbrpf32le", 1
    frame = av.VideoFrame(*image.size, "gbrpf32le")
    for plane, channel in zip(frame.planes, (1, 2, 0), strict=True):  # green, blue, red
        levels = np.zeros((image.height, plane.line_size // 4), np.float32)
        levels[:, : image.width] = np.asarray(image)[..., channel] / 255
        plane.update(levels.tobytes())
    frame.pts = 0
    path.write_bytes(b"".join(map(bytes, [*codec.encode(frame), *codec.encode(None)])))


def layered(path, image):
    """Write a PSD of two layers, each a single pixel, beside the picture that they make.

    Adobe Photoshop File Formats Specification, chapter 2; Pillow and OpenCV write none.
    """
    corner = struct.pack(">4iH", 0, 0, 1, 1, 3) + b"".join(
        struct.pack(">hI", channel, 3) for channel in range(3)
    )
    corner += b"8BIMnorm" + bytes((255, 0, 0, 0)) + struct.pack(">III", 12, 0, 0) + b"\1a\0\0"
    info = struct.pack(">h", 2) + 2 * corner + 6 * b"\0\0\xff"
    layers = struct.pack(">I", len(info)) + info + bytes(4)
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, *reversed(image.size), 8, 3) + bytes(8)
    planes = np.asarray(image).transpose(2, 0, 1).tobytes()
    path.write_bytes(head + struct.pack(">I", len(layers)) + layers + bytes(2) + planes)


def frame_without_suffix(data):
    """Write a folder of one frame, which has no suffix, and these bytes."""

    def write(path, image):
        path.mkdir()
        (path / "0001").write_bytes(data)

    return write


def content(data):
    return lambda path, image: path.write_bytes(data)


def cut(write, share=0.6):
    def write_a_part(path, image):
        write(path, image)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return write_a_part


def netpbm(most):
    """Write a PPM whose levels go up to `most`, as its head says."""

    def write(path, image):
        rgb = (np.asarray(image) / 255 * most).round()
        head = f"P6\n{image.width} {image.height}\n{most}\n".encode()
        path.write_bytes(head + rgb.astype(">u2" if most > 255 else np.uint8).tobytes())

    return write


def turned_avif(path, image):
    exif = Image.Exif()
    exif[0x0112] = 6
    path.write_bytes(encoded(image.rotate(90, expand=True), "AVIF", exif=exif, quality=95))


def mirrored(path, image):
    """Write an MP4 whose display matrix mirrors it, as front cameras of phones do."""
    film("mp4")(path, image)
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2
    data[place : place + 36] = struct.pack(
        ">9i", -(1 << 16), 0, 0, 0, 1 << 16, 0, image.width << 16, 0, 1 << 30
    )
    path.write_bytes(data)


def film(
    format,
    codec="libx264",
    *,
    frames=12,
    pts=None,
    size=SIZE,
    pix_fmt="yuv420p",
    aspect=None,
    turned=0,
    sound=False,
    cover=False,
    options=None,
    **codec_options,
):
    """Write a video whose frames show the picture, and a strip of noise so that they weigh."""

    def write(path, image):
        noise = np.random.default_rng(0)
        with av.open(str(path.absolute()), "w", format=format, options=options or {}) as container:
            voice = container.add_stream("aac", rate=48000, layout="mono") if sound else None
            front = container.add_stream("png", rate=1) if cover else None
            stream = container.add_stream(codec, rate=25, options=codec_options)
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
            if aspect:
                stream.sample_aspect_ratio = stream.codec_context.sample_aspect_ratio = aspect
            if turned:
                stream.set_display_rotation(turned)
            if front:
                front.width, front.height, front.pix_fmt = 16, 16, "rgb24"
                front.disposition = av.stream.Disposition.attached_pic
                container.mux(front.encode(av.VideoFrame(16, 16, "rgb24")))
            if voice:
                heard = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), "fltp", "mono")
                heard.sample_rate = 48000
                container.mux(voice.encode(heard))
            pixels = np.asarray(image.resize(size, Image.Resampling.NEAREST)).copy()
            for i in range(frames):
                pixels[-8:] = noise.integers(0, 255, pixels[-8:].shape)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = (pts[i] if pts else i), Fraction(1, 25)
                container.mux(stream.encode(frame))
            for each in (stream, voice):
                if each:
                    container.mux(each.encode())

    return write


def retimed(path, copy, place):
    """Copy a video whose frames are shown at other times, which `place` gives for theirs."""
    with av.open(str(path)) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.pts, packet.dts = place(packet.pts), place(packet.dts)
                packet.stream = stream
                target.mux(packet)
    return copy


def sound(path, image):
    with av.open(str(path.absolute()), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        heard.sample_rate = 8000
        container.mux(stream.encode(heard))


def folder(names, *others):
    """Write frames of these names in a folder, and other files beside them."""

    def write(path, image):
        path.mkdir()
        for i, name in enumerate(names):
            format = {"gif": "GIF", "png": "PNG"}.get(name.rpartition(".")[2], "JPEG")
            frame = np.asarray(image).copy()
            frame[:8, 8:16] = 10 * i
            (path / name).write_bytes(encoded(Image.fromarray(frame), format))
        for name in others:
            (path / name).write_bytes(b"no frame " + name.encode())

    return write


HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(200)
CR2 = b"II*\0\x10\0\0\0CR\2\0" + bytes(99)
JPEG = partial(saved, "JPEG", quality=95)
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nh264.mp4\n#EXT-X-ENDLIST\n"
EDITED = film(
    "mp4", frames=30, pts=range(-12, 18), options={"avoid_negative_ts": "disabled"}, bf="0"
)
EDITED_WITHIN = film(
    "mp4",
    frames=60,
    pts=range(-12, 48),
    options={"avoid_negative_ts": "disabled"},
    bf="2",
    g="60",
    sc_threshold="0",
)
FASTSTART = film("mp4", frames=60, options={"movflags": "faststart"})
NO_MEDIUM = "neither an image, a video nor a folder of images"

PICTURES = (
    Oddity("plain.jpg", JPEG()),
    Oddity("photo.jpe", JPEG()),
    Oddity("photo.jfif", JPEG()),
    Oddity("PHOTO.JPEG", JPEG(progressive=True)),
    Oddity("photo without a suffix", JPEG()),
    Oddity("a PNG in truth.jpg", saved("PNG")),
    Oddity("a JPEG in truth.png", JPEG()),
    Oddity("an AVIF in truth.png", saved("AVIF", quality=95)),
    Oddity("a picture in truth.mp4", JPEG()),
    Oddity("a JPEG in truth.nef", JPEG()),
    Oddity("grey.jpg", saved("JPEG", "L", quality=95), left=GREY),
    Oddity("cmyk.jpg", saved("JPEG", "CMYK", quality=95)),
    Oddity("turned by EXIF.jpg", rotated),
    Oddity("moving photograph.jpg", lambda p, i: p.write_bytes(encoded(i, "JPEG") + bytes(999))),
    Oddity("two lenses.mpo", moving("MPO")),
    Oddity("grey alpha.png", saved("PNG", "LA"), left=GREY),
    Oddity("palette.png", saved("PNG", "P"), left=(204, 51, 51)),
    Oddity("palette see-through.png", saved("PNG", "P", transparency=0), left=(204, 51, 51)),
    Oddity("alpha.png", saved("PNG", "RGBA")),
    Oddity("16 bits grey.png", levels(np.uint16, 65535, "PNG"), left=GREY),
    Oddity("16 bits.png", by_opencv(".png", np.uint16, 65535)),
    Oddity("plain.bmp", saved("BMP")),
    Oddity("plain.tif", saved("TIFF")),
    Oddity("16 bits.tif", levels(np.uint16, 65535), left=GREY),
    Oddity("32 bits.tif", levels(np.int32, 65535), left=GREY),
    Oddity("float to 1.tif", levels(np.float32, 1), left=GREY),
    Oddity("float to 255.tiff", levels(np.float32, 255), left=GREY),
    Oddity("float in colour.tif", by_opencv(".tiff", np.float32, 1)),
    Oddity("cmyk.tif", saved("TIFF", "CMYK")),
    Oddity("two pages.tif", saved("TIFF", save_all=True, append_images=[picture(250)])),
    Oddity("plain.webp", saved("WEBP", quality=95)),
    Oddity("alpha.webp", saved("WEBP", "RGBA", lossless=True)),
    Oddity("plain.avif", saved("AVIF", quality=95)),
    Oddity("plain.jp2", saved("JPEG2000")),
    Oddity("plain.ppm", saved("PPM")),
    Oddity("grey.pgm", saved("PPM", "L"), left=GREY),
    Oddity("16 bits.pgm", levels(np.uint16, 65535, "PPM"), left=GREY),
    Oddity("float.pfm", levels(np.float32, 1, "PPM"), left=GREY),
    Oddity("float in colour.pfm", by_opencv(".pfm", np.float32, 1)),
    Oddity("levels to 100.ppm", netpbm(100)),
    Oddity("levels to 4095.ppm", netpbm(4095)),
    Oddity("turned by EXIF.avif", turned_avif),
    Oddity("plain.tga", saved("TGA")),
    Oddity("plain.pcx", saved("PCX")),
    Oddity("plain.sgi", saved("SGI")),
    Oddity("plain.qoi", saved("QOI")),
    Oddity("layers.psd", layered),
    Oddity("openexr.exr", openexr),
    Oddity("radiance.hdr", by_opencv(".hdr", np.float32, 1)),
    Oddity("still.gif", saved("GIF")),
    Oddity("a GIF without a suffix", saved("GIF")),
    Oddity("moving.gif", moving("GIF"), frames=3),
    Oddity("moving.webp", moving("WEBP", quality=95), frames=3),
    Oddity("moving.png", moving("PNG"), frames=3),
)
VIDEOS = (
    Oddity("h264.mp4", film("mp4"), frames=12),
    Oddity("mpeg4.mov", film("mov", "mpeg4"), frames=12),
    Oddity("mpeg4.avi", film("avi", "mpeg4"), frames=12),
    Oddity("motion jpeg.avi", film("avi", "mjpeg", pix_fmt="yuvj420p"), frames=12),
    Oddity("h264.mkv", film("matroska"), frames=12),
    Oddity("vp9.webm", film("webm", "libvpx-vp9"), frames=12),
    Oddity("live.webm", film("webm", "libvpx", options={"live": "1"}), frames=12),
    Oddity("sorenson.flv", film("flv", "flv"), frames=12),
    Oddity("windows.wmv", film("asf", "wmv2"), frames=12),
    Oddity("mpeg1.mpg", film("mpeg", "mpeg1video"), frames=12),
    Oddity("camcorder.ts", film("mpegts"), frames=12),
    Oddity("phone.3gp", film("3gp", "h263", size=(176, 144)), frames=12, size=(192, 144)),
    Oddity("raw.y4m", film("yuv4mpegpipe", "wrapped_avframe"), frames=12),
    Oddity("fragments.mp4", film("mp4", options={"movflags": "frag_keyframe+empty_moov"}), 12),
    Oddity("ten bits.mp4", film("mp4", pix_fmt="yuv420p10le"), frames=12),
    Oddity("a video without a suffix", film("mp4"), frames=12),
    Oddity("a video in truth.jpg", film("mp4"), frames=12),
    Oddity("sound first.mkv", film("matroska", sound=True), frames=12),
    Oddity("with a cover.mp4", film("mp4", cover=True), frames=12),
    Oddity("edit list.mp4", EDITED, frames=18),
    Oddity("edit list within a group.mp4", EDITED_WITHIN, frames=48),
    Oddity("dropped frames.avi", film("avi", "mpeg4", pts=[i + i // 2 for i in range(12)]), 12),
    Oddity(
        "variable rate.mp4", film("mp4", pts=[i if i < 6 else 3 * i - 12 for i in range(12)]), 12
    ),
    Oddity("anamorphic.mp4", film("mp4", aspect=Fraction(16, 9)), 12, size=(114, 48)),
    Oddity("narrow pixels.mkv", film("matroska", aspect=Fraction(1, 2)), 12, size=(64, 96)),
    Oddity("held upright.mp4", film("mp4", turned=180), 12, left=RIGHT),
    Oddity("mirrored.mp4", mirrored, 12, left=RIGHT),
    Oddity("motion.mjpeg", film("mjpeg", "mjpeg", pix_fmt="yuvj420p"), 12),
)
NAMES = (
    Oddity("2026-01-01T12:30:05.mp4", film("mp4"), frames=12),
    Oddity("-x.mp4", film("mp4"), frames=12),
    Oddity("pipe:", film("mp4"), frames=12),
    Oddity("concat:a|b.mp4", film("mp4"), frames=12),
    Oddity("%03d.png", film("mp4"), frames=12),
    Oddity("%03d.jpg", JPEG()),
    Oddity("[1]*.jpg", JPEG()),
    Oddity("ümlaut, comma.jpg", JPEG()),
    Oddity("$x_$.png", saved("PNG")),
)
FOLDERS = (
    Oddity("frames", folder(["1.jpg", "2.jpg", "10.jpg"]), frames=3),
    Oddity(
        "frames and what systems leave", folder(["1.jpg"], "Thumbs.db", "desktop.ini", "._1.jpg")
    ),
    Oddity("frames and a text", folder(["1.jpg", "2.png"], "notes.txt"), frames=2),
    Oddity("frames without suffixes", folder(["0001", "0002"]), frames=2),
    Oddity("frames of two formats", folder(["1.gif", "2.jpg"]), frames=2),
    Oddity("a folder of nothing", folder([], "Thumbs.db"), refused="a folder without images"),
    Oddity("frames in HEIC", folder(["1.jpg"], "2.heic"), refused="frame 2.heic: it is a HEIC"),
    Oddity("a HEIC frame", frame_without_suffix(HEIC), refused="frame 0001: it is a HEIC"),
    Oddity("a raw frame", frame_without_suffix(CR2), refused="frame 0001: it is a camera's raw"),
)
REFUSED = (
    Oddity("phone.heic", content(HEIC), refused="pip install pillow-heif"),
    Oddity("a HEIC in truth.jpg", content(HEIC + b"."), refused="pip install pillow-heif"),
    Oddity("burst.heics", content(HEIC + b".."), refused="pip install pillow-heif"),
    Oddity("phone.jxl", content(b"\xff\n" + bytes(99)), refused="pip install pillow-jxl-plugin"),
    Oddity(
        "a JPEG XL in truth.jpg",
        content(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99)),
        refused="it is a JPEG XL photograph",
    ),
    Oddity("camera.cr2", content(CR2), refused="camera's raw file"),
    Oddity("camera.tif", tiff_with_tags({50706: b"\1\4\0\0"}), refused="camera's raw file"),
    Oddity("camera.nef", saved("TIFF"), refused="camera's raw file"),
    Oddity("empty.jpg", content(b""), refused="it is empty"),
    Oddity("notes.txt", content(b"not a film\n" * 50), refused=NO_MEDIUM),
    Oddity("photos.zip", content(b"PK\3\4" + bytes(99)), refused=NO_MEDIUM),
    Oddity("paper.pdf", content(b"%PDF-1.4\n" + bytes(99)), refused=NO_MEDIUM),
    Oddity("drawing.eps", saved("EPS"), refused=NO_MEDIUM),
    Oddity("playlist.m3u8", content(PLAYLIST), refused=NO_MEDIUM),
    Oddity("list.txt", content(b"ffconcat version 1.0\nfile 'h264.mp4'\n"), refused=NO_MEDIUM),
    Oddity("sound.wav", sound, refused=NO_MEDIUM),
    Oddity("text.jpg", content(b"text"), refused="cannot be decoded", at_once=False),
    Oddity("text.mp4", content(b"text " * 99), refused="cannot be decoded", at_once=False),
    Oddity("half.jpg", cut(JPEG()), refused="cut short", at_once=False),
    Oddity("half.png", cut(saved("PNG")), refused="cut short", at_once=False),
    Oddity("half.gif", cut(moving("GIF")), refused="cut short", at_once=False),
    Oddity("half.webp", cut(moving("WEBP")), refused="cut short", at_once=False),
    Oddity("half.mp4", cut(FASTSTART), refused="cut short", at_once=False),
    Oddity(
        "half.avi", cut(film("avi", "mpeg4", frames=60), 0.8), refused="cut short", at_once=False
    ),
    Oddity("half.mkv", cut(film("matroska", frames=60), 0.8), refused="cut short", at_once=False),
)
ODDITIES = (*PICTURES, *VIDEOS, *NAMES, *FOLDERS, *REFUSED)
ASIDE = {"README": "no suffix", "labels.xlsx": ".xlsx", "not in the table.jpg": ".jpg"}
JUNK = ("Thumbs.db", ".DS_Store", "._plain.jpg", "__MACOSX/._plain.jpg", "__MACOSX/plain.jpg")


def write(root):
    """Write all oddities and their table, a file that is gone, a copy, and files to leave aside."""
    rows = ["path,subject,emotion"]
    for number, odd in enumerate(ODDITIES):
        odd.write(root / odd.name, picture(number))
        rows.append(f'"{odd.name}",s{number},joy')
    (root / "plainer.jpg").write_bytes((root / "plain.jpg").read_bytes())
    rows += ["plainer.jpg,s0,joy", "gone.jpg,s0,joy"]
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    for name in (*ASIDE, *JUNK):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"left behind " + name.encode())
    return root


def found(manifest, odd):
    """Read one oddity: its frames, or the reason why there are none."""
    if odd.name in dict(manifest.left_out):
        return dict(manifest.left_out)[odd.name]
    (clip,) = (clip for clip in manifest.clips if clip.clip == odd.name)
    try:
        return list(video.frames(clip.path, clip.offset))
    except DataError as error:
        return str(error)


def main():
    """Print how each oddity is read, as the table of docs/media.md."""
    print("| file | read as |\n|---|---|")
    with tempfile.TemporaryDirectory() as place:
        manifest = load("folder", write(Path(place)))
        kinds = {clip.clip: clip.kind for clip in manifest.clips}
        for odd in ODDITIES:
            read = found(manifest, odd)
            name = odd.name.replace("|", r"\|")
            if isinstance(read, str):
                print(f"| `{name}` | refused: {read.replace(place + '/', '')} |")
                continue
            height, width, _ = read[0].shape
            print(f"| `{name}` | {kinds[odd.name]}, {len(read)} of {width}x{height} |")


if __name__ == "__main__":
    main()
