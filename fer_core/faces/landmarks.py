"""68 facial landmarks: engines that find faces in an image, and the one that matters among them.

The points are numbered as in Multi-PIE and iBUG 300-W: jaw 0-16, brows 17-26, nose 27-35, eyes
36-47, mouth 48-67. dlib's 68-point predictor was trained on iBUG 300-W, whose terms exclude
commercial use: https://ibug.doc.ic.ac.uk/resources/300-W/.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.errors import ConfigError, WeightsError, unknown
from fer_core.weight_files import hub_checkpoint, packaged

Image = NDArray[np.uint8]
Points = NDArray[np.float32]
Box = tuple[float, float, float, float]  # left, top, right, bottom

DETECT_PIXELS = 480  # short side at which faces are looked for first
UPSAMPLE_BELOW_PIXELS = 400  # short side; dlib's detector sees no face under 80 pixels
FOLLOWED_PIXELS = 120  # side to which a face is brought to be looked for where it was last seen
FOLLOWED_REACH = 0.6  # how far around that place, as a share of its side
DLIB_FILE = "shape_predictor_68_face_landmarks.dat"
FACE_ALIGNMENT_FILES = ("2DFAN4-11f355bf06.pth.tar", "s3fd-619a316812.pth")  # version 1.5.0


class Engine(Protocol):
    """What finds faces, and the points of one."""

    def boxes(self, image: Image) -> list[Box]:
        """Find all faces of an RGB image (H, W, 3)."""

    def points(self, image: Image, box: Box) -> Points:
        """Find the points (68, 2), in pixels, of the face in a box."""


class Dlib:
    """dlib's HOG detector (Dalal and Triggs 2005) and regression trees (Kazemi and Sullivan 2014).

    https://doi.org/10.1109/CVPR.2005.177, https://doi.org/10.1109/CVPR.2014.241
    """

    def __init__(self, _device: str) -> None:
        import dlib  # here and not above: who uses another engine need not have it

        self._rectangle = dlib.rectangle
        self._detect = dlib.get_frontal_face_detector()
        self._predict = dlib.shape_predictor(str(packaged(DLIB_FILE)))

    def boxes(self, image: Image) -> list[Box]:
        for factor, upsample in _attempts(min(image.shape[:2])):
            found = self._detect(image if factor == 1 else _shrunk(image, factor), upsample)
            if found:
                sides = ((r.left(), r.top(), r.right(), r.bottom()) for r in found)
                return [_scaled(box, 1 / factor) for box in sides]
        return []

    def points(self, image: Image, box: Box) -> Points:
        parts = self._predict(image, self._rectangle(*map(round, box))).parts()
        return np.array([(p.x, p.y) for p in parts], np.float32)


class FaceAlignment:
    """FAN, Bulat and Tzimiropoulos 2017, https://arxiv.org/abs/1703.07332, with the S3FD detector.

    Raises: WeightsError where its weights are not in $TORCH_HOME/hub/checkpoints.
    """

    def __init__(self, device: str) -> None:
        files("face_alignment")  # before the library would fetch them

        import face_alignment  # here and not above: it takes seconds

        kind = face_alignment.LandmarksType.TWO_D
        self._net: Any = face_alignment.FaceAlignment(kind, device=device, compile=False)

    def boxes(self, image: Image) -> list[Box]:
        found = self._net.face_detector.detect_from_image(image.copy())
        return [(float(b[0]), float(b[1]), float(b[2]), float(b[3])) for b in found]

    def points(self, image: Image, box: Box) -> Points:
        found = self._net.get_landmarks_from_image(image, detected_faces=[np.array(box)])
        return np.asarray(found[0], np.float32)


ENGINES: Mapping[str, Callable[[str], Engine]] = {"dlib": Dlib, "face_alignment": FaceAlignment}


@dataclass(frozen=True)
class Face:
    """The face that was looked for in an image."""

    points: Points  # (68, 2) in pixels
    others: int  # faces that were seen beside it


class Finder:
    """Finds the face that matters: the one that is followed, else the largest central one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, image: Image) -> Points | None:
        """Give the points (68, 2) of the largest central face of an image (H, W, 3), or None."""
        face = self.search(image)
        return face.points if face else None

    def search(self, image: Image, last: Points | None = None) -> Face | None:
        """Look where a face was `last` seen, (68, 2), and only then in the whole image.

        A face that is far from there, or of another size, is somebody else.
        """
        if last is None:
            boxes = self._engine.boxes(image)
            chosen = main_face(boxes, image.shape) if boxes else None
        else:
            boxes = self._near(image, last)
            chosen = _closest(boxes, last)
            if chosen is None:
                boxes = self._engine.boxes(image)
                chosen = _closest(boxes, last)
        if chosen is None:
            return None
        return Face(self._engine.points(image, boxes[chosen]), others=len(boxes) - 1)

    def _near(self, image: Image, last: Points) -> list[Box]:
        """Search the surroundings of a face alone: a fraction of the image, and so of the time."""
        low, high = last.min(axis=0), last.max(axis=0)
        side = max(1.0, float((high - low).max()))
        left, top = (max(0, int(corner - FOLLOWED_REACH * side)) for corner in low)
        right, bottom = (max(0, int(corner + FOLLOWED_REACH * side)) for corner in high)
        part = image[top:bottom, left:right]
        if not part.size:
            return []
        factor = min(1.0, FOLLOWED_PIXELS / side)
        found = self._engine.boxes(_shrunk(part, factor) if factor < 1 else part)
        return [_shifted(_scaled(box, 1 / factor), left, top) for box in found]


