"""Paint the parts of a face on its skin: eyes, brows, nose and mouth.

`painter` calls `paint_face_parts` in each frame. All outlines pass through the exact landmarks.
"""

import numpy as np

from fer_core.arrays import Array
from fer_core.synthetic.identity import Identity
from fer_core.synthetic.strokes import curve, ellipse, fill, inside, line, moved, stain

DARK = np.array([24.0, 16.0, 14.0])
SCLERA = np.array([228.0, 222.0, 216.0])
TEETH = np.array([232.0, 224.0, 208.0])
TONGUE = np.array([150.0, 70.0, 70.0])
IRIS_RADIUS = 0.066  # in outer-eye distances; the iris is 12 mm across
TEETH_LENGTH = 0.075  # in outer-eye distances
EYES = (range(36, 42), range(42, 48))
BROWS = (range(17, 22), range(26, 21, -1))  # from the outside in


def paint_face_parts(canvas: Array, points: Array, identity: Identity, unit: float) -> None:
    """Paint all parts of a face on a canvas (H, W, 3).

    `points` (68, 2) are the landmarks and `unit` is the outer-eye distance, both in pixels.
    """
    _paint_nose(canvas, points, identity, unit)
    for eye in EYES:
        _paint_eye(canvas, points[list(eye)], identity, unit)
    for brow in BROWS:
        _paint_brow(canvas, points[list(brow)], identity, unit)
    _paint_mouth(canvas, points, identity, unit)


def _paint_eye(canvas: Array, eye: Array, identity: Identity, unit: float) -> None:
    """Paint one eye from its six landmarks: 0 to 3 are the upper lid, 3 to 5 and 0 the lower."""
    outline = curve(eye, closed=True)
    upper, lower = curve(eye[:4]), curve(eye[[3, 4, 5, 0]])
    corners = (eye[0] + eye[3]) / 2
    centre = moved(corners, 0.0, -0.012 * unit)

    def ball(layer: Array, corner: Array) -> None:
        fill(layer, outline - corner, SCLERA)
        middle = centre - corner
        radius = IRIS_RADIUS * unit
        fill(layer, ellipse(middle, (radius, radius)), identity.iris * 0.55)
        fill(layer, ellipse(middle, (radius * 0.82, radius * 0.82)), identity.iris)
        fill(layer, ellipse(middle, (radius * 0.42, radius * 0.42)), DARK)
        glint = middle - radius * 0.35
        fill(layer, ellipse(glint, (radius * 0.18, radius * 0.18)), np.array([250.0] * 3))
        shade = np.concatenate([upper, moved(upper, 0.0, 0.022 * unit)[::-1]])
        stain(layer, shade - corner, DARK, opacity=0.45, blur=0.6)

    inside(canvas, outline, ball)
    line(canvas, upper, DARK, width=0.034 * unit, opacity=0.9)
    line(canvas, lower, identity.skin * 0.5, width=0.020 * unit, opacity=0.6)
    crease = moved(upper, 0.0, -0.045 * unit)
    line(canvas, crease, identity.skin * 0.55, width=0.022 * unit, opacity=0.5)


def _paint_brow(canvas: Array, brow: Array, identity: Identity, unit: float) -> None:
    """Paint one brow below its five landmarks, which are given from the outside in."""
    upper = curve(brow, steps=4)
    inwards = np.linspace(0, 1, len(upper))
    thickness = identity.brow_thickness * unit * (0.45 + 0.55 * np.clip(inwards * 1.6, 0, 1))
    down = np.column_stack([np.zeros_like(thickness), thickness])
    outline = np.concatenate([upper - 0.2 * down, (upper + 0.8 * down)[::-1]])
    stain(canvas, outline, identity.hair * 0.8, opacity=0.85, blur=0.8)


def _paint_nose(canvas: Array, points: Array, identity: Identity, unit: float) -> None:
    shadow = identity.skin * 0.45
    base = curve(points[31:36])
    line(canvas, moved(base, 0.0, 0.006 * unit), shadow, width=0.035 * unit, opacity=0.5)
    for inner, outer in ((32, 31), (34, 35)):
        nostril = moved(points[inner] * 0.7 + points[outer] * 0.3, 0.0, -0.018 * unit)
        stain(canvas, ellipse(nostril, (0.042 * unit, 0.020 * unit)), DARK, opacity=0.75, blur=0.7)
        wing = moved(points[outer], 0.0, -0.03 * unit)
        side = np.sign(points[outer, 0] - points[33, 0])
        bend = [[0.0, -0.055], [side * 0.022, -0.02], [side * 0.012, 0.02], [-side * 0.02, 0.035]]
        line(canvas, curve(wing + np.array(bend) * unit), shadow, width=0.026 * unit, opacity=0.5)


def _paint_mouth(canvas: Array, points: Array, identity: Identity, unit: float) -> None:
    upper = np.concatenate([curve(points[48:55], steps=4), curve(points[60:65], steps=4)[::-1]])
    lower_edge = points[[54, 55, 56, 57, 58, 59, 48]]
    inner_low = points[[64, 65, 66, 67, 60]]
    lower = np.concatenate([curve(lower_edge, steps=4), curve(inner_low, steps=4)[::-1]])
    stain(canvas, lower, identity.lips, blur=0.7)
    stain(canvas, upper, identity.lips * 0.86, blur=0.7)
    middle = (points[57] + points[66]) / 2
    gleam = ellipse(middle, (0.09 * unit, 0.018 * unit))
    stain(canvas, gleam, np.minimum(identity.lips * 1.25, 255), opacity=0.45, blur=1.2)

    hole = np.concatenate([curve(points[60:65], steps=4), curve(inner_low, steps=4)[1:-1]])
    opening = points[66, 1] - points[62, 1]

    def mouth(layer: Array, corner: Array) -> None:
        fill(layer, hole - corner, DARK * 1.6)
        tongue = ellipse(moved(points[66], 0.0, 0.02 * unit) - corner, (0.13 * unit, 0.07 * unit))
        stain(layer, tongue, TONGUE, opacity=0.8, blur=1.0)
        stain(layer, _teeth(points, unit) - corner, TEETH, opacity=0.92, blur=0.5)

    if opening > 0.02 * unit:
        inside(canvas, hole, mouth)
    else:
        seam = curve((points[60:65] + inner_low[::-1]) / 2, steps=4)
        line(canvas, seam, identity.lips * 0.35, width=0.03 * unit, opacity=0.85)
    for corner_point in (points[48], points[54]):
        spot = ellipse(corner_point, (0.02 * unit, 0.02 * unit))
        stain(canvas, spot, identity.skin * 0.4, opacity=0.4, blur=1.0)


def _teeth(points: Array, unit: float) -> Array:
    """Give the outline of the upper teeth, which hang from the upper lip and tilt as the mouth."""
    across = points[64] - points[60]
    length = min(TEETH_LENGTH * unit, 0.75 * (points[66, 1] - points[62, 1]))
    row = ellipse(points[62], (0.42 * float(np.hypot(*across)), float(length)))
    row[:, 1] += (row[:, 0] - points[62, 0]) * across[1] / across[0]
    return row
