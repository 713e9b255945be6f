"""Encodings of 68 points: what a network is given of a face's geometry, (..., 68, 2) to (..., D).

`centred` is the study's; the others remove what is no expression: where a face is, how large, how
tilted (`procrustes`, `distances`), and whose it is (`difference`, `motion`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import DataError
from fer_core.faces.align import Points

Features = NDArray[np.float32]

STUDY_CENTRE = (112.0, 135.0)  # pixel of the aligned view that the study took for the origin
PAIRS = np.triu_indices(68, k=1)  # 2,278
ROUNDS = 20  # Procrustes means settle in two or three


def centred(points: Points, *, centre: tuple[float, float] = STUDY_CENTRE) -> Features:
    """Shift the points of each face to a centre and stretch all of its values to [0, 1], D = 136.

    One stretch for both axes. Position and tilt stay in; scale about the centre goes.

    Raises: DataError where all values of a face are one.
    """
    values = _flat(np.asarray(points, np.float64) - centre)
    low = values.min(axis=-1, keepdims=True)
    extent = values.max(axis=-1, keepdims=True) - low
    _require(extent > 0)
    features: Features = ((values - low) / extent).astype(np.float32)
    return features


def distances(points: Points) -> Features:
    """Distances between all pairs of points over the face's size, D = 2,278; no turn changes them.

    The size is the root mean square distance of the points to their centroid.

    Raises: DataError where all points of a face fall into one.
    """
    shapes = _shapes(points)
    first, second = PAIRS
    return np.abs(shapes[..., first] - shapes[..., second]).astype(np.float32)


@dataclass(frozen=True)
class Procrustes:
    """A mean shape that faces are turned onto; fitted on training clips only, or it leaks."""

    mean: NDArray[np.complex128]  # (68,) x + iy, about its centroid, of root mean square 1

    @classmethod
    def fit(cls, points: Points) -> "Procrustes":
        """Average faces (..., 68, 2), each shifted, scaled and turned to fit; eyes level.

        Gower 1975, https://doi.org/10.1007/BF02291478.

        Raises: DataError where all points of a face fall into one.
        """
        shapes = _shapes(points).reshape(-1, 68)
        mean = _level(shapes).mean(axis=0)
        for _ in range(ROUNDS):
            mean = _turned(shapes, mean).mean(axis=0)
            mean /= np.sqrt(np.mean(np.abs(mean) ** 2))
        return cls(_level(mean))

    def apply(self, points: Points) -> Features:
        """Shift, scale and turn faces to fit the mean, D = 136; x and y alternate."""
        return _features(_turned(_shapes(points), self.mean))

    def difference(self, points: Points) -> Features:
        """What changed since the first frame of each clip (..., T, 68, 2), D = 136.

        It takes the first frame for neutral, as it is in CK+, MMI and OULU-CASIA.
        """
        shapes = _turned(_shapes(points), self.mean)
        return _features(shapes - shapes[..., :1, :])

    def motion(self, points: Points) -> Features:
        """What changed since the frame before, in each clip (..., T, 68, 2), D = 136."""
        shapes = _turned(_shapes(points), self.mean)
        return _features(np.diff(shapes, axis=-2, prepend=shapes[..., :1, :]))


def _shapes(points: Points) -> NDArray[np.complex128]:
    """Faces as complex numbers (..., 68), without position and size."""
    shapes: NDArray[np.complex128] = np.asarray(points, np.float64) @ np.array([1, 1j])
    shapes = shapes - shapes.mean(axis=-1, keepdims=True)
    size = np.sqrt(np.mean(np.abs(shapes) ** 2, axis=-1, keepdims=True))
    _require(size > 0)
    sized: NDArray[np.complex128] = shapes / size
    return sized


def _turned(shapes: NDArray[np.complex128], mean: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Turn shapes (..., 68) to fit the mean in least squares."""
    fit = (shapes.conj() * mean).sum(axis=-1, keepdims=True)
    turned: NDArray[np.complex128] = shapes * np.exp(1j * np.angle(fit))
    return turned


def _level(shapes: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Turn shapes (..., 68) until the line between the eyes is level."""
    line = shapes[..., 42:48].mean(axis=-1) - shapes[..., 36:42].mean(axis=-1)
    level: NDArray[np.complex128] = shapes * np.exp(-1j * np.angle(line))[..., None]
    return level


def _features(shapes: NDArray[np.complex128]) -> Features:
    return _flat(np.stack([shapes.real, shapes.imag], axis=-1)).astype(np.float32)


def _flat(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points.reshape(*points.shape[:-2], 136)


def _require(sound: NDArray[np.bool_]) -> None:
    if not sound.all():  # also where a value is not a number
        raise DataError(f"landmarks of {int((~sound).sum())} faces span no face; they must differ.")
