"""Render the skin: its shape in every frame, its texture, its folds and the light on it.

`painter` makes a `Skin` for each clip. Shape, texture and light are stored on lattices over the
frontal mean face. A face bends the lattice in space, and the camera projects the bent lattice into
the picture. The inverse of this map says which place of the skin each pixel shows.
"""

from functools import lru_cache

import cv2
import numpy as np

from fer_core.arrays import Array
from fer_core.faces.frontal import mean_face
from fer_core.synthetic.action_units import NUMBERS
from fer_core.synthetic.camera import FRAME_PIXELS
from fer_core.synthetic.identity import Identity
from fer_core.synthetic.script import Script

LATTICE = 48  # nodes in each direction for shape and light
TEXTURE = 192  # texels in each direction
LEFT, TOP, WIDTH, HEIGHT = -0.95, -1.30, 1.90, 2.90  # the lattice's place on the mean face
# Fixed-point steps of the inverse; they leave errors of 0.05 pixels in the median and 0.4 pixels at
# the 90th percentile.
INVERSIONS = 4
SHININESS = 0.10  # strength of the gloss

Window = tuple[slice, slice]  # rows and columns of the picture
# Folds of the right half: (line on the mean face, breadth, depth at rest, units that deepen it).
Fold = tuple[tuple[tuple[float, float], ...], float, float, dict[int, float]]
FOLDS: tuple[Fold, ...] = (
    (
        ((-0.17, 0.38), (-0.26, 0.50), (-0.35, 0.66), (-0.37, 0.80)),
        0.035,
        0.14,
        {12: 0.35, 10: 0.25, 9: 0.25, 6: 0.1, 14: 0.1},
    ),
    (((-0.53, -0.03), (-0.64, -0.09)), 0.020, 0.0, {6: 0.3}),
    (((-0.54, 0.02), (-0.66, 0.02)), 0.020, 0.0, {6: 0.35}),
    (((-0.52, 0.06), (-0.63, 0.11)), 0.020, 0.0, {6: 0.3}),
    (((-0.47, 0.10), (-0.35, 0.14), (-0.22, 0.09)), 0.035, 0.16, {6: 0.2, 7: 0.15}),
    (((-0.06, -0.30), (-0.055, -0.12)), 0.030, 0.05, {4: 0.4}),
    (((-0.42, -0.50), (-0.20, -0.53), (0.0, -0.52)), 0.025, 0.03, {1: 0.2, 2: 0.1}),
    (((-0.38, -0.64), (-0.20, -0.66), (0.0, -0.65)), 0.025, 0.03, {1: 0.15, 2: 0.15}),
    (((-0.11, 0.00), (0.0, 0.03)), 0.022, 0.0, {9: 0.3}),
    (((-0.12, 0.08), (0.0, 0.10)), 0.022, 0.0, {9: 0.3}),
    (((-0.36, 0.69), (-0.375, 0.80)), 0.040, 0.05, {14: 0.5, 12: 0.1}),
    (((-0.33, 0.80), (-0.39, 0.92)), 0.045, 0.05, {15: 0.35}),
    (((-0.16, 0.96), (0.0, 0.925)), 0.045, 0.20, {17: 0.35, 15: 0.1}),
    (((-0.165, 0.33), (-0.195, 0.41), (-0.155, 0.47)), 0.030, 0.28, {9: 0.25, 10: 0.2}),
    (((-0.40, -0.13), (-0.28, -0.13), (-0.20, -0.07)), 0.050, 0.16, {4: 0.2}),
    (((-0.13, 0.51), (0.0, 0.54)), 0.040, 0.18, {}),
    (((-0.025, 0.54), (-0.03, 0.62)), 0.025, 0.10, {}),
)


