"""Pick the frames of a clip that a model reads.

A config's `ClipConfig` says how many frames and by which rule. `views_stage` picks frames here for
the views that it stores, and `features` and `predict` pick the same frames for points.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_core.arrays import Points
from fer_core.config import ClipConfig

ONSET_SHARE = 0.15  # movement at the onset, as a share of the movement at the apex
APEX_SHARE = 0.95  # the apex is the first frame with this share of a clip's greatest movement
SMOOTHED_FRAMES = 5  # frames that are averaged, because landmarks tremble from frame to frame

Indices = NDArray[np.intp]


def pick(points: Points, usable: NDArray[np.bool_], clip: ClipConfig) -> Indices:
    """Pick `clip.frames` of a clip's T frames, in order; frames repeat if the clip has too few.

    `points` are the landmarks (T, 68, 2), and `usable` (T,) says which frames show a face; at least
    one must. Where the rule picks a frame without a face, the nearest frame with a face is taken.
    """
    candidates = np.flatnonzero(usable)
    if clip.sampling == "onset_apex":
        onset, apex = candidates[list(onset_and_apex(points[candidates]))]
        wanted = np.linspace(apex if clip.frames == 1 else onset, apex, clip.frames).round()
    else:
        wanted = _rounded(_positions(len(points), clip))
    distance = np.abs(candidates[None] - wanted[:, None])
    nearest: Indices = candidates[distance.argmin(axis=1)]
    return nearest


def without_points(clip: ClipConfig) -> ClipConfig:
    """Give the rule for a clip without landmarks: none of its frames is known to be the apex."""
    return replace(clip, sampling="uniform") if clip.sampling == "onset_apex" else clip


def _positions(total: int, clip: ClipConfig) -> NDArray[Any]:
    """Give positions in a clip of `total` frames; they may be fractions or beyond its ends."""
    k, last = clip.frames, total - 1
    steps = np.arange(k) * clip.stride
    positions: NDArray[Any]
    match clip.sampling:
        case "uniform":
            positions = (np.arange(k) + 0.5) / k * total - 0.5
        case "stride":
            positions = clip.start * last + steps
        case "last":
            positions = last - steps[::-1]
        case "middle":
            positions = last / 2 + steps - steps[-1] / 2
        case _:  # window
            positions = _evenly(clip.start * last, clip.end * last, k)
    return positions


def _rounded(positions: NDArray[Any]) -> Indices:
    return np.floor(positions + 0.5).astype(np.intp)


def _evenly(first: float, last: float, count: int) -> NDArray[np.float64]:
    """Spread positions over a window, both ends included; one position lies in its middle."""
    if count == 1:
        first = last = (first + last) / 2
    return np.linspace(first, last, count)


def onset_and_apex(points: Points) -> tuple[int, int]:
    """Find the frames in which an expression begins (onset) and is strongest (apex).

    The landmarks (T, 68, 2) leave their first pose at the onset and are farthest from it at the
    apex. Movement that a turn, shift or scale of the whole face explains does not count.
    """
    movement = _smooth(_movement(points))
    apex = int((movement >= APEX_SHARE * movement.max()).argmax())
    still = np.flatnonzero(movement[: apex + 1] <= ONSET_SHARE * movement[apex])
    return (int(still[-1]) if len(still) else 0), apex


def _movement(points: Points) -> NDArray[np.float64]:
    """Measure how far (T,) each frame's points are from the first's, as a share of their spread."""
    plane = np.asarray(points, np.float64) @ (1, 1j)  # (T, 68): turn and scale are one factor
    plane -= plane.mean(axis=1, keepdims=True)
    first = plane[0]
    squares = np.maximum((np.abs(plane) ** 2).sum(axis=1), 1e-12)
    factor = (plane.conj() @ first) / squares
    left = np.abs(first - factor[:, None] * plane) ** 2
    share: NDArray[np.float64] = np.sqrt(left.sum(axis=1) / squares[0])
    return share


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    width = min(SMOOTHED_FRAMES, len(values))
    padded = np.pad(values, (width // 2, (width - 1) // 2), mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")
