"""Where the head is in every frame, how it is lit, and where its points fall in the picture."""

from dataclasses import dataclass

import numpy as np

from fer_core.arrays import Array

FRAME_PIXELS = 192  # frames are square
DISTANCE = 8.0  # from the camera to the eyes, in units of the outer-eye distance: about 70 cm
PIVOT = np.array([0.0, 0.6, -0.9])  # a head turns about its neck


@dataclass(frozen=True)
class Shot:
    """Pose in every frame, and what stays the same for the whole clip."""

    rotations: Array  # (T, 3, 3), head to camera
    origins: Array  # (T, 2), pixels of the mean eye centre of an unturned head
    scale: float  # pixels a unit at the depth of the eyes
    light: Array  # (3,), unit vector towards the light, in the camera's axes
    ambient: float  # share of light that comes from everywhere, 0 to 1
    exposure: float
    noise: float  # standard deviation of the sensor's noise, in levels of 255

    def project(self, frame: int, points: Array) -> Array:
        """Pixels (..., 2) of points (..., 3) of the head in one frame."""
        x, y, z = np.moveaxis(self.turn(frame, points), -1, 0)
        zoom = self.scale * DISTANCE / (DISTANCE - z)
        pixels: Array = np.stack([x * zoom, y * zoom], axis=-1) + self.origins[frame]
        return pixels

    def turn(self, frame: int, points: Array) -> Array:
        """Points (..., 3) of the head in the camera's axes, before projection."""
        turned: Array = (points - PIVOT) @ self.rotations[frame].T + PIVOT
        return turned


def draw_shot(rng: np.random.Generator, frames: int) -> Shot:
    """Draw camera, light and a slowly drifting pose for a clip."""
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
    """Smooth wandering with values of about one, (T, channels)."""
    phases = rng.uniform(0, 2 * np.pi, size=channels)
    speeds = rng.uniform(1, 4, size=channels)
    return np.sin(phases + speeds * times[:, None])


def _rotation(yaw: float, pitch: float, roll: float) -> Array:
    cy, sy = np.cos(yaw), np.sin(yaw)
    cp, sp = np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    rotation: Array = about_z @ about_x @ about_y
    return rotation
