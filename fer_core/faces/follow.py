"""One face followed through the frames of a clip, and cut out of each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.errors import DataError
from fer_core.faces.landmarks import Finder

FOUND, INTERPOLATED, LEFT_OUT = 1, 2, 3  # states of a frame
LONGEST_GAP = 12  # frames; half a second at 25 a second, in which a face moves little
REACH = 1.8  # side of the cut as a multiple of the points' extent: an aligned view fits in, turned
LARGEST = 4.0  # the same as a multiple of the frame: no face that is seen is larger
CUT_PIXELS = 320  # its largest side: eyes are about 80 pixels apart, as in a view of 224
JPEG_QUALITY = 95

Image = NDArray[np.uint8]
Points = NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """A frame and the points (68, 2), in its pixels, of the face that is followed."""

    image: Image
    points: Points | None  # None: the frame is left out
    state: int
    others: int = 0  # faces beside it, as far as they were seen


@dataclass(frozen=True)
class Cut:
    """A square around a face, (x - left, y - top) in the frame's pixels times `scale`."""

    left: int
    top: int
    scale: float
    jpeg: bytes


def follow(frames: Iterable[Image], finder: Finder) -> Iterator[Seen]:
    """Follow the largest central face; each frame comes out once, in order.

    A short gap between two frames with the face is interpolated; frames of a long one, of the
    beginning and of the end are left out. A frame equal to the one before is not searched again.
    """
    last, face, previous = None, None, None
    gap: list[Image] = []
    for image in frames:
        if previous is None or not np.array_equal(image, previous):
            face = finder.search(image, last)
        previous = image
        if face is not None:
            if last is not None:
                yield from _bridged(gap, last, face.points)
            gap, last = [], face.points
            yield Seen(image, face.points, FOUND, face.others)
            continue
        gap.append(image)
        if last is None or len(gap) > LONGEST_GAP:
            yield from (Seen(lost, None, LEFT_OUT) for lost in gap)
            gap, last = [], None
    yield from (Seen(lost, None, LEFT_OUT) for lost in gap)


def follow_given(frames: Iterable[Image], points: Points) -> Iterator[Seen]:
    """Join frames to the points (T, 68, 2) that come along; NaN says that there is no face.

    Raises: DataError where there are more or fewer points than frames.
    """
    total = 0
    for total, image in enumerate(frames, start=1):
        at = points[total - 1] if total <= len(points) else None
        known = at is not None and bool(np.isfinite(at).all())
        yield Seen(image, at if known else None, FOUND if known else LEFT_OUT)
    if total != len(points):
        raise DataError(f"its landmarks are of {len(points)} frames, and it has {total}.")


def cut(image: Image, points: Points) -> Cut:
    """Cut the upright square around a face at points (68, 2); black where the frame ends.

    Raises: DataError where the points span no face.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    height, width = image.shape[:2]
    side = round(REACH * float((high - low).max()))
    if not 1 <= side <= LARGEST * max(height, width):
        raise DataError(f"face landmarks from {low.tolist()} to {high.tolist()} span no face.")
    left, top = (int(corner) for corner in np.floor((low + high - side) / 2))
    part = image[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    if not part.size:
        raise DataError(f"face landmarks around {low.tolist()} lie outside the frame.")
    around = (max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width))
    square = cv2.copyMakeBorder(part, *around, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    pixels = min(side, CUT_PIXELS)
    if pixels < side:
        square = cv2.resize(square, (pixels, pixels), interpolation=cv2.INTER_AREA)
    return Cut(left, top, pixels / side, encoded(np.asarray(square, np.uint8)))


def encoded(image: Image) -> bytes:
    """Write an RGB image (H, W, 3) as JPEG."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, jpeg = cv2.imencode(".jpg", image[:, :, ::-1], quality)
    return jpeg.tobytes()


def _bridged(gap: list[Image], before: Points, after: Points) -> Iterator[Seen]:
    for i, image in enumerate(gap, start=1):
        share = i / (len(gap) + 1)
        yield Seen(image, before + np.float32(share) * (after - before), INTERPOLATED)
