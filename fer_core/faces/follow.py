"""Follow one face through the frames of a clip, and cut it out of each frame.

`faces_stage` uses this module to make what it stores, and `search` counts the states that it
gives the frames. The landmarks come from an engine (`follow`) or from the dataset (`join_points`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from fer_core.arrays import Image, Points
from fer_core.errors import DataError
from fer_core.faces.landmarks import Finder

FOUND, INTERPOLATED, LEFT_OUT = 1, 2, 3  # the states of a frame; stored as these numbers
LONGEST_GAP = 12  # frames; half a second at 25 a second, in which a face moves little
# The side of a cut is REACH times the extent of the points, so that an aligned view fits into it
# however the face is turned. A cut more than LARGEST times the frame's longer side is refused,
# because no visible face is that large.
REACH, LARGEST = 1.8, 4.0
CUT_PIXELS = 320  # largest side of a stored cut: eyes are about 80 pixels apart, as in a 224 view
JPEG_QUALITY = 95


@dataclass(frozen=True)
class FollowedFrame:
    """One frame of a clip, and the face that is followed in it."""

    image: Image  # (H, W, 3)
    # (68, 2) float32, in the frame's pixels; None: the frame is left out, or is given whole
    points: Points | None
    state: int  # FOUND, INTERPOLATED or LEFT_OUT
    others: int = 0  # how many further faces the engine saw in this frame


@dataclass(frozen=True)
class Cut:
    """A square around a face; frame pixel (x, y) lies at about (x - left, y - top) * scale."""

    left: int
    top: int
    scale: float  # pixels of the cut per pixel of the frame, at most 1
    jpeg: bytes


def follow(frames: Iterable[Image], finder: Finder) -> Iterator[FollowedFrame]:
    """Follow the largest central face; each frame comes out once, in order.

    If the face is missing in at most LONGEST_GAP frames between two frames that show it, its
    points are interpolated. The frames of a longer gap, and those before the first and after the
    last face, are left out. A frame that equals the one before it is not searched again.
    """
    last, face, previous = None, None, None
    gap: list[Image] = []
    for image in frames:
        if previous is None or not np.array_equal(image, previous):
            face = finder.search(image, last)
        previous = image
        if face is not None:
            if last is not None:
                yield from _interpolated(gap, last, face.points)
            gap, last = [], face.points
            yield FollowedFrame(image, face.points, FOUND, face.others)
            continue
        gap.append(image)
        if last is None or len(gap) > LONGEST_GAP:
            yield from (FollowedFrame(lost, None, LEFT_OUT) for lost in gap)
            gap, last = [], None
    yield from (FollowedFrame(lost, None, LEFT_OUT) for lost in gap)


def join_points(frames: Iterable[Image], points: Points) -> Iterator[FollowedFrame]:
    """Join the frames to the landmarks (T, 68, 2) that the dataset supplies for them.

    A frame whose points are not finite (NaN) has no face and is left out.

    Raises: DataError if there are more or fewer points than frames.
    """
    total = 0
    for total, image in enumerate(frames, start=1):
        own = points[total - 1] if total <= len(points) else None
        known = own is not None and bool(np.isfinite(own).all())
        yield FollowedFrame(image, own if known else None, FOUND if known else LEFT_OUT)
    if total != len(points):
        raise DataError(
            f"its landmarks cover {len(points)} frames, but the clip has {total}; "
            "each frame needs one set of 68 points."
        )


def given(frames: Iterable[Image]) -> Iterator[FollowedFrame]:
    """Take each frame, whole, for the face: whoever made the dataset has cut it out already."""
    return (FollowedFrame(image, None, FOUND) for image in frames)


def whole(image: Image) -> Cut:
    """Show a whole picture as a square; what it lacks to a square is black, equal on both sides."""
    height, width = image.shape[:2]
    side = max(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    borders = (-top, side - height + top, -left, side - width + left)
    return _square(image, borders, left, top)


def cut(image: Image, points: Points) -> Cut:
    """Cut the upright square around the face at `points` (68, 2); outside the frame it is black.

    Raises: DataError if the points span no face, or lie outside the frame.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    height, width = image.shape[:2]
    side = round(REACH * float((high - low).max()))
    if not 1 <= side <= LARGEST * max(height, width):
        raise DataError(
            f"face landmarks from {low.tolist()} to {high.tolist()} are too close together or too "
            f"far apart for a face in a frame of {width}x{height} pixels."
        )
    left, top = (int(corner) for corner in np.floor((low + high - side) / 2))
    part = image[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    if not part.size:
        raise DataError(
            f"face landmarks around {low.tolist()} lie outside the frame of "
            f"{width}x{height} pixels."
        )
    borders = (
        max(0, -top),
        max(0, top + side - height),
        max(0, -left),
        max(0, left + side - width),
    )
    return _square(part, borders, left, top)


def _square(part: Image, borders: tuple[int, int, int, int], left: int, top: int) -> Cut:
    """Add black borders (top, bottom, left, right) to make a square, and shrink what is large."""
    square = cv2.copyMakeBorder(part, *borders, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    side = square.shape[0]
    pixels = min(side, CUT_PIXELS)
    if pixels < side:
        square = cv2.resize(square, (pixels, pixels), interpolation=cv2.INTER_AREA)
    return Cut(left, top, pixels / side, encode_jpeg(np.asarray(square, np.uint8)))


def encode_jpeg(image: Image) -> bytes:
    """Write an RGB image (H, W, 3) as the bytes of a JPEG file."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, jpeg = cv2.imencode(".jpg", image[:, :, ::-1], quality)
    return jpeg.tobytes()


def _interpolated(gap: list[Image], before: Points, after: Points) -> Iterator[FollowedFrame]:
    """Place the points of a gap's frames on a straight line between their neighbours' points."""
    for i, image in enumerate(gap, start=1):
        share = i / (len(gap) + 1)
        points = before + np.float32(share) * (after - before)
        yield FollowedFrame(image, points, INTERPOLATED)
