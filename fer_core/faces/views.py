"""Views: what a backbone is shown of a face, as square crops of one size.

torch is imported for the frontal views only: a worker that makes others saves its 470 MB.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.faces.align import CROP_PIXELS as CROP_PIXELS
from fer_core.faces.align import TEMPLATE, Image, Points, five_points, similarity
from fer_core.faces.frontal.surface import Surface, reference

# A crop is the points' extent and this share of it on each side, moved up by RAISED: brows to chin
# are in, and the forehead as far as an aligned view shows it.
MARGIN, RAISED = 0.125, 0.08


def crop(image: Image, points: Points) -> Image:
    """Cut an upright square around the face at 68 points (68, 2) from (H, W, 3).

    Gives (224, 224, 3); what lies outside the image is black.

    Raises: DataError where all points fall into one.
    """
    return _warped(image, crop_matrix(points))


def crop_matrix(points: Points) -> NDArray[np.float64]:
    """Give the (2, 3) matrix that takes an image's pixels to those of its crop."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    middle = (low + high) / 2 - (0, RAISED * extent)
    half = extent * (0.5 + MARGIN)
    corners = np.array([middle - half, middle + half])
    return similarity(corners, np.array([(0, 0), (CROP_PIXELS, CROP_PIXELS)]))


def aligned(image: Image, points: Points) -> Image:
    """Turn, scale and cut (H, W, 3) so that the face at 68 points (68, 2) fits the template.

    Gives (224, 224, 3); what lies outside the image is black.

    Raises: DataError where all points fall into one.
    """
    return _warped(image, similarity(five_points(points), TEMPLATE * CROP_PIXELS))


def _warped(image: Image, matrix: NDArray[np.float64]) -> Image:
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    if scale < 0.5:  # bilinear sampling would skip pixels: shrink by averaging first
        height, width = (max(1, round(side * 2 * scale)) for side in image.shape[:2])
        factors = np.array([image.shape[1] / width, image.shape[0] / height])
        image = _as_image(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        turn, shift = matrix[:, :2], matrix[:, 2]  # pixels have their middle at whole numbers
        matrix = np.column_stack([turn * factors, shift + turn @ (factors / 2 - 0.5)])
    size = (CROP_PIXELS, CROP_PIXELS)
    return _as_image(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR))


Faces = Sequence[Image]
Maker = Callable[[Faces, Points, Surface | None, str], Image]


def _each(make: Callable[[Image, Points], Image]) -> Maker:
    """Make the view of one face after the other."""

    def views(images: Faces, points: Points, _surface: Surface | None, _device: str) -> Image:
        made = [make(image, at) for image, at in zip(images, points, strict=True)]
        return np.array(made, np.uint8).reshape(-1, CROP_PIXELS, CROP_PIXELS, 3)

    return views


def _frontal(symmetry: Literal["none", "soft", "conditional"]) -> Maker:
    """Make frontal views, all faces at once."""

    def views(images: Faces, points: Points, surface: Surface | None, device: str) -> Image:
        from fer_core.faces.frontal.frontalize import (
            frontal,  # here and not above: it imports torch
        )

        return frontal(images, points, surface or reference(), symmetry=symmetry, device=device)

    return views


VIEWS: Mapping[str, Maker] = {
    "crop": _each(crop),
    "aligned": _each(aligned),
    "frontal": _frontal("none"),
    "frontal_soft": _frontal("soft"),
    "frontal_conditional": _frontal("conditional"),
}


def views(
    images: Faces,
    points: Points,
    *,
    view: str = "aligned",
    surface: Surface | None = None,
    device: str = "cpu",
) -> Image:
    """Show the faces of images (H, W, 3) at points (B, 68, 2) as (B, 224, 224, 3).

    The images may differ in size. A surface other than the project's own and a device matter to
    the frontal views only.

    Raises: DataError where points fit no face.
    """
    return VIEWS[view](images, points, surface, device)


def resized(crops: Image, crop_pixels: int) -> Image:
    """Bring crops (T, H, H, 3) to the side that a backbone reads."""
    if crops.shape[1] == crop_pixels:
        return crops
    size, how = (crop_pixels, crop_pixels), cv2.INTER_AREA
    return np.stack([_as_image(cv2.resize(crop, size, interpolation=how)) for crop in crops])


def _as_image(array: cv2.typing.MatLike) -> Image:
    return np.asarray(array, np.uint8)
