"""Similarity alignment: the turn, scale and shift that take a face's five points to a template."""

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import DataError

CROP_PIXELS = 224  # side of a view; VGG-16's input, Simonyan and Zisserman 2015, section 2.1

# Where the centres of the left and right eye in the image, the nose tip and the corners of the
# mouth stand, (x, y) as fractions of the crop's side. They are those of dlib's mean face
# (get_face_chip_details, image_transforms/interpolation.h) with dlib's margin of 1/4 of the face
# around it, so the crops are like those that dlib's ResNet was trained on: brows and chin are in.
MARGIN = 0.25
_MEAN_FACE = np.array(
    [
        (0.224152, 0.216380),
        (0.756149, 0.216380),
        (0.490127, 0.515625),
        (0.254149, 0.780233),
        (0.726104, 0.780233),
    ]
)
TEMPLATE: NDArray[np.float64] = (_MEAN_FACE + MARGIN) / (1 + 2 * MARGIN)

Image = NDArray[np.uint8]
Points = NDArray[np.floating]


def five_points(points: Points) -> Points:
    """Reduce the 68 points (..., 68, 2) to eye centres, nose tip and mouth corners (..., 5, 2)."""
    left, right = points[..., 36:42, :].mean(axis=-2), points[..., 42:48, :].mean(axis=-2)
    return np.stack([left, right, *np.moveaxis(points[..., [30, 48, 54], :], -2, 0)], axis=-2)


def similarity(source: Points, target: Points) -> NDArray[np.float64]:
    """Fit the (2, 3) matrix that takes points (N, 2) to others, in least squares, unmirrored.

    Umeyama 1991, https://doi.org/10.1109/34.88573, for the plane: with points as complex numbers
    it is the regression target = a * source + b, in which no reflection can occur.

    Raises: DataError where all points fall into one.
    """
    s, t = (np.asarray(p, np.float64) @ (1, 1j) for p in (source, target))
    spread = s - s.mean()
    variance = np.vdot(spread, spread).real
    if not variance > 0:  # also where it is not a number
        raise DataError(f"face landmarks {source.tolist()} span no face; they must differ.")
    a = np.vdot(spread, t) / variance
    b = t.mean() - a * s.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
