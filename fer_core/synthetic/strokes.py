"""Draw with soft edges and at fractions of a pixel: curves, fills, stains and lines.

`painter` and `face_parts` draw everything but the skin with these functions. A canvas is an array
(H, W, 3) uint8 RGB, or (H, W) for a mask, and is changed in place.
"""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from fer_core.arrays import Array

FRACTION_BITS = 4  # OpenCV then draws at sixteenths of a pixel
SCALE = 1 << FRACTION_BITS
ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
CIRCLE = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])


def curve(points: Array, *, closed: bool = False, steps: int = 5) -> Array:
    """Interpolate points (N, 2) by a Catmull-Rom spline (M, 2), `steps` points to a section."""
    smooth: Array = _spline(len(points), closed, steps) @ points
    return smooth


def moved(points: Array, *offset: float) -> Array:
    """Shift points (..., n) by an offset of n numbers."""
    shifted: Array = points + np.array(offset)
    return shifted


def fill(canvas: Array, outline: Array, colour: Array | float) -> None:
    """Fill an outline (N, 2) in pixels with one colour, edges anti-aliased."""
    cv2.fillPoly(canvas, [_fixed(outline)], _scalar(colour), cv2.LINE_AA, FRACTION_BITS)


def stain(
    canvas: Array, outline: Array, colour: Array, *, opacity: float = 1.0, blur: float = 0.0
) -> None:
    """Blend a colour into the canvas inside an outline (N, 2), whose edge `blur` makes soft."""
    corner, part = _box(canvas, outline, margin=2 + int(3 * blur))
    _blend(part, outline - corner, colour, opacity=opacity, blur=blur)


def line(canvas: Array, points: Array, colour: Array, *, width: float, opacity: float) -> None:
    """Draw a soft line through points (N, 2) that becomes thinner towards its ends."""
    along = np.gradient(points, axis=0)
    across = np.column_stack([-along[:, 1], along[:, 0]])
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-6
    taper = np.sin(np.pi * np.linspace(0.08, 0.92, len(points)))[:, None] * width / 2
    outline = np.concatenate([points + across * taper, (points - across * taper)[::-1]])
    stain(canvas, outline, colour, opacity=opacity, blur=0.5)


def inside(canvas: Array, outline: Array, paint: Callable[[Array, Array], None]) -> None:
    """Draw with `paint(layer, corner)` so that only what lies inside an outline appears.

    `layer` is a copy of the part of the canvas around the outline, and `corner` is the pixel of the
    canvas at which the layer begins.
    """
    corner, part = _box(canvas, outline, margin=2)
    layer = part.copy()
    paint(layer, corner)
    _blend(part, outline - corner, layer, opacity=1.0, blur=0.0)


def ellipse(centre: Array, radii: tuple[float, float]) -> Array:
    """Give the outline (24, 2) of an upright ellipse."""
    outline: Array = centre + CIRCLE * radii
    return outline


@lru_cache(maxsize=32)
def _spline(count: int, closed: bool, steps: int) -> Array:
    """Give the weights (M, count) of a Catmull-Rom spline through `count` points."""
    t = np.linspace(0, 1, steps, endpoint=False)
    basis = 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    )
    pieces = count if closed else count - 1
    weights = np.zeros((pieces * steps + (not closed), count))
    for piece in range(pieces):
        for near, share in zip(range(piece - 1, piece + 3), basis, strict=True):
            point = near % count if closed else min(max(near, 0), count - 1)
            weights[piece * steps : (piece + 1) * steps, point] += share
    if not closed:
        weights[-1, -1] = 1.0
    return weights


def _box(canvas: Array, outline: Array, *, margin: int) -> tuple[Array, Array]:
    """Give the corner and a view of the canvas around an outline; empty if it lies outside."""
    left, top, width, height = cv2.boundingRect(outline.astype(np.float32))
    low = max(left - margin, 0), max(top - margin, 0)
    high = max(left + width + margin, 0), max(top + height + margin, 0)
    return np.array(low), canvas[low[1] : high[1], low[0] : high[0]]


def _blend(part: Array, outline: Array, over: Array, *, opacity: float, blur: float) -> None:
    """Blend `over`, a colour or a picture, into a part of the canvas inside an outline."""
    if part.size == 0:
        return
    mask = np.zeros(part.shape[:2], dtype=np.uint8)
    fill(mask, outline, 255)
    soft = cv2.GaussianBlur(mask, (0, 0), blur) if blur > 0 else mask
    share = soft.astype(np.float32)[..., None] * np.float32(opacity / 255)
    part += (share * (over.astype(np.float32) - part)).round().astype(np.int16).astype(np.uint8)


def _fixed(outline: Array) -> Array:
    return (outline * SCALE).round().astype(np.int32)


def _scalar(colour: Array | float) -> tuple[float, ...]:
    return tuple(float(level) for level in np.atleast_1d(colour))
