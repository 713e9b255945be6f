"""68 facial landmarks, found in single images and followed through a clip.

The points are numbered as in Multi-PIE and iBUG 300-W: jaw 0-16, brows 17-26, nose 27-35, eyes
36-47, mouth 48-67. dlib's 68-point predictor was trained on iBUG 300-W, whose terms exclude
commercial use: https://ibug.doc.ic.ac.uk/resources/300-W/.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.errors import ConfigError, DataError, unknown
from fer_core.weight_files import hub_checkpoint, packaged

Image = NDArray[np.uint8]
Points = NDArray[np.float32]
Engine = Callable[[Image], Points | None]  # RGB (H, W, 3) to (68, 2) in pixels, None: no face
Box = tuple[float, float, float, float]  # left, top, right, bottom

DETECT_PIXELS = 480  # short side at which faces are looked for first
UPSAMPLE_BELOW_PIXELS = 400  # short side; dlib's detector sees no face under 80 pixels
DLIB_FILE = "shape_predictor_68_face_landmarks.dat"
FACE_ALIGNMENT_FILES = ("2DFAN4-11f355bf06.pth.tar", "s3fd-619a316812.pth")  # version 1.5.0


class Dlib:
    """dlib's HOG detector (Dalal and Triggs 2005) and regression trees (Kazemi and Sullivan 2014).

    https://doi.org/10.1109/CVPR.2005.177, https://doi.org/10.1109/CVPR.2014.241
    """

    def __init__(self, _device: str) -> None:
        import dlib  # here and not above: who uses another engine need not have it

        self._rectangle = dlib.rectangle
        self._detect = dlib.get_frontal_face_detector()
        self._predict = dlib.shape_predictor(str(packaged(DLIB_FILE)))

    def __call__(self, image: Image) -> Points | None:
        for factor, upsample in _attempts(min(image.shape[:2])):
            small = image if factor == 1 else _shrunk(image, factor)
            found = self._detect(small, upsample)
            boxes = [(r.left(), r.top(), r.right(), r.bottom()) for r in found]
            if boxes:
                face = boxes[main_face(boxes, small.shape)]
                box = self._rectangle(*(round(side / factor) for side in face))
                parts = self._predict(image, box).parts()
                return np.array([(p.x, p.y) for p in parts], np.float32)
        return None


class FaceAlignment:
    """FAN, Bulat and Tzimiropoulos 2017, https://arxiv.org/abs/1703.07332, with the S3FD detector.

    Raises: WeightsError where its weights are not in $TORCH_HOME/hub/checkpoints.
    """

    def __init__(self, device: str) -> None:
        files("face_alignment")  # before the library would fetch them

        import face_alignment  # here and not above: it takes seconds

        kind = face_alignment.LandmarksType.TWO_D
        self._net: Any = face_alignment.FaceAlignment(kind, device=device, compile=False)

    def __call__(self, image: Image) -> Points | None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No faces were detected")  # None says so
            found = self._net.get_landmarks_from_image(image)
        if not found:
            return None
        boxes = [(*points.min(axis=0), *points.max(axis=0)) for points in found]
        return np.asarray(found[main_face(boxes, image.shape)], np.float32)


ENGINES: Mapping[str, Callable[[str], Engine]] = {"dlib": Dlib, "face_alignment": FaceAlignment}


def engine(name: str, *, device: str = "cpu") -> Engine:
    """Load a landmark engine; dlib stays on the CPU whatever the device.

    Raises: ConfigError for an unknown name; WeightsError where its weights are absent.
    """
    if name not in ENGINES:
        raise ConfigError(unknown("landmark engine", name, ENGINES))
    return ENGINES[name](device)


def files(name: str) -> list[Path]:
    """List the weights files that an engine reads.

    Raises: WeightsError where one is absent.
    """
    if name == "dlib":
        return [packaged(DLIB_FILE)]
    return [hub_checkpoint(file) for file in FACE_ALIGNMENT_FILES]


def track(images: Image, find: Engine) -> tuple[Points, int]:
    """Find the points (T, 68, 2) of frames (T, H, W, 3), and in how many frames a face was found.

    A frame without a face borrows from the nearest ones with a face before and after it, by
    linear interpolation. A frame equal to the one before it is not searched again.

    Raises: DataError where no frame shows a face.
    """
    found: dict[int, Points] = {}
    for i, image in enumerate(images):
        repeats = i > 0 and np.array_equal(image, images[i - 1])
        points = found.get(i - 1) if repeats else find(image)
        if points is not None:
            found[i] = points
    if not found:
        raise DataError(f"no face found in {len(images)} frames.")
    known = np.stack(list(found.values())).reshape(len(found), -1)
    filled = [np.interp(range(len(images)), list(found), column) for column in known.T]
    return np.stack(filled, axis=1).reshape(-1, 68, 2).astype(np.float32), len(found)


def main_face(boxes: list[Box], shape: tuple[int, ...]) -> int:
    """Choose the large central face among boxes in an image (H, W, ...): its position.

    The area counts, less the farther the box is from the centre: nothing is left at a distance
    of the image's diagonal.
    """
    height, width = shape[:2]

    def weight(box: Box) -> float:
        left, top, right, bottom = box
        off = math.hypot((left + right - width) / 2, (top + bottom - height) / 2)
        return (right - left) * (bottom - top) * (1 - off / math.hypot(width, height))

    return max(range(len(boxes)), key=lambda i: weight(boxes[i]))


def _attempts(short_side: int) -> list[tuple[float, int]]:
    """List what to search, fastest first: factor on the image, and doublings by dlib."""
    if short_side > DETECT_PIXELS:
        return [(DETECT_PIXELS / short_side, 0), (1.0, 0)]
    return [(1.0, 0), (1.0, 1)] if short_side < UPSAMPLE_BELOW_PIXELS else [(1.0, 0)]


def _shrunk(image: Image, factor: float) -> Image:
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
