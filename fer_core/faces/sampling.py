"""Which frames of a clip a model reads."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_core.config import ClipConfig

ONSET_SHARE = 0.15  # of the greatest movement: below it an expression has not begun
APEX_SHARE = 0.95  # of it: an expression that is held has reached its apex when it gets there
SMOOTHED_FRAMES = 5  # landmarks tremble from frame to frame

Points = NDArray[np.floating]
Indices = NDArray[np.intp]


def pick(points: Points, usable: NDArray[np.bool_], clip: ClipConfig) -> Indices:
    """Pick `clip.frames` of a clip's T frames, in order; where it has too few, frames repeat.

    `points` are the landmarks (T, 68, 2), `usable` says which frames (T,) show a face, and one
    does at least: a frame that does not gives its place to the nearest one that does.
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


def _positions(total: int, clip: ClipConfig) -> NDArray[Any]:
    """Places in a clip, which may lie between its frames or beyond its ends."""
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
    """Spread over a window, both ends included; a single frame is taken from its middle."""
    if count == 1:
        first = last = (first + last) / 2
    return np.linspace(first, last, count)


def onset_and_apex(points: Points) -> tuple[int, int]:
    """Find where the landmarks (T, 68, 2) leave their first pose, and where they are farthest.

    Movement is what a turn, shift and scale of the whole face does not explain.
    """
    movement = _smooth(_movement(points))
    apex = int((movement >= APEX_SHARE * movement.max()).argmax())
    still = np.flatnonzero(movement[: apex + 1] <= ONSET_SHARE * movement[apex])
    return (int(still[-1]) if len(still) else 0), apex


def _movement(points: Points) -> NDArray[np.float64]:
    """Distance (T,) of each frame's points from the first frame's, as a share of their spread."""
    plane = np.asarray(points, np.float64) @ (1, 1j)  # (T, 68): similarity becomes one factor
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
