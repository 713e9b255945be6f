"""Make views: square crops of one size, each a different way to show a face to a backbone.

`VIEWS` lists them by the name that a config uses; `views_stage` makes and stores them. torch is
imported only for the frontal views, so a worker that makes other views saves its 470 MB of memory.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.arrays import Image, Points
from fer_core.faces.align import CROP_PIXELS as CROP_PIXELS
from fer_core.faces.align import TEMPLATE, five_points, similarity
from fer_core.faces.frontal.surface import Surface, reference

# A crop shows the extent of the points and the share MARGIN of it on each side, moved up by the
# share RAISED. It therefore shows brows to chin, and as much forehead as an aligned view does.
MARGIN, RAISED = 0.125, 0.08


def crop(image: Image, points: Points) -> Image:
    """Cut the upright square around the face at `points` (68, 2) out of an image (H, W, 3).

    Gives (224, 224, 3); what lies outside the image is black.

    Raises: DataError if all points coincide.
    """
    return _warped(image, crop_matrix(points))


def crop_matrix(points: Points) -> NDArray[np.float64]:
    """Give the (2, 3) matrix that maps an image's pixels to those of its crop."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    middle = (low + high) / 2 - (0, RAISED * extent)
    half = extent * (0.5 + MARGIN)
    corners = np.array([middle - half, middle + half])
    return similarity(corners, np.array([(0, 0), (CROP_PIXELS, CROP_PIXELS)]))


def aligned(image: Image, points: Points) -> Image:
    """Turn, scale and cut an image (H, W, 3) so that the face at `points` (68, 2) is upright.

    Eyes, nose and mouth come to lie on `align.TEMPLATE`. Gives (224, 224, 3); what lies outside
    the image is black.

    Raises: DataError if all points coincide.
    """
    return _warped(image, similarity(five_points(points), TEMPLATE * CROP_PIXELS))


def given(image: Image, _points: Points) -> Image:
    """Show a whole picture (H, H, 3), which is a face already, as (224, 224, 3)."""
    method = cv2.INTER_AREA if image.shape[0] > CROP_PIXELS else cv2.INTER_LINEAR
    return _as_image(cv2.resize(image, (CROP_PIXELS, CROP_PIXELS), interpolation=method))


def _warped(image: Image, matrix: NDArray[np.float64]) -> Image:
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    if scale < 0.5:  # bilinear sampling would skip pixels, so shrink by averaging first
        height, width = (max(1, round(side * 2 * scale)) for side in image.shape[:2])
        factors = np.array([image.shape[1] / width, image.shape[0] / height])
        image = _as_image(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        # A pixel's centre is at a whole number; "- 0.5" shrinks about the image's corner instead.
        turn, shift = matrix[:, :2], matrix[:, 2]
        matrix = np.column_stack([turn * factors, shift + turn @ (factors / 2 - 0.5)])
    size = (CROP_PIXELS, CROP_PIXELS)
    return _as_image(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR))


Images = Sequence[Image]
Maker = Callable[[Images, Points, Surface | None, str], Image]


def _one_by_one(make: Callable[[Image, Points], Image]) -> Maker:
    """Turn a function that shows one face into one that shows several."""

    def views(images: Images, points: Points, _surface: Surface | None, _device: str) -> Image:
        made = [make(image, face) for image, face in zip(images, points, strict=True)]
        return np.array(made, np.uint8).reshape(-1, CROP_PIXELS, CROP_PIXELS, 3)

    return views


def _frontal(symmetry: Literal["none", "soft", "conditional"]) -> Maker:
    """Give a function that makes frontal views of several faces at once."""

    def views(images: Images, points: Points, surface: Surface | None, device: str) -> Image:
        from fer_core.faces.frontal.frontalize import frontal  # imported here: it needs torch

        return frontal(images, points, surface or reference(), symmetry=symmetry, device=device)

    return views


VIEWS: Mapping[str, Maker] = {
    "crop": _one_by_one(crop),
    "aligned": _one_by_one(aligned),
    "frontal": _frontal("none"),
    "frontal_soft": _frontal("soft"),
    "frontal_conditional": _frontal("conditional"),
    "given": _one_by_one(given),
}


def views(
    images: Images,
    points: Points,
    *,
    view: str = "aligned",
    surface: Surface | None = None,
    device: str = "cpu",
) -> Image:
    """Show B faces, one in each image (H, W, 3), at `points` (B, 68, 2) as (B, 224, 224, 3).

    The images may differ in size. `surface` (None: the project's own) and `device` matter to the
    frontal views only.

    Raises: DataError if the points fit no face.
    """
    return VIEWS[view](images, points, surface, device)


def resized(crops: Image, crop_pixels: int) -> Image:
    """Resize square crops (T, H, H, 3) to the side that a backbone reads."""
    if crops.shape[1] == crop_pixels:
        return crops
    size, method = (crop_pixels, crop_pixels), cv2.INTER_AREA
    return np.stack([_as_image(cv2.resize(crop, size, interpolation=method)) for crop in crops])


def _as_image(array: cv2.typing.MatLike) -> Image:
    return np.asarray(array, np.uint8)
