"""Paint the frames of a clip, from the back to the front.

The order is background, body, the lit skin with the parts of the face, hair, and the sensor's
noise. `writing` calls `paint_clip` for each script.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from fer_core.arrays import Array
from fer_core.faces.frontal import mean_face
from fer_core.synthetic.camera import FRAME_PIXELS
from fer_core.synthetic.face_parts import paint_face_parts
from fer_core.synthetic.script import Script
from fer_core.synthetic.skin import Skin
from fer_core.synthetic.strokes import curve, fill, inside, moved, stain

EAR = ((-0.79, -0.12), (-0.88, -0.16), (-0.93, -0.06), (-0.90, 0.12), (-0.85, 0.30), (-0.78, 0.32))
EAR_DEPTH = -0.60
NECK = ((-0.50, 0.85), (-0.48, 1.35), (-0.62, 1.75), (0.62, 1.75), (0.48, 1.35), (0.50, 0.85))
NECK_DEPTH = -0.5
SHOULDERS = ((-1.9, 2.3), (-1.6, 1.75), (-0.55, 1.52), (0.55, 1.52), (1.6, 1.75), (1.9, 2.3))
LONG_HAIR = ((-0.95, -0.4), (-1.05, 0.4), (-1.0, 1.5), (1.0, 1.5), (1.05, 0.4), (0.95, -0.4))
HEAD_CENTRE = np.array([0.0, -0.1, -0.4])


@dataclass(frozen=True)
class Scenery:
    """What the picture shows apart from the head; it stays the same for a whole clip."""

    background: Array  # (H, W, 3) uint8 RGB
    shirt: Array  # (3,), the shirt's colour


def paint_clip(script: Script) -> Iterator[Array]:
    """Yield the frames of a clip, (H, W, 3) uint8 RGB."""
    skin, scenery = _surroundings(script)
    for frame in range(len(script.points)):
        yield _paint_frame(script, frame, skin, scenery)


def paint_frame(script: Script, frame: int) -> Array:
    """Paint one frame of a clip, (H, W, 3) uint8 RGB; its noise is not that of `paint_clip`."""
    return _paint_frame(script, frame, *_surroundings(script))


def _surroundings(script: Script) -> tuple[Skin, Scenery]:
    skin = Skin(script.identity, script.rng)
    return skin, Scenery(_background(script.rng), script.rng.uniform(20, 220, size=3))


def _paint_frame(script: Script, frame: int, skin: Skin, scenery: Scenery) -> Array:
    canvas = scenery.background.copy()
    _paint_body(canvas, script, frame, scenery)
    _paint_face(canvas, script, frame, skin)
    _paint_hair(canvas, script, frame)
    noise = script.rng.standard_normal(canvas.shape[:2], dtype=np.float32)[..., None]
    return _levels(canvas + noise * script.shot.noise)


def _paint_body(canvas: Array, script: Script, frame: int, scenery: Scenery) -> None:
    """Paint what lies behind the face: long hair, shoulders, neck and ears."""
    identity, shot = script.identity, script.shot
    lit = shot.exposure * (0.55 + 0.35 * shot.ambient)
    if identity.long_hair:
        mane = _flat(LONG_HAIR, -0.8)
        stain(canvas, curve(shot.project(frame, mane), closed=True), identity.hair * lit, blur=1.0)
    fill(canvas, shot.project(frame, _flat(SHOULDERS, -0.7)), scenery.shirt * lit)
    neck = curve(shot.project(frame, _flat(NECK, NECK_DEPTH)), closed=True)
    stain(canvas, neck, identity.skin * lit, blur=0.6)
    chin = moved(script.points[frame][3:14], 0.0, 0.10, 0.0)
    below = curve(shot.project(frame, chin), closed=True)

    def shade(layer: Array, corner: Array) -> None:
        stain(layer, below - corner, identity.skin * lit * 0.45, opacity=0.7, blur=2.5)

    inside(canvas, neck, shade)
    widen = np.abs(identity.points[[0, 16], 0]).mean() / 0.80
    for side in (-1.0, 1.0):
        ear = _flat(EAR, EAR_DEPTH) * [-side * widen, 1.0, 1.0]
        stain(canvas, curve(shot.project(frame, ear), closed=True), identity.skin * lit, blur=0.6)


def _paint_face(canvas: Array, script: Script, frame: int, skin: Skin) -> None:
    """Paint the skin and the parts of the face, then light them together."""
    points, shot = script.points[frame], script.shot
    outline = curve(shot.project(frame, points[mean_face.outline()]), closed=True, steps=3)
    low = np.clip(np.floor(outline.min(axis=0)).astype(int) - 3, 0, FRAME_PIXELS - 1)
    high = np.ceil(outline.max(axis=0)).astype(int) + 4
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    colour, light = skin.render(script, frame, window)
    bare = _levels(colour)
    landmarks = shot.project(frame, points[:68]) - low
    paint_face_parts(bare, landmarks, script.identity, shot.scale)
    mask = np.zeros(light.shape, dtype=np.uint8)
    fill(mask, outline - low, 255)
    share = cv2.GaussianBlur(mask, (0, 0), 0.6).astype(np.float32)[..., None] / 255
    behind = canvas[window]
    lit = np.clip(bare * light[..., None], 0, 255)
    behind[:] = (behind + share * (lit - behind)).round()


def _paint_hair(canvas: Array, script: Script, frame: int) -> None:
    """Paint a cap of hair that reaches down to the hairline."""
    identity, shot = script.identity, script.shot
    arc = identity.points[mean_face.outline()[17:]]  # from the left temple to the right
    away = arc - HEAD_CENTRE
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    outer = arc + away * identity.hair_volume
    outer = np.concatenate([moved(arc[:1], 0.03, 0.2, 0), outer, moved(arc[-1:], -0.03, 0.2, 0)])
    height = np.sin(np.linspace(0, np.pi, len(arc)))[:, None]  # 0 at the temples, 1 at the top
    inner = arc * [0.97, 1.0, 1.0] + height * np.array([0.0, 0.10 + 0.30 * identity.fringe, 0.25])
    inner = np.concatenate([moved(arc[:1], -0.02, 0.2, 0), inner, moved(arc[-1:], 0.02, 0.2, 0)])
    lit = shot.exposure * (0.6 + 0.4 * shot.ambient)
    cap = np.concatenate(
        [curve(shot.project(frame, outer)), curve(shot.project(frame, inner))[::-1]]
    )
    stain(canvas, cap, identity.hair * lit, blur=1.2)
    crown = shot.project(frame, (outer[3:-3] + inner[3:-3]) / 2)
    gleam = np.concatenate([curve(moved(crown, 0, -2)), curve(moved(crown, 0, 2))[::-1]])
    stain(canvas, gleam, np.minimum(identity.hair * lit * 1.5 + 12, 255), opacity=0.5, blur=2.5)


def _background(rng: np.random.Generator) -> Array:
    """Draw a blurred room: a wall with a gradient and a few things on it."""
    wall = rng.uniform(70, 210) + rng.uniform(-25, 25, size=3)
    slope = rng.uniform(-0.25, 0.25, size=2)
    y, x = np.mgrid[-0.5 : 0.5 : FRAME_PIXELS * 1j, -0.5 : 0.5 : FRAME_PIXELS * 1j]
    picture = (wall * (1 + slope[0] * x + slope[1] * y)[..., None]).astype(np.float32)
    for _ in range(rng.integers(0, 5)):
        first, second = rng.uniform(-20, FRAME_PIXELS, size=(2, 2)).astype(int)
        colour = np.clip(wall + rng.uniform(-60, 60, size=3), 0, 255)
        cv2.rectangle(picture, first.tolist(), second.tolist(), colour.tolist(), -1)
    picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(1.5, 5.0)))
    return _levels(picture)


def _flat(outline: tuple[tuple[float, float], ...], depth: float) -> Array:
    """Give the points (N, 3) of an outline that stands upright at one depth."""
    return np.column_stack([np.array(outline), np.full(len(outline), depth)])


def _levels(picture: Array) -> Array:
    """Round a picture to the levels 0 to 255 (uint8)."""
    levels: Array = np.clip(picture, 0, 255).round().astype(np.uint8)
    return levels