class Skin:
    """The skin of one person, which can be rendered in any frame of a clip."""

    def __init__(self, identity: Identity, rng: np.random.Generator) -> None:
        self.texture = _texture(identity, rng)  # (TEXTURE, TEXTURE, 3) float32 RGB
        self.wrinkles = identity.wrinkles

    def render(self, script: Script, frame: int, window: Window) -> tuple[Array, Array]:
        """Give the unlit colour (h, w, 3) and the light (h, w) in a window of the picture."""
        shape = lattice_weights() @ script.points[frame][mean_face.controls()]
        seen = script.shot.project(frame, shape)
        nodes = _inverse(seen, _pixels()[window])
        light = _light(script, script.shot.turn(frame, shape))
        folds = self._folds(script.units[frame])
        texels = (nodes + 0.5) * (TEXTURE / LATTICE) - 0.5
        colour = _sample(self.texture, texels)
        lit = _sample(light, nodes)
        bare = _sample(folds, texels)
        return colour, lit * bare

    def _folds(self, units: Array) -> Array:
        """Give the share of the light that the folds leave, (TEXTURE, TEXTURE)."""
        at_rest, driven = _fold_depths()
        depths = at_rest * (0.6 + 0.8 * self.wrinkles) + units @ driven.T  # (2, folds)
        both = np.tensordot(depths.ravel().astype(np.float32), fold_masks(), axes=1)
        left: Array = np.exp(-both)
        return left


@lru_cache(maxsize=1)
def lattice_weights() -> Array:
    """Give weights (LATTICE**2, controls) from control points to the nodes, row by row."""
    weights: Array = mean_face.interpolation(_places(LATTICE)).astype(np.float32)
    return weights


@lru_cache(maxsize=1)
def fold_masks() -> Array:
    """Give where each fold darkens the texture, (2 x folds, TEXTURE, TEXTURE).

    The folds of the right half come first, then those of the left.
    """
    right = np.stack([_fold_mask(line, breadth) for line, breadth, _, _ in FOLDS])
    return np.concatenate([right, right[:, :, ::-1]])


def _fold_mask(line: tuple[tuple[float, float], ...], breadth: float) -> Array:
    pixels = _texels(np.array(line))
    mask = np.zeros((TEXTURE, TEXTURE), dtype=np.float32)
    thick = max(1, round(breadth * TEXTURE / WIDTH * 0.5))
    cv2.polylines(mask, [pixels.round().astype(np.int32)], False, 1.0, thick)
    sigma = breadth * TEXTURE / np.array([WIDTH, HEIGHT]) * 0.6
    soft = cv2.GaussianBlur(mask, (0, 0), sigmaX=sigma[0], sigmaY=sigma[1])
    peak: Array = soft / soft.max()
    return peak


@lru_cache(maxsize=1)
def _fold_depths() -> tuple[Array, Array]:
    """Give the folds' depths in a neutral face, (folds,), and by action unit, (folds, units)."""
    driven = np.array([[by.get(unit, 0.0) for unit in NUMBERS] for _, _, _, by in FOLDS])
    return np.array([rest for _, _, rest, _ in FOLDS]), driven


def _light(script: Script, surface: Array) -> Array:
    """Compute the light at each node, (LATTICE, LATTICE) float32: Lambert and a little gloss."""
    grid = surface.reshape(LATTICE, LATTICE, 3)
    normals = np.cross(np.gradient(grid, axis=1), np.gradient(grid, axis=0))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
    shot = script.shot
    facing = np.clip(normals @ shot.light, 0, 1)
    halfway = shot.light + np.array([0.0, 0.0, 1.0])
    gloss = np.clip(normals @ (halfway / np.linalg.norm(halfway)), 0, 1) ** 24
    light = shot.ambient + (1.15 - shot.ambient) * facing + SHININESS * gloss
    smooth: Array = cv2.GaussianBlur(light.astype(np.float32) * shot.exposure, (0, 0), 0.7)
    return smooth


