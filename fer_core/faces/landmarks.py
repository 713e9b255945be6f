"""Find the face that matters in an image, and its 68 landmarks.

An engine (dlib or face_alignment) finds all faces and the points of one; `Finder` chooses the face.
`faces_stage` uses it on every frame. The points are numbered as in Multi-PIE and iBUG 300-W: jaw
0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67. dlib's 68-point predictor was trained on
iBUG 300-W, whose terms exclude commercial use: https://ibug.doc.ic.ac.uk/resources/300-W/.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from fer_core.arrays import Image, Points
from fer_core.errors import ConfigError, WeightsError, unknown
from fer_core.weight_files import hub_checkpoint, packaged

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

# An image with a longer short side is searched at this size first, which is faster.
DETECT_PIXELS = 480
# An image with a shorter short side is searched again at twice its size if no face is found, since
# dlib's detector sees no face under 80 pixels.
UPSAMPLE_BELOW_PIXELS = 400
# Around the place of the last face, the image is searched at a scale that makes a face of that
# size FOLLOWED_PIXELS large, and up to FOLLOWED_REACH times the face's side beyond its points.
FOLLOWED_PIXELS, FOLLOWED_REACH = 120, 0.6
# What `CloserLook` tries, one after another: the size of the picture as a multiple of its own, and
# the width of a border as a share of its longer side. The border repeats the pixels at the edge,
# for dlib finds no face that fills the picture. `benchmarks/small_faces.py` counts what each finds.
CLOSER_LOOKS = ((1, 0.0), (1, 0.25), (2, 0.25), (4, 0.25), (2, 0.0), (4, 0.0))
CLOSER_PIXELS = 800  # no picture is enlarged beyond this, since its faces are large already
# The points of a face in a smaller picture are found in one enlarged to about this side.
POINTS_PIXELS = 200
DLIB_FILE = "shape_predictor_68_face_landmarks.dat"
FACE_ALIGNMENT_FILES = ("2DFAN4-11f355bf06.pth.tar", "s3fd-619a316812.pth")  # version 1.5.0


class Engine(Protocol):
    """What a landmark library must offer: a detector of faces and a predictor of points."""

    def boxes(self, image: Image) -> list[Box]:
        """Find all faces in an RGB image (H, W, 3)."""

    def points(self, image: Image, box: Box) -> Points:
        """Find the points (68, 2) float32, in pixels, of the face in a box."""


class Dlib:
    """The engine `dlib`, which runs on the CPU and needs no download.

    It detects faces by HOG (Dalal and Triggs 2005, https://doi.org/10.1109/CVPR.2005.177) and finds
    points by regression trees (Kazemi and Sullivan 2014, https://doi.org/10.1109/CVPR.2014.241).
    """

    def __init__(self, _device: str) -> None:
        import dlib  # imported here, so that the other engine works without dlib

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
    """The engine `face_alignment`: FAN with the S3FD detector, more accurate than dlib.

    Bulat and Tzimiropoulos 2017, https://arxiv.org/abs/1703.07332. The user supplies its weights.

    Raises: WeightsError if its weights are not in $TORCH_HOME/hub/checkpoints.
    """

    def __init__(self, device: str) -> None:
        files("face_alignment")  # fails if one is missing; the library would download it instead

        import face_alignment  # imported here, because the import takes seconds

        kind = face_alignment.LandmarksType.TWO_D
        self._net: Any = face_alignment.FaceAlignment(kind, device=device, compile=False)

    def boxes(self, image: Image) -> list[Box]:
        found = self._net.face_detector.detect_from_image(image.copy())
        return [(float(b[0]), float(b[1]), float(b[2]), float(b[3])) for b in found]

    def points(self, image: Image, box: Box) -> Points:
        found = self._net.get_landmarks_from_image(image, detected_faces=[np.array(box)])
        return np.asarray(found[0], np.float32)


class CloserLook:
    """An engine for pictures that are cut-out faces, which may be small and cut close.

    Where the other engine sees no face, it looks again at the picture with a border around it, and
    then, if the picture is small, at two and four times the size with and without the border.
    """

    def __init__(self, engine: Engine, looks: Sequence[tuple[int, float]] = CLOSER_LOOKS) -> None:
        """Look with an engine; `looks` are the sizes and the borders to try, in this order."""
        self._engine, self._looks = engine, looks

    def boxes(self, image: Image) -> list[Box]:
        for size, border in self._looks:
            if size > 1 and size * min(image.shape[:2]) > CLOSER_PIXELS:
                continue
            looked_at, edge = _bordered(image, size, border)
            if found := self._engine.boxes(looked_at):
                return [_scaled(_shifted(box, -edge, -edge), 1 / size) for box in found]
        return []

    def points(self, image: Image, box: Box) -> Points:
        size = max(1, min(4, POINTS_PIXELS // max(1, min(image.shape[:2]))))
        if size == 1:
            return self._engine.points(image, box)
        larger, _ = _bordered(image, size, 0.0)
        points = self._engine.points(larger, _scaled(box, size))
        # A pixel's centre is at a whole number, so the edge of the first pixel is at -0.5.
        return ((points + np.float32(0.5)) / np.float32(size) - np.float32(0.5)).astype(np.float32)


ENGINES: Mapping[str, Callable[[str], Engine]] = {
    "dlib": Dlib,
    "face_alignment": FaceAlignment,
    "dlib-closer": lambda device: CloserLook(Dlib(device)),
    "face_alignment-closer": lambda device: CloserLook(FaceAlignment(device)),
}
_CLOSER = "-closer"


def closer(engine: str) -> str:
    """Name the engine that looks more closely at cut-out faces than the engine of that name."""
    return engine if engine == "data" or engine.endswith(_CLOSER) else engine + _CLOSER


def base_engine(engine: str) -> str:
    """Name the engine that an engine of `closer` looks more closely with."""
    return engine.removesuffix(_CLOSER)


@dataclass(frozen=True)
class Face:
    """The face that `Finder` chose in an image."""

    points: Points  # (68, 2) float32, in pixels
    others: int  # how many further faces the engine saw


class Finder:
    """Choose one face of an image: the one that is being followed, else the largest central one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def search(self, image: Image, last: Points | None = None) -> Face | None:
        """Find the face in an image (H, W, 3); None if there is none.

        With the points `last` (68, 2) of the followed face in the previous frame, search around
        them first, and in the whole image only if that finds nothing. A face far from there, or of
        another size, is taken for another person and is not returned.
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
        """Search only around the last place of the face, in a fraction of the time."""
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


def load_finder(name: str, *, device: str = "cpu") -> Finder:
    """Load the landmark engine of that name, for use on a device; dlib always uses the CPU.

    Raises: ConfigError if the name is unknown; WeightsError if the engine's weights are missing.
    """
    if name not in ENGINES:
        raise ConfigError(unknown("landmark engine", name, ENGINES))
    return Finder(ENGINES[name](device))


def best_engine() -> str:
    """Name the most accurate engine whose weights are on this machine."""
    try:
        files("face_alignment")
    except WeightsError:
        return "dlib"
    return "face_alignment"


def files(name: str) -> list[Path]:
    """List the weights files that the engine of that name reads.

    Raises: WeightsError if one is missing.
    """
    if base_engine(name) == "dlib":
        return [packaged(DLIB_FILE)]
    return [hub_checkpoint(file) for file in FACE_ALIGNMENT_FILES]


def main_face(boxes: list[Box], shape: tuple[int, ...]) -> int:
    """Choose the large central face among the boxes in an image of that shape; give its index.

    A box counts by its area, times a factor that falls from 1 at the image's centre to 0 at a
    distance of the image's diagonal.
    """
    height, width = shape[:2]

    def weight(box: Box) -> float:
        left, top, right, bottom = box
        distance = math.hypot((left + right - width) / 2, (top + bottom - height) / 2)
        return (right - left) * (bottom - top) * (1 - distance / math.hypot(width, height))

    return max(range(len(boxes)), key=lambda i: weight(boxes[i]))


def _closest(boxes: Sequence[Box], last: Points) -> int | None:
    """Find the box of the face that had the points `last` (68, 2) one frame ago; give its index.

    None if no box is within one face's side of that place and between half and twice its size.
    """
    x, y = (last.min(axis=0) + last.max(axis=0)) / 2
    side = float((last.max(axis=0) - last.min(axis=0)).max())
    distances = [math.hypot((b[0] + b[2]) / 2 - x, (b[1] + b[3]) / 2 - y) for b in boxes]
    same = [
        i
        for i, (left, top, right, bottom) in enumerate(boxes)
        if distances[i] <= side and 0.5 <= max(right - left, bottom - top) / side <= 2
    ]
    return min(same, key=distances.__getitem__, default=None)


def _bordered(image: Image, size: int, border: float) -> tuple[Image, int]:
    """Enlarge an image and add a border; gives it with the border's width, in its own pixels."""
    edge = size * round(border * max(image.shape[:2]))
    if size > 1:
        larger = cv2.resize(image, None, fx=size, fy=size, interpolation=cv2.INTER_CUBIC)
        image = np.asarray(larger, np.uint8)
    if edge:
        framed = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_REPLICATE)
        image = np.asarray(framed, np.uint8)
    return image, edge


def _scaled(box: Box, factor: float) -> Box:
    left, top, right, bottom = box
    return left * factor, top * factor, right * factor, bottom * factor


def _shifted(box: Box, x: float, y: float) -> Box:
    left, top, right, bottom = box
    return left + x, top + y, right + x, bottom + y


def _attempts(short_side: int) -> list[tuple[float, int]]:
    """List the searches to try, fastest first: factor on the image, and doublings by dlib."""
    if short_side > DETECT_PIXELS:
        return [(DETECT_PIXELS / short_side, 0), (1.0, 0)]
    return [(1.0, 0), (1.0, 1)] if short_side < UPSAMPLE_BELOW_PIXELS else [(1.0, 0)]


def _shrunk(image: Image, factor: float) -> Image:
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
