"""The mean human face in three dimensions: 68 landmarks, further points, and a smooth surface.

`surface` makes frontal views from it, and the renderer (`fer_core.synthetic`) draws its people from
it. The face was made by hand for this project. It is symmetric by construction, and no data set's
annotations went into it.

Widths and heights follow the adult means of Farkas, Anthropometry of the Head and Face (1994),
rounded and quoted from memory: eyes 90 mm from outer to outer and 36 mm from inner to inner corner,
nasion to subnasale 50 mm, subnasale to chin 70 mm, mouth 52 mm. Depths along the midline follow
Arnett et al. 1999, https://doi.org/10.1016/S0889-5406(99)70234-9, also rounded and from memory, for
a head in its natural position. Measured from subnasale, the tip of the nose is 16 mm in front, the
upper lip 3 mm and the lower lip 1 mm; the glabella is 8 mm behind, the crease of the chin 6 mm and
the point of the chin 3 mm. Other depths were set by eye, to look like a head from the side.

Axes: x to the right of the picture, y down, z towards the camera. Unit: the distance between the
outer corners of the eyes. Origin: halfway between them. Landmarks are in iBUG's order. Only the
person's right half (the left of the picture) is written down; the left half is its mirror image.
"""

from functools import lru_cache

import numpy as np

from fer_core.arrays import Array

Point = tuple[float, float, float]

RIGHT_LANDMARKS: dict[int, Point] = {
    0: (-0.800, 0.05, -0.55),  # jaw, from the ear to the chin
    1: (-0.790, 0.26, -0.53),
    2: (-0.765, 0.47, -0.50),
    3: (-0.725, 0.67, -0.43),
    4: (-0.655, 0.86, -0.33),
    5: (-0.540, 1.03, -0.18),
    6: (-0.390, 1.16, -0.02),
    7: (-0.210, 1.25, 0.12),
    8: (0.000, 1.28, 0.18),
    17: (-0.680, -0.14, -0.09),  # brow, from outside in
    18: (-0.580, -0.24, 0.04),
    19: (-0.440, -0.28, 0.14),
    20: (-0.290, -0.265, 0.20),
    21: (-0.150, -0.22, 0.235),
    27: (0.000, -0.06, 0.215),  # bridge of the nose, downwards
    28: (0.000, 0.07, 0.305),
    29: (0.000, 0.20, 0.41),
    30: (0.000, 0.33, 0.515),
    31: (-0.150, 0.455, 0.255),  # base of the nose
    32: (-0.078, 0.48, 0.315),
    33: (0.000, 0.495, 0.335),
    36: (-0.500, 0.000, 0.00),  # eye: outer corner, upper lid, inner corner, lower lid
    37: (-0.415, -0.060, 0.07),
    38: (-0.300, -0.058, 0.09),
    39: (-0.200, 0.010, 0.08),
    40: (-0.300, 0.040, 0.08),
    41: (-0.415, 0.042, 0.06),
    48: (-0.290, 0.755, 0.18),  # outer lip
    49: (-0.185, 0.685, 0.29),
    50: (-0.075, 0.650, 0.36),
    51: (0.000, 0.668, 0.372),
    57: (0.000, 0.850, 0.345),
    58: (-0.085, 0.845, 0.32),
    59: (-0.190, 0.815, 0.265),
    60: (-0.240, 0.755, 0.21),  # inner lip
    61: (-0.085, 0.738, 0.31),
    62: (0.000, 0.745, 0.33),
    66: (0.000, 0.751, 0.33),
    67: (-0.085, 0.744, 0.31),
}
MIDLINE_POINTS: dict[str, Point] = {
    "glabella": (0.0, -0.20, 0.245),
    "forehead": (0.0, -0.50, 0.24),
    "forehead_top": (0.0, -0.80, 0.12),
    "crown": (0.0, -1.18, -0.30),
    "philtrum": (0.0, 0.58, 0.333),
    "stomion": (0.0, 0.748, 0.325),
    "chin_crease": (0.0, 0.95, 0.265),
    "pogonion": (0.0, 1.12, 0.30),
}
RIGHT_POINTS: dict[str, Point] = {
    "forehead_side": (-0.36, -0.52, 0.145),
    "forehead_high": (-0.36, -0.82, 0.01),
    "temple": (-0.66, -0.46, -0.20),
    "temple_low": (-0.70, 0.00, -0.19),
    "arc_low": (-0.83, -0.22, -0.56),
    "arc_mid": (-0.82, -0.55, -0.56),
    "arc_high": (-0.68, -0.88, -0.48),
    "arc_top": (-0.38, -1.09, -0.38),
    "eyeball": (-0.35, -0.01, 0.11),
    "socket": (-0.20, -0.10, 0.10),
    "bridge": (-0.10, 0.06, 0.19),
    "nose_side": (-0.11, 0.25, 0.27),
    "nose_wing": (-0.150, 0.38, 0.30),
    "infraorbital": (-0.25, 0.22, 0.17),
    "cheekbone": (-0.46, 0.24, 0.12),
    "cheekbone_outer": (-0.63, 0.24, -0.10),
    "cheek": (-0.36, 0.46, 0.19),
    "cheek_outer": (-0.58, 0.50, -0.06),
    "jowl": (-0.42, 0.78, 0.10),
    "jowl_outer": (-0.60, 0.74, -0.17),
    "chin_side": (-0.22, 1.06, 0.25),
    "chin_outer": (-0.36, 0.98, 0.12),
}
NAMES = (
    *MIDLINE_POINTS,
    *(f"{name}_right" for name in RIGHT_POINTS),
    *(f"{name}_left" for name in RIGHT_POINTS),
)
# Landmarks of the eyelids and the inner lips. These parts open and close, so they lie above the
# surface and do not shape it.
OPENINGS = (37, 38, 40, 41, 43, 44, 46, 47, 60, 61, 62, 63, 64, 65, 66, 67)


