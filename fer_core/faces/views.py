"""Views: what a backbone is shown of a face, as square crops of one size."""

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.faces.align import TEMPLATE, five_points, similarity

CROP_PIXELS = 224  # VGG-16's input; Simonyan and Zisserman 2015, section 2.1

Image = NDArray[np.uint8]


def aligned(image: Image, points: NDArray[np.floating]) -> Image:
    """Turn, scale and cut (H, W, 3) so that the face at 68 points (68, 2) fits the template.

    Gives (224, 224, 3); what lies outside the image is black.

    Raises: DataError where all points fall into one.
    """
    matrix = similarity(five_points(points), TEMPLATE * CROP_PIXELS)
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    if scale < 0.5:  # bilinear sampling would skip pixels: shrink by averaging first
        height, width = (max(1, round(side * 2 * scale)) for side in image.shape[:2])
        factors = np.array([image.shape[1] / width, image.shape[0] / height, 1.0])
        image = _as_image(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        matrix = matrix * factors
    size = (CROP_PIXELS, CROP_PIXELS)
    return _as_image(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR))


VIEWS: Mapping[str, Callable[[Image, NDArray[np.floating]], Image]] = {"aligned": aligned}


def views(images: Image, points: NDArray[np.floating], *, view: str = "aligned") -> Image:
    """Show the faces of frames (T, H, W, 3) at points (T, 68, 2) as (T, 224, 224, 3)."""
    make = VIEWS[view]
    return np.stack([make(image, at) for image, at in zip(images, points, strict=True)])


def resized(crops: Image, crop_pixels: int) -> Image:
    """Bring crops (T, H, H, 3) to the side that a backbone reads."""
    if crops.shape[1] == crop_pixels:
        return crops
    size, how = (crop_pixels, crop_pixels), cv2.INTER_AREA
    return np.stack([_as_image(cv2.resize(crop, size, interpolation=how)) for crop in crops])


def _as_image(array: cv2.typing.MatLike) -> Image:
    return np.asarray(array, np.uint8)
