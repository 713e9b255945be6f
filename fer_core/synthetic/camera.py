"""How a clip is filmed: the head's pose in every frame, the light, and the projection to pixels.

`script` draws a `Shot` for each clip; `painter` and `skin` paint with it.
"""

from dataclasses import dataclass

import numpy as np

from fer_core.arrays import Array

FRAME_PIXELS = 192  # frames are square
DISTANCE = 8.0  # from the camera to the eyes, in outer-eye distances: about 70 cm
PIVOT = np.array([0.0, 0.6, -0.9])  # the point in the neck about which a head turns


@dataclass(frozen=True)
class Shot:
    """How one clip is filmed: a pose for each of T frames, and a light that stays the same."""

    rotations: Array  # (T, 3, 3), from the head's axes to the camera's
    origins: Array  # (T, 2), pixel of the point between the eyes of an unturned head
    scale: float  # pixels per outer-eye distance at the depth of the eyes
    light: Array  # (3,), unit vector towards the light, in the camera's axes
    ambient: float  # share of the light that comes from all directions, 0 to 1
    exposure: float  # factor on all light
    noise: float  # standard deviation of the sensor's noise, in levels of 0 to 255

    def project(self, frame: int, points: Array) -> Array:
        """Give the pixels (..., 2) of points (..., 3) of the head in one frame."""
        x, y, z = np.moveaxis(self.turn(frame, points), -1, 0)
        zoom = self.scale * DISTANCE / (DISTANCE - z)
        pixels: Array = np.stack([x * zoom, y * zoom], axis=-1) + self.origins[frame]
        return pixels

    def turn(self, frame: int, points: Array) -> Array:
        """Give points (..., 3) of the head in the camera's axes in one frame."""
        turned: Array = (points - PIVOT) @ self.rotations[frame].T + PIVOT
        return turned


def draw_shot(rng: np.random.Generator, frames: int) -> Shot:
    """Draw camera, light and a slowly drifting pose for a clip of `frames` frames."""
    times = np.linspace(0, 1, frames)
    spread = np.array([5.0, 3.5, 3.5])  # degrees: yaw, pitch, roll
    angles = np.clip(rng.normal(size=3), -2, 2) * spread + _drift(rng, times, 3) * 1.5
    light = np.array([rng.uniform(-0.7, 0.7), rng.uniform(-0.8, 0.0), 1.0])
    return Shot(
        rotations=np.stack([_rotation(*np.radians(row)) for row in angles]),
        origins=np.array([96.0, 74.0]) + rng.uniform(-3, 3, size=2) + _drift(rng, times, 2) * 1.5,
        scale=rng.uniform(66, 74),
        light=light / np.linalg.norm(light),
        ambient=rng.uniform(0.35, 0.6),
        exposure=rng.uniform(0.85, 1.1),
        noise=rng.uniform(1.0, 4.0),
    )


def _drift(rng: np.random.Generator, times: Array, channels: int) -> Array:
    """Draw smooth waves with values from -1 to 1, (T, channels)."""
    phases = rng.uniform(0, 2 * np.pi, size=channels)
    speeds = rng.uniform(1, 4, size=channels)
    return np.sin(phases + speeds * times[:, None])


def _rotation(yaw: float, pitch: float, roll: float) -> Array:
    """Give the matrix (3, 3) that yaws first and rolls last; angles in radians."""
    cy, sy = np.cos(yaw), np.sin(yaw)
    cp, sp = np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    rotation: Array = about_z @ about_x @ about_y
    return rotation
