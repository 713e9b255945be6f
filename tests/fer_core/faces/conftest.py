"""The ICT face model as a fixture, with a software renderer: a head under a known pose and light.

The mesh is brought to the axes of `mean_face` by its eye corners alone, so that its own frontal
direction stays what its authors made it.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import pytest

from fer_core.faces.frontal.surface import DISTANCE

PIXELS, ZOOM, ORIGIN = 320, 110.0, (160.0, 130.0)
BACKGROUND = (90, 110, 130)
FLIP = np.array([1.0, -1.0, 1.0])  # the mesh's y points upwards


@dataclass(frozen=True)
class Model:
    """The mesh in outer-eye distances, x right, y down, z towards the camera."""

    neutral: np.ndarray  # (V, 3)
    identity: np.ndarray  # (100, V, 3)
    expression: np.ndarray  # (57, V, 3)
    quads: np.ndarray  # (Q, 4)
    landmarks: np.ndarray  # (68,) rows
    names: list[str]  # of the expressions
    texture: np.ndarray  # (V, 3) RGB

    def face(self, rng=None, **expressions):
        """Vertices of a random person, or of the mean one, with an expression."""
        vertices = self.neutral.copy()
        if rng is not None:
            weights = np.clip(rng.normal(size=len(self.identity)), -2, 2)
            vertices += np.tensordot(weights, self.identity, axes=1)
        for name, weight in expressions.items():
            for side in ("", "_L", "_R"):
                if name + side in self.names:
                    vertices += weight * self.expression[self.names.index(name + side)]
        return vertices

    def grimace(self, rng):
        """Draw an expression for `face`."""
        names = ("mouthSmile", "jawOpen", "browInnerUp", "eyeBlink")
        return {name: rng.uniform(0, 0.8) for name in names}

    def turn(self, yaw, pitch, roll=0.0):
        """Rotation from the head to the camera for angles in degrees, signed as in the renderer."""
        return rotation(yaw, pitch, roll)

    def points(self, vertices, turn):
        """Exact landmarks (68, 2) in pixels."""
        return project(vertices[self.landmarks], turn)[:, :2].astype(np.float32)

    def render(self, vertices, turn, *, light=None):
        """Paint (320, 320, 3) uint8 RGB from the back to the front, over a plain background.

        Without a light the colours are the texture's, so that two poses differ by geometry alone.
        """
        pixels = project(vertices, turn)
        corners = pixels[self.quads]  # (Q, 4, 3)
        a, b = corners[:, 2, :2] - corners[:, 0, :2], corners[:, 3, :2] - corners[:, 1, :2]
        front = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
        order = np.argsort(corners[:, :, 2].mean(axis=1))
        order = order[front[order] < 0]  # what winds anticlockwise faces the camera
        colours = self.texture[self.quads].mean(axis=1)
        if light is not None:
            colours = colours * _shade(vertices, self.quads, turn, light)[:, None]
        image = np.full((PIXELS * 2, PIXELS * 2, 3), BACKGROUND, np.uint8)  # twice as fine
        shapes = np.rint((corners[..., :2] * 2 + 0.5) * 16).astype(np.int32)
        for quad in order:
            cv2.fillConvexPoly(image, shapes[quad], colours[quad].tolist(), shift=4)
        return cv2.resize(image, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="session")
def ict(shared_data):
    with np.load(shared_data / "surface" / "ict_face.npz") as file:
        neutral = file["neutral"].astype(float) * FLIP
        right, left = neutral[file["lm68"][[36, 45]]]
        unit = np.linalg.norm(left - right)
        quads, rows = file["quads"], file["lm68"]
        neutral = (neutral - (left + right) / 2) / unit
        return Model(
            neutral=neutral,
            identity=file["identity"].astype(np.float32) * FLIP / unit,
            expression=file["expression"].astype(np.float32) * FLIP / unit,
            quads=quads,
            landmarks=rows,
            names=[str(n) for n in file["expr_names"]],
            texture=_texture(neutral, neutral[rows]),
        )


def rotation(yaw, pitch, roll):
    """Head to camera, degrees; written apart from the product's, about axes in the same order."""
    turns = []
    for axis, angle in ((2, roll), (0, pitch), (1, yaw)):
        vector = np.zeros(3)
        vector[axis] = np.radians(angle)
        turns.append(cv2.Rodrigues(vector)[0])
    return turns[0] @ turns[1] @ turns[2]


def project(vertices, turn):
    """Pixels and depth (V, 3) of a head that turns about the point between its eyes."""
    turned = vertices @ turn.T
    scale = ZOOM * DISTANCE / (DISTANCE - turned[:, 2:])
    return np.column_stack([turned[:, :2] * scale + ORIGIN, turned[:, 2]])


def _shade(vertices, quads, turn, light):
    corners = (vertices @ turn.T)[quads]
    normals = np.cross(corners[:, 3] - corners[:, 1], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return 0.45 + 0.6 * np.clip(normals @ (np.array(light) / np.linalg.norm(light)), 0, 1)


def _texture(vertices, landmarks):
    """Skin that is warm and mottled, with brows, lips, eyes and nostrils; symmetric in x."""
    x, y = np.abs(vertices[:, 0]), vertices[:, 1]
    tint = 1 + 0.06 * np.sin(9 * x + 1) * np.cos(7 * y) + 0.10 * np.cos(2.2 * y) - 0.12 * x
    colours = np.array([205.0, 160.0, 135.0]) * tint[:, None]
    cheeks = np.exp(-((x - 0.48) ** 2 + (y - 0.4) ** 2) / 0.03)[:, None]
    colours += cheeks * [20, -15, -12]
    half = landmarks * [-1, 1, 1]  # the person's right half, with positive x
    front = vertices[:, 2] > -0.25

    def paint(rows, colour, width):
        line = half[rows][:, :2]
        far = np.full(len(x), np.inf)
        for start, end in pairwise(line):
            step = end - start
            along = np.clip(
                ((x - start[0]) * step[0] + (y - start[1]) * step[1]) / (step @ step + 1e-9), 0, 1
            )
            far = np.minimum(
                far, np.hypot(x - start[0] - along * step[0], y - start[1] - along * step[1])
            )
        share = np.clip(1.5 - far / width, 0, 1)[:, None] * front[:, None]
        colours[:] = colours * (1 - share) + share * np.array(colour)

    paint([17, 18, 19, 20, 21], (60, 42, 35), 0.035)
    paint([48, 49, 50, 51], (165, 75, 75), 0.03)
    paint([48, 59, 58, 57], (170, 80, 80), 0.035)
    paint([48, 60, 61, 62], (110, 45, 45), 0.012)
    paint([36, 37, 38, 39], (45, 30, 28), 0.018)
    paint([36, 41, 40, 39], (90, 60, 55), 0.012)
    paint([31, 32, 33], (115, 70, 60), 0.014)
    return np.clip(colours, 0, 255)
