"""Write the clips of one subject to files, in the layout of a real dataset, with landmarks.

`dataset` calls one function for each subject. A clip's exact landmarks are written beside it.
"""

from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np

from fer_core.arrays import Array
from fer_core.data.datasets import oulu_casia, sase_fe
from fer_core.synthetic.camera import FRAME_PIXELS
from fer_core.synthetic.painter import paint_clip
from fer_core.synthetic.script import subject_identity, write_script

SASE_FE_FPS = 100
# The same frames must give the same bytes. Slower presets use a macroblock tree, whose AVX-512
# code gives different bytes each time (measured with the x264 of PyAV 18.1). Several threads also
# give different bytes.
X264_OPTIONS = {"crf": "18", "preset": "superfast"}
JPEG_QUALITY = 95


def write_sase_fe_subject(root: Path, seed: int, subject: int) -> None:
    """Write one subject, numbered from 1, in the layout of SASE-FE.

    Each clip is `FakeTrue_DB/<subject>/<name>.MP4` with `<name>.landmarks.npy` beside it.
    """
    folder = root / "FakeTrue_DB" / str(subject)
    folder.mkdir(parents=True)
    identity = subject_identity(seed, subject)
    for name, (emotion, authenticity) in sase_fe.CLIPS.items():
        script = write_script(seed, subject, emotion, authenticity, identity=identity)
        _write_video(folder / f"{name}.MP4", paint_clip(script))
        np.save(folder / f"{name}.landmarks.npy", script.landmarks)


def write_oulu_casia_subject(root: Path, seed: int, subject: int) -> None:
    """Write one subject, numbered from 1, in the layout of OULU-CASIA.

    Each clip is a folder `B_OriginalImg/VL/Strong/P001/<Emotion>` with the images `000.jpeg`,
    `001.jpeg`, .. and `landmarks.npy`.
    """
    identity = subject_identity(seed, subject)
    for emotion in oulu_casia.EMOTIONS:
        folder = root / f"B_OriginalImg/VL/Strong/P{subject:03d}/{emotion.capitalize()}"
        folder.mkdir(parents=True)
        script = write_script(seed, subject, emotion, "genuine", identity=identity)
        for number, picture in enumerate(paint_clip(script)):
            path = folder / f"{number:03d}.jpeg"
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        np.save(folder / "landmarks.npy", script.landmarks)


def _write_video(path: Path, pictures: Iterable[Array]) -> None:
    with av.open(str(path.absolute()), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=SASE_FE_FPS, options=X264_OPTIONS)
        stream.width = stream.height = FRAME_PIXELS
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
