"""Draw who is filmed: the shape of a head, its colours, its hair and its expressiveness.

`script` draws one `Identity` per subject; the painting modules read it. Shapes are variations of
the mean face.
"""

from dataclasses import dataclass

import numpy as np

from fer_core.arrays import Array
from fer_core.faces.frontal import mean_face


@dataclass(frozen=True)
class Identity:
    """One person. Colours are RGB from 0 to 255."""

    points: Array  # the neutral face, in the order of `mean_face.points()`
    skin: Array
    hair: Array
    lips: Array
    iris: Array
    brow_thickness: float  # in outer-eye distances
    hair_volume: float  # thickness of the hair around the head, in outer-eye distances
    fringe: float  # how far the hair comes down over the forehead, 0 to 1
    long_hair: bool
    stubble: float  # how dark the beard's shadow is, 0 to 1
    wrinkles: float  # how deep the folds are in a neutral face, 0 to 1
    expressiveness: float  # factor on the intensities of all action units


@dataclass(frozen=True)
class Mode:
    """One way in which faces differ: parts are shifted, and stretched about their own centres.

    Shift, stretch and tilt are one standard deviation: x outwards, y down, z towards the camera.
    """

    parts: tuple[tuple[int, ...], ...]  # rows of `mean_face.points()` for each part
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    stretch: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tilt: float = 0.0  # change of y per change of x outwards


EYES = (tuple(range(36, 42)), tuple(range(42, 48)))
BROWS = (tuple(range(17, 22)), tuple(range(22, 27)))
NOSE = (
    (*range(28, 36), *(mean_face.index(f"nose_{n}") for n in ("side_right", "side_left"))),
    (mean_face.index("nose_wing_right"), mean_face.index("nose_wing_left")),
)
NOSE_BASE = ((*range(29, 36), *NOSE[1]),)
MOUTH = (tuple(range(48, 68)),)
JAW = ((*range(2, 15), *(mean_face.index(f"jowl_outer_{s}") for s in ("right", "left"))),)
CHIN = (
    (
        *range(5, 12),
        *(mean_face.index(n) for n in ("pogonion", "chin_crease")),
        *(mean_face.index(f"chin_{n}") for n in ("side_right", "side_left")),
        *(mean_face.index(f"chin_{n}") for n in ("outer_right", "outer_left")),
    ),
)
CHEEKS = tuple(
    tuple(mean_face.index(f"{n}_{s}") for n in ("cheekbone", "cheekbone_outer", "cheek"))
    for s in ("right", "left")
)
ALL = (tuple(range(len(mean_face.points()))),)

MODES = (
    Mode(ALL, stretch=(0.035, 0.0, 0.0)),
    Mode(ALL, stretch=(0.0, 0.03, 0.0)),
    Mode(ALL, stretch=(0.0, 0.0, 0.10)),
    Mode(JAW, stretch=(0.05, 0.0, 0.0)),
    Mode(CHIN, shift=(0.0, 0.035, 0.0), stretch=(0.06, 0.0, 0.0)),
    Mode(CHIN, shift=(0.0, 0.0, 0.04)),
    Mode(CHEEKS, shift=(0.02, 0.0, 0.03)),
    Mode(EYES, shift=(0.015, 0.0, 0.0)),
    Mode(EYES, shift=(0.0, 0.012, 0.0), stretch=(0.05, 0.14, 0.0)),
    Mode(EYES, tilt=0.06),
    Mode(BROWS, shift=(0.0, 0.022, 0.0)),
    Mode(BROWS, shift=(0.010, 0.0, 0.0), tilt=0.06),
    Mode(NOSE, stretch=(0.11, 0.0, 0.0)),
    Mode(NOSE_BASE, shift=(0.0, 0.022, 0.03)),
    Mode(MOUTH, shift=(0.0, 0.015, 0.0)),
    Mode(MOUTH, stretch=(0.07, 0.0, 0.0)),
    Mode(MOUTH, stretch=(0.0, 0.16, 0.0)),
)
# The standard deviation of each landmark's own offset, because no face is exactly symmetric.
ASYMMETRY = 0.004

SKINS = ((244, 208, 184), (230, 186, 156), (214, 168, 132), (186, 138, 104), (150, 106, 80))
HAIRS = ((28, 22, 20), (52, 34, 24), (84, 56, 34), (122, 86, 50), (168, 132, 84), (110, 106, 104))
IRISES = ((62, 40, 26), (84, 58, 34), (70, 92, 120), (84, 104, 72))
LIP_TINT = (0.82, 0.58, 0.58)


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draw a person."""
    weights = np.clip(rng.normal(size=len(MODES)), -2.2, 2.2)
    points = mean_face.points() + sum(
        weight * _moved(mode) for weight, mode in zip(weights, MODES, strict=True)
    )
    points[:68, :2] += rng.normal(scale=ASYMMETRY, size=(68, 2))
    skin = _between(rng, SKINS)
    fair = skin.mean() / 210
    return Identity(
        points=points,
        skin=skin,
        hair=np.array(HAIRS[rng.integers(2 if fair < 0.7 else len(HAIRS))]) * rng.uniform(0.8, 1.2),
        lips=skin * LIP_TINT * rng.uniform(0.88, 1.04),
        iris=np.array(IRISES[rng.integers(2 if fair < 0.7 else len(IRISES))], dtype=float),
        brow_thickness=rng.uniform(0.05, 0.085),
        hair_volume=rng.uniform(0.05, 0.16),
        fringe=rng.uniform(0.0, 0.8),
        long_hair=bool(rng.random() < 0.5),
        stubble=max(0.0, rng.uniform(-1.0, 1.0)),
        wrinkles=rng.uniform(0.1, 0.8),
        expressiveness=rng.uniform(0.75, 1.1),
    )


def _moved(mode: Mode) -> Array:
    """Give how far a mode moves each point of the mean face at one standard deviation."""
    mean = mean_face.points()
    moved = np.zeros_like(mean)
    for part in mode.parts:
        rows = list(part)
        centre = mean[rows].mean(axis=0)
        side = 0.0 if abs(centre[0]) < 1e-9 else np.sign(centre[0])
        offset = mean[rows] - centre
        moved[rows] += offset * mode.stretch + np.array(mode.shift) * (side, 1.0, 1.0)
        moved[rows, 1] += mode.tilt * side * offset[:, 0]
    return moved


def _between(rng: np.random.Generator, palette: tuple[tuple[int, int, int], ...]) -> Array:
    """Draw a colour between two neighbours of a palette."""
    place = rng.uniform(0, len(palette) - 1)
    colours = np.array(palette, dtype=float)
    below = int(place)
    mixed: Array = colours[below] + (place - below) * (colours[below + 1] - colours[below])
    return mixed