def _inverse(seen: Array, pixels: Array) -> Array:
    """Find the fractional column and row of the node that each pixel shows, (h, w, 2) float32.

    The map from nodes to pixels is an affine map plus a small rest. A fixed-point iteration inverts
    it: the affine map is inverted, and the rest at the place found so far is subtracted.
    """
    linear, offset = _affine(seen)
    rest = (seen - (_nodes() @ linear + offset)).reshape(LATTICE, LATTICE, 2).astype(np.float32)
    inverse = np.linalg.inv(linear).astype(np.float32)
    first = (pixels - offset.astype(np.float32)) @ inverse
    correction = np.ascontiguousarray(rest @ inverse)
    found = first
    for _ in range(INVERSIONS):
        found = first - _sample(correction, found)
    return found


def _sample(field: Array, where: Array) -> Array:
    """Interpolate a field at fractional columns and rows (h, w, 2)."""
    columns, rows = cv2.split(where)
    return cv2.remap(field, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _affine(seen: Array) -> tuple[Array, Array]:
    solved = _affine_solver() @ seen
    return solved[:2], solved[2]


@lru_cache(maxsize=1)
def _affine_solver() -> Array:
    nodes = _nodes()
    return np.linalg.pinv(np.column_stack([nodes, np.ones(len(nodes))]))


@lru_cache(maxsize=1)
def _nodes() -> Array:
    rows, columns = np.divmod(np.arange(LATTICE**2), LATTICE)
    return np.column_stack([columns, rows]).astype(float)


@lru_cache(maxsize=1)
def _pixels() -> Array:
    rows, columns = np.mgrid[:FRAME_PIXELS, :FRAME_PIXELS]
    return np.stack([columns, rows], axis=-1).astype(np.float32)


def _places(size: int) -> Array:
    """Give the places on the frontal mean face of size x size cell centres, (size**2, 2)."""
    steps = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(LEFT + WIDTH * steps, TOP + HEIGHT * steps)
    return np.column_stack([x.ravel(), y.ravel()])


def _texels(places: Array) -> Array:
    """Convert places on the frontal mean face (..., 2) to fractional texels."""
    steps = (places - [LEFT, TOP]) / [WIDTH, HEIGHT]
    pixels: Array = steps * TEXTURE - 0.5
    return pixels


def _texture(identity: Identity, rng: np.random.Generator) -> Array:
    """Paint the unlit skin: mottled, with redness in cheeks and nose, and stubble."""
    texture = np.broadcast_to(identity.skin, (TEXTURE, TEXTURE, 3)).astype(np.float32).copy()
    for sigma, depth in ((1.0, 0.02), (4.0, 0.025), (14.0, 0.03)):
        noise = cv2.GaussianBlur(
            rng.standard_normal((TEXTURE, TEXTURE), dtype=np.float32), (0, 0), sigma
        )
        texture *= 1 + depth * (noise / noise.std())[..., None]
    blood = _blob(-0.42, 0.3, 0.2) + _blob(0.42, 0.3, 0.2) + _blob(0, 0.34, 0.1)
    texture *= 1 - blood[..., None] * rng.uniform(0.3, 1.0) * np.array([0.02, 0.14, 0.12])
    shadow = np.clip(_blob(0, 0.98, 0.36) + _blob(-0.5, 0.95, 0.25) + _blob(0.5, 0.95, 0.25), 0, 1)
    shadow += _blob(0, 0.58, 0.14)
    grain = rng.uniform(0.6, 1.0, size=(TEXTURE, TEXTURE))
    texture *= 1 - (identity.stubble * 0.28 * shadow * grain)[..., None]
    return texture.astype(np.float32)


def _blob(x: float, y: float, radius: float) -> Array:
    """Give a soft round spot of height 1 on the texture, (TEXTURE, TEXTURE)."""
    squared = ((_places(TEXTURE) - [x, y]) ** 2).sum(axis=1) / radius**2
    soft: Array = np.exp(-squared).reshape(TEXTURE, TEXTURE)
    return soft
