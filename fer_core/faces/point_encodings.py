"""Encode the 68 points of a face as the input of a network, (..., 68, 2) to (..., D) float32.

`features` uses these for a config's geometry stream. `centred` is the original study's encoding.
The others remove what is no part of an expression: where a face is, how large and how tilted
(`procrustes`, `distances`), and also whose face it is (`difference`, `motion`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_core.arrays import Points
from fer_core.errors import DataError

Features = NDArray[np.float32]

STUDY_CENTRE = (112.0, 135.0)  # pixel of the aligned view that the study took as the origin
PAIRS = np.triu_indices(68, k=1)  # the 2,278 pairs of points
ROUNDS = 20  # iterations of the fit of a mean shape, which settles in two or three


def centred(points: Points, *, centre: tuple[float, float] = STUDY_CENTRE) -> Features:
    """Shift the points of each face by a centre and stretch its values to [0, 1], D = 136.

    Both axes are stretched by the same factor. The encoding keeps position and tilt; a change of
    scale about the centre makes no difference.

    Raises: DataError if all values of a face are equal.
    """
    values = _flat(np.asarray(points, np.float64) - centre)
    low = values.min(axis=-1, keepdims=True)
    extent = values.max(axis=-1, keepdims=True) - low
    _require(extent > 0)
    features: Features = ((values - low) / extent).astype(np.float32)
    return features


def distances(points: Points) -> Features:
    """Measure the distance between each pair of points over the face's size, D = 2,278.

    The size is the root mean square distance of the points to their centroid. Neither the
    position, nor the size, nor the tilt of a face changes these numbers.

    Raises: DataError if all points of a face coincide.
    """
    shapes = _shapes(points)
    first, second = PAIRS
    return np.abs(shapes[..., first] - shapes[..., second]).astype(np.float32)


@dataclass(frozen=True)
class Procrustes:
    """A mean shape, onto which faces are turned and scaled before they are compared.

    It must be fitted on training clips only; otherwise test subjects leak into the encoding.
    """

    mean: NDArray[np.complex128]  # (68,) x + iy, centroid at 0, root mean square 1

    @classmethod
    def fit(cls, points: Points) -> "Procrustes":
        """Average faces (..., 68, 2), each shifted, scaled and turned to fit; the eyes end level.

        Gower 1975, https://doi.org/10.1007/BF02291478.

        Raises: DataError if all points of a face coincide.
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
        """Encode the change since the first frame of each clip (..., T, 68, 2), D = 136.

        This assumes that the first frame is neutral, as it is in CK+, MMI and OULU-CASIA.
        """
        shapes = _turned(_shapes(points), self.mean)
        return _features(shapes - shapes[..., :1, :])

    def motion(self, points: Points) -> Features:
        """Encode the change since the previous frame of each clip (..., T, 68, 2), D = 136."""
        shapes = _turned(_shapes(points), self.mean)
        return _features(np.diff(shapes, axis=-2, prepend=shapes[..., :1, :]))


def _shapes(points: Points) -> NDArray[np.complex128]:
    """Give faces as complex numbers (..., 68), centred at 0 and scaled to size 1."""
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
    if not sound.all():  # a comparison with NaN is False, so NaN is refused as well
        raise DataError(
            f"landmarks of {int((~sound).sum())} faces span no face; the points of a face must be "
            "finite and must not all coincide."
        )