def engine(name: str, *, device: str = "cpu") -> Finder:
    """Load a landmark engine; dlib stays on the CPU whatever the device.

    Raises: ConfigError for an unknown name; WeightsError where its weights are absent.
    """
    if name not in ENGINES:
        raise ConfigError(unknown("landmark engine", name, ENGINES))
    return Finder(ENGINES[name](device))


def best_engine() -> str:
    """Name the most accurate engine whose weights are here: FAN's are the user's to supply."""
    try:
        files("face_alignment")
    except WeightsError:
        return "dlib"
    return "face_alignment"


def files(name: str) -> list[Path]:
    """List the weights files that an engine reads.

    Raises: WeightsError where one is absent.
    """
    if name == "dlib":
        return [packaged(DLIB_FILE)]
    return [hub_checkpoint(file) for file in FACE_ALIGNMENT_FILES]


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


def _closest(boxes: Sequence[Box], last: Points) -> int | None:
    """Choose the box of the face that had its points (68, 2) there a moment ago: its position."""
    x, y = (last.min(axis=0) + last.max(axis=0)) / 2
    side = float((last.max(axis=0) - last.min(axis=0)).max())
    off = [math.hypot((b[0] + b[2]) / 2 - x, (b[1] + b[3]) / 2 - y) for b in boxes]
    same = [
        i
        for i, (left, top, right, bottom) in enumerate(boxes)
        if off[i] <= side and 0.5 <= max(right - left, bottom - top) / side <= 2
    ]
    return min(same, key=off.__getitem__, default=None)


def _scaled(box: Box, factor: float) -> Box:
    left, top, right, bottom = box
    return left * factor, top * factor, right * factor, bottom * factor


def _shifted(box: Box, x: float, y: float) -> Box:
    left, top, right, bottom = box
    return left + x, top + y, right + x, bottom + y


def _attempts(short_side: int) -> list[tuple[float, int]]:
    """List what to search, fastest first: factor on the image, and doublings by dlib."""
    if short_side > DETECT_PIXELS:
        return [(DETECT_PIXELS / short_side, 0), (1.0, 0)]
    return [(1.0, 0), (1.0, 1)] if short_side < UPSAMPLE_BELOW_PIXELS else [(1.0, 0)]


def _shrunk(image: Image, factor: float) -> Image:
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
