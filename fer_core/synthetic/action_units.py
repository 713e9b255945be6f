"""Facial action units: which points each of them moves, and which units make up an emotion.

`script` moves a face by these tables. The units and their numbers are those of the Facial Action
Coding System, FACS (Ekman & Friesen, 1978). The prototypes of emotions follow Lucey et al., The
Extended Cohn-Kanade Dataset (CK+), 2010, table 2, https://doi.org/10.1109/CVPRW.2010.5543262, which
follows the FACS manual; the intensities were chosen for this project. A displacement is given for
one half of the face at full intensity, in outer-eye distances: x outwards from the midline, y down,
z towards the camera.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from fer_core.arrays import Array
from fer_core.faces.frontal import mean_face

Shift = tuple[float, float, float]


def _vertical(y: float, *landmarks: int) -> dict[int | str, Shift]:
    """Move some landmarks down by y."""
    return dict.fromkeys(landmarks, (0.0, y, 0.0))


# Numbers are landmarks of the right half or the midline; names are further points of the surface.
UNITS: dict[int, dict[int | str, Shift]] = {
    1: {  # inner brow raiser
        21: (0.0, -0.130, 0.0),
        20: (0.0, -0.090, 0.0),
        19: (0.0, -0.035, 0.0),
        "glabella": (0.0, -0.05, 0.0),
        "forehead": (0.0, -0.03, 0.0),
    },
    2: {  # outer brow raiser
        17: (0.0, -0.075, 0.0),
        18: (0.0, -0.110, 0.0),
        19: (0.0, -0.095, 0.0),
        20: (0.0, -0.030, 0.0),
        "forehead_side": (0.0, -0.03, 0.0),
    },
    4: {  # brow lowerer
        17: (-0.010, 0.015, 0.0),
        18: (-0.025, 0.045, 0.0),
        19: (-0.035, 0.075, 0.01),
        20: (-0.045, 0.095, 0.02),
        21: (-0.055, 0.105, 0.03),
        "glabella": (0.0, 0.04, 0.03),
    },
    5: {**_vertical(-0.034, 37, 38), **_vertical(-0.006, 40, 41)},  # upper lid raiser
    6: {  # cheek raiser
        **_vertical(-0.020, 40, 41),
        36: (0.0, -0.006, 0.0),
        "cheekbone": (0.0, -0.05, 0.05),
        "cheekbone_outer": (0.0, -0.04, 0.02),
        "infraorbital": (0.0, -0.03, 0.03),
    },
    7: {**_vertical(0.018, 37, 38), **_vertical(-0.018, 40, 41)},  # lid tightener
    9: {  # nose wrinkler
        **_vertical(-0.035, 31, 32),
        **_vertical(-0.020, 30, 33),
        **_vertical(-0.035, 49, 50, 51, 61, 62),
        20: (-0.02, 0.030, 0.0),
        21: (-0.02, 0.045, 0.0),
        "nose_wing": (0.02, -0.06, 0.0),
        "nose_side": (0.0, -0.03, 0.02),
        "infraorbital": (0.0, -0.03, 0.03),
        "philtrum": (0.0, -0.03, 0.0),
    },
    10: {  # upper lip raiser
        **_vertical(-0.055, 50, 51, 61, 62),
        **_vertical(-0.065, 49),
        **_vertical(-0.010, 48, 60),
        31: (0.01, -0.015, 0.0),
        "cheek": (0.0, -0.03, 0.03),
        "philtrum": (0.0, -0.03, 0.0),
    },
    12: {  # lip corner puller
        48: (0.100, -0.095, -0.03),
        60: (0.095, -0.090, -0.02),
        49: (0.055, -0.050, -0.02),
        59: (0.060, -0.050, -0.01),
        50: (0.015, -0.012, -0.01),
        61: (0.025, -0.012, 0.0),
        67: (0.025, -0.012, 0.0),
        58: (0.015, -0.015, 0.0),
        31: (0.015, -0.010, 0.0),
        4: (0.02, -0.02, 0.0),
        5: (0.02, -0.02, 0.0),
        "cheek": (0.03, -0.07, 0.05),
        "cheekbone": (0.01, -0.03, 0.04),
        "jowl": (0.04, -0.06, 0.02),
    },
    14: {  # dimpler
        48: (0.075, -0.025, -0.06),
        60: (0.070, -0.025, -0.05),
        49: (0.035, -0.010, -0.02),
        59: (0.035, -0.015, -0.02),
        "cheek": (0.02, -0.01, 0.03),
        "jowl": (0.02, -0.01, 0.02),
    },
    15: {  # lip corner depressor
        48: (0.015, 0.095, 0.0),
        60: (0.010, 0.080, 0.0),
        49: (0.005, 0.030, 0.0),
        59: (0.010, 0.060, 0.0),
        61: (0.0, 0.010, 0.0),
        67: (0.0, 0.010, 0.0),
        "jowl": (0.01, 0.04, 0.02),
    },
    17: {  # chin raiser
        **_vertical(-0.040, 57, 58, 66, 67),
        **_vertical(-0.025, 50, 51, 61, 62, 59),
        **_vertical(-0.035, 7, 8),
        "pogonion": (0.0, -0.05, 0.04),
        "chin_crease": (0.0, -0.03, -0.01),
    },
    20: {  # lip stretcher
        48: (0.100, 0.030, -0.03),
        60: (0.090, 0.030, -0.02),
        49: (0.050, 0.010, 0.0),
        59: (0.060, 0.015, 0.0),
        "jowl": (0.05, 0.02, 0.0),
    },
    23: {  # lip tightener
        48: (-0.045, 0.0, 0.0),
        60: (-0.040, 0.0, 0.0),
        **_vertical(0.028, 49, 50, 51),
        **_vertical(-0.030, 57, 58, 59),
    },
    25: {  # lips part
        **_vertical(-0.012, 50, 51, 61, 62),
        **_vertical(0.040, 66, 67),
        **_vertical(0.030, 57, 58, 59),
    },
    26: {  # jaw drop
        **_vertical(0.220, 66, 67, 57, 58),
        59: (-0.01, 0.165, 0.0),
        48: (-0.045, 0.070, 0.0),
        60: (-0.040, 0.075, 0.0),
        49: (-0.01, 0.015, 0.0),
        8: (0.0, 0.200, -0.05),
        7: (0.0, 0.195, -0.05),
        6: (-0.005, 0.175, -0.04),
        5: (-0.01, 0.130, -0.03),
        4: (-0.01, 0.070, -0.01),
        3: (-0.005, 0.025, 0.0),
        "stomion": (0.0, 0.10, -0.10),
        "chin_crease": (0.0, 0.21, -0.03),
        "pogonion": (0.0, 0.21, -0.04),
        "chin_side": (0.0, 0.19, -0.04),
        "chin_outer": (0.0, 0.15, -0.02),
        "jowl": (-0.02, 0.09, -0.02),
        "jowl_outer": (-0.02, 0.05, 0.0),
    },
}


@dataclass(frozen=True)
class Prototype:
    """The action units of an emotion, by number, with their mean intensities in [0, 1]."""

    always: Mapping[int, float]  # units in every clip
    sometimes: Mapping[int, float] = field(default_factory=dict)  # units in half of the clips
    weak_side: float = 1.0  # intensity of one half of the face over the other; below 1: one-sided


PROTOTYPES: dict[str, Prototype] = {
    "anger": Prototype({4: 1.0, 7: 0.8, 23: 0.9}, {5: 0.6, 17: 0.6}),
    "contempt": Prototype({14: 1.0}, {12: 0.45}, weak_side=0.15),
    "disgust": Prototype({9: 1.0, 10: 0.7}, {4: 0.4, 7: 0.6, 15: 0.4, 17: 0.6, 25: 0.8}),
    "fear": Prototype({1: 0.9, 2: 0.5, 4: 0.5, 5: 1.0, 20: 0.8}, {25: 0.8, 26: 0.35}),
    "happiness": Prototype({6: 0.8, 12: 1.0}, {25: 1.0, 26: 0.2}),
    "sadness": Prototype({1: 0.9, 4: 0.45, 15: 0.9}, {17: 0.7, 7: 0.4}),
    "surprise": Prototype({1: 0.9, 2: 1.0, 5: 0.9, 26: 0.85}, {25: 0.5}),
}
NUMBERS = tuple(UNITS)
UNPAIRED = (25, 26)  # units that move both halves alike, because the jaw is one bone


@lru_cache(maxsize=1)
def displacements() -> Array:
    """Give how far each half of each unit moves every point, (2 x units, points, 3).

    The right halves of all units come first. A point of the midline moves by the mean of the two
    halves.
    """
    right = np.zeros((len(UNITS), len(mean_face.points()), 3))
    left = np.zeros_like(right)
    for row, moved in enumerate(UNITS.values()):
        for point, (outwards, down, towards) in moved.items():
            right_point, left_point = _both_halves(point)
            share = 0.5 if right_point == left_point else 1.0
            right[row, right_point] = share * np.array([-outwards, down, towards])
            left[row, left_point] = share * np.array([outwards, down, towards])
    return np.concatenate([right, left])


def _both_halves(point: int | str) -> tuple[int, int]:
    """Give the rows of a point on the right half and on the left half; equal on the midline."""
    if isinstance(point, int):
        return point, mean_face.mirrored(point)
    if point in mean_face.MIDLINE_POINTS:
        return mean_face.index(point), mean_face.index(point)
    return mean_face.index(f"{point}_right"), mean_face.index(f"{point}_left")
