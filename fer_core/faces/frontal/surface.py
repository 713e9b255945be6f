"""The surface of frontal views: one shape in three dimensions that stands for all faces.

It is the project's own mean face (`reference`) or one that the user supplies with `--surface`
(`load`), brought to the mean face's axes, unit and origin. It is sampled at the pixels of the
frontal view, so that a pixel shows the same point of the surface in every face. `pose` and
`frontalize` use it, and its hash is part of the key of stored frontal views.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np

from fer_core.arrays import Array
from fer_core.errors import ConfigError
from fer_core.faces.align import CROP_PIXELS, TEMPLATE, five_points, similarity
from fer_core.faces.frontal import mean_face

# All lengths are in outer-eye distances, the unit of `mean_face`, unless they say pixels.
DISTANCE = 8.0  # from the camera to the eyes, about 70 cm; assumed, because only crops are known
CELL_PIXELS = 6.0  # of a user's surface, the foremost vertex in each square of this side is kept
BEHIND = 0.15  # a vertex this far behind the mean face is the mouth's inside or the head's back
LOPSIDED = 0.05  # a surface with a landmark farther than this from its mirror image is refused
UNLIKE = 0.15  # a root mean square distance to the mean face's landmarks that shows a wrong order
MIRRORED = [mean_face.mirrored(landmark) for landmark in range(68)]
FLIP = np.array([-1.0, 1.0, 1.0])
# Two columns are each other's mirror image if they sum to this; the template's midline is at
# 110.53.
MIRROR_SUM = round(2 * CROP_PIXELS * float(TEMPLATE[[0, 1, 3, 4], 0].mean()))
# The rows and columns of the view that hold the face; the mirror line is in their middle.
WINDOW = (slice(0, 220), slice(21, 201))
# The names of the arrays in a user's .npz file: ours, then those of ICT-FaceKit.
_BESIDE_OBJ = ".landmarks.txt"  # instead of .obj, in the name of the list of its landmarks
VERTICES, LANDMARKS = ("vertices", "neutral"), ("landmarks", "lm68")


@dataclass(frozen=True)
class Frame:
    """The frontal camera: it projects a head that looks straight at it, in perspective."""

    zoom: float  # pixels per outer-eye distance at the depth of the eyes
    origin: Array  # (2,), pixel of the point between the eyes

    def project(self, points: Array) -> Array:
        """Give the pixels (..., 2) of points (..., 3)."""
        scale = self.zoom * DISTANCE / (DISTANCE - points[..., 2:])
        pixels: Array = self.origin + scale * points[..., :2]
        return pixels

    def lift(self, pixels: Array, depth: Array) -> Array:
        """Give the points (..., 3) that are seen at pixels (..., 2) and have the depth z (...)."""
        shrink = (DISTANCE - depth[..., None]) / (self.zoom * DISTANCE)
        return np.concatenate([(pixels - self.origin) * shrink, depth[..., None]], axis=-1)


@dataclass(frozen=True, eq=False)
class Surface:
    """A symmetric face in the axes of `mean_face`, sampled at the pixels of the frontal view."""

    landmarks: Array  # (68, 3)
    frame: Frame
    points: Array  # (224, 224, 3), the point of the surface that each pixel shows
    normals: Array  # (224, 224, 3), of unit length, pointing outward
    mask: Array  # (224, 224) bool, whether a pixel shows the face; within WINDOW
    sha256: str  # hash of the points or of the file's arrays that it was made from


@lru_cache(maxsize=1)
def reference() -> Surface:
    """Make the project's own surface: the mean face's thin-plate spline within its outline."""
    frame = _frame(mean_face.landmarks())
    pixels = _pixels()
    depth = np.zeros(len(pixels))
    # Find where each pixel's ray meets the surface; a round leaves a fifth of the error.
    for _ in range(6):
        depth = mean_face.height(frame.lift(pixels, depth)[:, :2])
    sha256 = hashlib.sha256(mean_face.points().tobytes()).hexdigest()
    return _sampled(mean_face.landmarks(), frame, depth, sha256)


def load(path: Path) -> Surface:
    """Read a surface that the user supplies, in any axes and unit.

    The file is either a `.npz` with `vertices` (N, 3) and `landmarks`, which are 68 points or the
    numbers of 68 vertices; or a `.obj` beside a `.landmarks.txt` of the same name with the numbers
    of 68 vertices, counted from 0.

    Raises: ConfigError if the file is neither, or its face is not symmetric.
    """
    vertices, landmarks = _read(path)
    sha256 = hashlib.sha256(vertices.tobytes() + landmarks.tobytes()).hexdigest()
    fit = _procrustes(landmarks, mean_face.landmarks())
    vertices, landmarks = fit(vertices), fit(landmarks)
    away = landmarks - mean_face.landmarks()
    if not np.sqrt((away**2).sum(axis=1).mean()) < UNLIKE:
        raise ConfigError(f"surface {path}: its 68 landmarks form no face in iBUG's order.")
    mirror = landmarks[MIRRORED] * FLIP
    lopsided = float(np.abs(landmarks - mirror).max())
    if lopsided > LOPSIDED:
        raise ConfigError(
            f"surface {path} is not symmetric: a landmark lies {lopsided:.2f} outer-eye distances "
            f"from its mirror image; at most {LOPSIDED} is evened out."
        )
    landmarks = (landmarks + mirror) / 2
    frame = _frame(landmarks)
    vertices = vertices[vertices[:, 2] > mean_face.height(vertices[:, :2]) - BEHIND]
    if len(vertices) < 68:
        raise ConfigError(
            f"surface {path} has only {len(vertices)} vertices on its front side; at least 68 are "
            "needed."
        )
    both = np.concatenate([vertices, vertices * FLIP])
    depth = _foremost(frame.project(both), both[:, 2])
    return _sampled(landmarks, frame, depth, sha256)


def files(path: Path) -> tuple[Path, ...]:
    """Return the files of a surface: `path`, and for an `.obj` the list of its landmarks too."""
    return (path,) if path.suffix == ".npz" else (path, path.with_suffix(_BESIDE_OBJ))


def _read(path: Path) -> tuple[Array, Array]:
    """Read the vertices (N, 3) and landmarks (68, 3), in the axes and unit of the file."""
    try:
        if path.suffix == ".npz":
            with path.open("rb") as archive, np.load(archive, allow_pickle=False) as file:
                vertices, landmarks = (
                    file[next((name for name in names if name in file), names[0])]
                    for names in (VERTICES, LANDMARKS)
                )
        else:
            lines = [
                line.split()[1:4] for line in path.read_text().splitlines() if line[:2] == "v "
            ]
            vertices = np.array(lines, float)
            landmarks = np.loadtxt(path.with_suffix(_BESIDE_OBJ), dtype=int)
        vertices = vertices.astype(float).reshape(-1, 3)
        landmarks = vertices[landmarks] if landmarks.ndim == 1 else landmarks.astype(float)
        finite = np.isfinite(vertices).all() and np.isfinite(landmarks).all()
        if landmarks.shape == (68, 3) and finite:
            return vertices, landmarks
        problem = f"landmarks are {landmarks.shape} and not (68, 3), or a number is not finite"
    except (OSError, EOFError, BadZipFile, TypeError, ValueError, LookupError) as error:
        problem = f"{type(error).__name__} {error}".strip()
    raise ConfigError(
        f"surface {path} cannot be read: {problem}; it must be .npz with 'vertices' (N, 3) and "
        "'landmarks' (68), or .obj beside .landmarks.txt."
    )


def _procrustes(source: Array, target: Array) -> Callable[[Array], Array]:
    """Fit a turn, reflection, scale and shift from `source` (N, 3) to `target` in least squares."""
    centre, onto = source.mean(axis=0), target.mean(axis=0)
    left, stretch, right = np.linalg.svd((source - centre).T @ (target - onto))
    turn = left @ right * (stretch.sum() / max(((source - centre) ** 2).sum(), 1e-12))
    return lambda points: (points - centre) @ turn + onto


def _frame(landmarks: Array) -> Frame:
    """Fit the frontal camera so that the face's five points lie on the template's."""
    middle = (MIRROR_SUM / 2, 0.0)
    seen = five_points(Frame(1.0, np.zeros(2)).project(landmarks))
    matrix = similarity(seen, TEMPLATE * CROP_PIXELS)
    return Frame(float(matrix[0, 0]), np.array([middle[0], matrix[1, 2]]))


def _pixels() -> Array:
    """Give every pixel (x, y) of the frontal view, row by row."""
    rows, columns = np.mgrid[:CROP_PIXELS, :CROP_PIXELS]
    return np.column_stack([columns.ravel(), rows.ravel()]).astype(float)


def _foremost(pixels: Array, depth: Array) -> Array:
    """Interpolate the depth at every pixel between the foremost vertices; NaN beyond them."""
    from scipy.interpolate import CloughTocher2DInterpolator  # only a user's surface needs it

    order = np.argsort(-depth)
    cells = np.floor(pixels[order] / CELL_PIXELS).astype(int)
    rows = order[np.unique(cells, axis=0, return_index=True)[1]]
    return np.asarray(CloughTocher2DInterpolator(pixels[rows], depth[rows])(_pixels()))


def _sampled(landmarks: Array, frame: Frame, depth: Array, sha256: str) -> Surface:
    """Make a surface from the depth (224 * 224,) of its pixels, symmetric to the last bit."""
    side = np.arange(CROP_PIXELS)
    grid = depth.reshape(CROP_PIXELS, CROP_PIXELS)
    inside = (side <= MIRROR_SUM) & (side >= MIRROR_SUM - CROP_PIXELS + 1)
    grid = np.where(inside, (grid + grid[:, (MIRROR_SUM - side) % CROP_PIXELS]) / 2, np.nan)
    points = frame.lift(_pixels(), grid.ravel()).reshape(*grid.shape, 3)
    normals = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    outline = np.zeros(grid.shape, np.uint8)
    around = _frame(mean_face.landmarks()).project(mean_face.points()[mean_face.outline()])
    cv2.fillPoly(outline, [np.rint(around).astype(np.int32)], 1)
    mask = (outline > 0) & (outline[:, (MIRROR_SUM - side) % CROP_PIXELS] > 0)
    mask &= np.isfinite(normals).all(axis=-1)
    points, normals = (np.where(mask[..., None], part, 0.0) for part in (points, normals))
    return Surface(landmarks, frame, points, normals, mask, sha256)
