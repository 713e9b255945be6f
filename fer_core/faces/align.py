"""Align a face: find the turn, scale and shift that bring its five points onto a template.

`views` aligns crops with it, `frontal` fits its camera with it, and `features` aligns points.
"""

import numpy as np
from numpy.typing import NDArray

from fer_core.arrays import Points
from fer_core.errors import DataError

CROP_PIXELS = 224  # side of a view; VGG-16's input, Simonyan and Zisserman 2015, section 2.1

# The template: where an aligned crop has the centres of the left and the right eye (as seen in the
# image), the tip of the nose and the two corners of the mouth, (x, y) as fractions of the crop's
# side. The positions are those of dlib's mean face (get_face_chip_details,
# image_transforms/interpolation.h) with dlib's margin of 1/4 of the face on each side. The crops
# therefore look like those that dlib's ResNet was trained on, and include the brows and the chin.
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


def five_points(points: Points) -> Points:
    """Reduce the 68 points (..., 68, 2) to eye centres, nose tip and mouth corners (..., 5, 2)."""
    left, right = points[..., 36:42, :].mean(axis=-2), points[..., 42:48, :].mean(axis=-2)
    return np.stack([left, right, *np.moveaxis(points[..., [30, 48, 54], :], -2, 0)], axis=-2)


def similarity(source: Points, target: Points) -> NDArray[np.float64]:
    """Fit the (2, 3) matrix that maps the points `source` (N, 2) onto `target` in least squares.

    The map turns, scales and shifts; it never mirrors. This is Umeyama 1991,
    https://doi.org/10.1109/34.88573, for the plane: with points as complex numbers it is the
    regression target = a * source + b, which cannot contain a reflection.

    Raises: DataError if all points of `source` coincide.
    """
    s, t = (np.asarray(p, np.float64) @ (1, 1j) for p in (source, target))
    spread = s - s.mean()
    variance = np.vdot(spread, spread).real
    if not variance > 0:  # "not >" also refuses NaN
        raise DataError(
            f"face landmarks {source.tolist()} span no face; they must not all coincide."
        )
    a = np.vdot(spread, t) / variance
    b = t.mean() - a * s.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