def mirrored(landmark: int) -> int:
    """Give the number of a landmark's mirror image; on the midline, its own number."""
    sums = (
        ((0, 17), 16),
        ((17, 27), 43),
        ((31, 36), 66),
        ((36, 40), 81),
        ((40, 42), 87),
        ((42, 46), 81),
        ((46, 48), 87),
        ((48, 55), 102),
        ((55, 60), 114),
        ((60, 65), 124),
        ((65, 68), 132),
    )
    for (first, past), total in sums:
        if first <= landmark < past:
            return total - landmark
    return landmark  # 27 to 30, on the midline


def index(name: str) -> int:
    """Give the row of a named surface point in `points()`."""
    return 68 + NAMES.index(name)


@lru_cache(maxsize=1)
def points() -> Array:
    """Give all points of the mean face, (68 + len(NAMES), 3): landmarks first, then `NAMES`."""
    flip = np.array([-1.0, 1.0, 1.0])
    landmarks = np.zeros((68, 3))
    for number, point in RIGHT_LANDMARKS.items():
        landmarks[mirrored(number)] = np.array(point) * flip
        landmarks[number] = point
    right = np.array(list(RIGHT_POINTS.values()))
    everything = np.concatenate(
        [landmarks, np.array(list(MIDLINE_POINTS.values())), right, right * flip]
    )
    everything.flags.writeable = False
    return everything


def landmarks() -> Array:
    """Give the 68 landmarks of the mean face, (68, 3)."""
    return points()[:68]


@lru_cache(maxsize=1)
def controls() -> Array:
    """Give the rows of `points()` that the surface passes through, its control points."""
    rows = np.setdiff1d(np.arange(len(points())), OPENINGS)
    rows.flags.writeable = False
    return rows


def interpolation(where: Array) -> Array:
    """Give weights (N, controls) that interpolate between the control points at places (N, 2).

    They are those of a thin-plate spline (Bookstein, 1989, https://doi.org/10.1109/34.24792) over
    the frontal view. `weights @ points()[controls(), 2]` is the surface's height at the places.
    With the points of another face in the same order, `weights @ its_points[controls()]` are the
    points of its surface.
    """
    solved: Array = _terms(where) @ _system()
    return solved


def height(where: Array) -> Array:
    """Give the height z (N,) of the mean surface at places (N, 2), valid within the face only."""
    surface: Array = _terms(where) @ (_system() @ points()[controls(), 2])
    return surface


def outline() -> Array:
    """Give the rows of `points()` around the face: along the jaw, then over the forehead."""
    arc = ("arc_low", "arc_mid", "arc_high", "arc_top")
    left = [index(f"{name}_left") for name in arc]
    right = [index(f"{name}_right") for name in reversed(arc)]
    return np.array([*range(17), *left, index("crown"), *right])


@lru_cache(maxsize=1)
def _system() -> Array:
    """Give the matrix (controls + 3, controls) from control values to spline coefficients."""
    centres = points()[controls(), :2]
    affine = np.column_stack([np.ones(len(centres)), centres])
    kernel = _radial(centres, centres)
    system = np.block([[kernel, affine], [affine.T, np.zeros((3, 3))]])
    return np.linalg.inv(system)[:, : len(centres)]


def _terms(where: Array) -> Array:
    """Evaluate the spline's basis functions at places (N, 2); the result is (N, controls + 3).

    The first ones are radial functions, one around each control point. The last three, 1, x and
    y, form a plane.
    """
    bumps = _radial(where, points()[controls(), :2])
    return np.column_stack([bumps, np.ones(len(where)), where])


def _radial(a: Array, b: Array) -> Array:
    squared = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
    values: Array = squared * np.log(np.maximum(squared, 1e-12))
    return values
