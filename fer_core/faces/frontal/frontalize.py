"""Make frontal views: show turned faces from the front, and fill in the half that was hidden.

`faces.views` offers them under three names. The method is that of Hassner, Harel, Paz and Enbar
2015, https://arxiv.org/abs/1411.7964: one unmodified surface serves all faces, and a pixel of the
frontal view takes its colour from the image, at the place where the face's pose puts the pixel's
point of the surface. To find what is hidden, the paper counts how many pixels of the view fall into
one pixel of the image, and it blends whole halves. Here visibility is computed from the surface,
pixel by pixel, so a face that is fully visible is left exactly as it is.

Symmetry copies one half of a face onto the other, so it erases one-sided expressions (contempt).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fer_core.arrays import Array, Image, Points
from fer_core.faces.align import CROP_PIXELS
from fer_core.faces.frontal.pose import Pose, estimate
from fer_core.faces.frontal.surface import DISTANCE, WINDOW, Surface

Symmetry = Literal["none", "soft", "conditional"]

BATCH = {"cpu": 4, "cuda": 64}  # faces at once: a few fit into a CPU's cache, many fill a GPU
COARSE = 5  # visibility is computed at every fifth pixel
# The visibility of a patch of skin is its area in the image over its area from the front. A patch
# is replaced fully up to the first value of HIDDEN, and not at all from the second. BETTER says by
# how much better its mirror image must be visible: not at all, and fully. Both were chosen by PSNR
# on renderings of the ICT model, which changes by 0.3 dB for HIDDEN from (0.2, 0.6) to (0.5, 0.65).
HIDDEN, BETTER = (0.4, 0.65), (0.0, 0.2)
# The least z of a normal, which limits its tilt to 60 degrees. Without it, a sliver at the outline
# would count as hidden in every face that is not quite frontal.
UPRIGHT = 0.5
# A point is hidden if another part of the face rises above the line of sight to it. RISEN says by
# how much, in outer-eye distances: fully visible at the first value, hidden from the second. The
# line is checked at LOOKS places up to the distance REACH, which is the length of a nose.
RISEN, REACH, LOOKS = (0.02, 0.06), 0.5, 5
EYE_MARGIN = 1.3  # size of an eye's area over its lids' outline; mirroring it would turn the gaze
PATCH = 0.12  # standard deviation of the area around a landmark, in outer-eye distances
PATCHED = [*range(17, 36), *range(48, 68)]  # brows, nose and mouth; eyes may look aside
# The least correlation between a face's halves at which one may replace parts of the other. 51
# photographs of the London set gave 0.82 and more; with half the mouth covered, three quarters of
# them gave less than 0.5.
PLAUSIBLE = 0.5

# Images are padded to a multiple of this, the side of the largest stored cut. Positions are then
# rounded alike whichever faces share a batch, and a face looks the same alone.
PADDED_PIXELS = 320


@dataclass(frozen=True)
class _Grid:
    """What depends on the surface alone: its samples at the pixels of the frontal view.

    The window of the view that shows the face has H x W pixels; every fifth of them in both
    directions makes the coarse grid of h x w places.
    """

    rows: slice  # of the view, that are in the window
    columns: slice  # of the view, that are in the window
    points: Tensor  # (H * W, 3), the surface's points
    mask: Tensor  # (H, W) uint8, 1 where the view shows the face
    coarse: Tensor  # (3, h * w), the surface's points on the coarse grid
    normals: Tensor  # (h * w, 3), their normals
    height: Tensor  # (h * w,), how high they are above the origin along their normals
    front: Tensor  # (h * w,), cosine of the angle at which the frontal camera sees them
    skin: Tensor  # (h, w): 0 in the eyes, 1 elsewhere, smooth between
    patches: Tensor  # (P, h * w), weights of the area around each of P landmarks
    depth: Tensor  # (1, 1, 224, 224), the surface's z at each pixel of the view
    origin: Tensor  # (2,), pixel of the point between the eyes


@torch.inference_mode()
def frontal(
    images: Sequence[Image],
    points: Points,
    surface: Surface,
    *,
    symmetry: Symmetry = "none",
    device: str = "cpu",
) -> Image:
    """Show B faces, one in each image (H, W, 3), from the front, (B, 224, 224, 3).

    `points` (B, 68, 2) are their landmarks. Pixels that show no part of the face, or a part outside
    its image, are black. `symmetry` says what to do with hidden parts: `none` leaves the colours
    that the image has there, `soft` replaces them by the mirror image, and `conditional` does so
    only if the two halves of the face look alike.

    Raises: DataError if points fit no face.
    """
    views = np.zeros((len(images), CROP_PIXELS, CROP_PIXELS, 3), np.uint8)
    grid = _grid(surface, device)
    poses = estimate(points, surface, device=device)
    batch = BATCH[torch.device(device).type]
    for first in range(0, len(images), batch):
        part = slice(first, first + batch)
        pose = poses.single(part)
        raw = _sampled(images[part], pose.project(grid.points), pose.zoom / surface.frame.zoom)
        raw = raw.reshape(len(raw), 3, *grid.mask.shape)
        if symmetry != "none":
            sizes = torch.tensor([image.shape[1::-1] for image in images[part]], device=device)
            raw = _mirrored(raw, _visibility(pose, sizes, surface, grid), grid, symmetry)
        shown = raw.add_(0.5).to(torch.uint8).mul_(grid.mask)
        views[part, grid.rows, grid.columns] = torch.stack(shown.unbind(1), dim=-1).cpu().numpy()
    return views


def _sampled(images: Sequence[Image], where: Tensor, scales: Tensor) -> Tensor:
    """Sample colours (B, 3, N), 0 to 255, at pixels (B, N, 2); black outside an image."""
    boxes = torch.cat([where.amin(dim=1) - 2, where.amax(dim=1) + 3], dim=1).tolist()
    cuts = [_cut(*face) for face in zip(images, boxes, scales.tolist(), strict=True)]
    largest = [max(pixels.shape[side] for pixels, _, _ in cuts) for side in (0, 1)]
    height, width = (-(-side // PADDED_PIXELS) * PADDED_PIXELS for side in largest)
    padded = np.zeros((len(cuts), height, width, 3), np.uint8)
    for row, (pixels, _, _) in enumerate(cuts):
        padded[row, : pixels.shape[0], : pixels.shape[1]] = pixels
    starts, factors = (
        torch.tensor(np.array(values), dtype=torch.float32, device=where.device)[:, None]
        for values in zip(*(cut[1:] for cut in cuts), strict=True)
    )
    size = torch.tensor([width, height], device=where.device)
    scale = factors * 2 / size
    # grid_sample wants positions from -1 to 1, which are the outer edges of the image.
    places = torch.addcmul((0.5 - starts) * scale - 1, where, scale)
    levels = torch.from_numpy(padded).to(where.device).permute(0, 3, 1, 2).float()
    return functional.grid_sample(levels, places[:, None], align_corners=False)[:, :, 0]


def _cut(
    image: Image, box: Sequence[float], scale: float
) -> tuple[Image, tuple[int, int], tuple[float, float]]:
    """Cut a box out of an image, and shrink it if the view would skip pixels, as `aligned` does.

    Gives the pixels, the corner (left, top) of the box, and the factors (x, y) of the shrinking.
    """
    height, width = image.shape[:2]
    left, right = (int(min(max(side, 0), width)) for side in (box[0], box[2]))
    top, bottom = (int(min(max(side, 0), height)) for side in (box[1], box[3]))
    if right <= left or bottom <= top:  # the face lies outside its image
        return np.zeros((1, 1, 3), np.uint8), (left, top), (1.0, 1.0)
    cut = image[top:bottom, left:right]
    if scale <= 2:
        return cut, (left, top), (1.0, 1.0)
    small = (max(1, round((right - left) * 2 / scale)), max(1, round((bottom - top) * 2 / scale)))
    shrunk = np.asarray(cv2.resize(cut, small, interpolation=cv2.INTER_AREA), np.uint8)
    return shrunk, (left, top), (small[0] / (right - left), small[1] / (bottom - top))


def _mirrored(raw: Tensor, seen: Tensor, grid: _Grid, symmetry: Symmetry) -> Tensor:
    """Replace hidden parts of the views (B, 3, H, W) by their mirror image, if that is visible."""
    share = (1 - _ramp(seen, *HIDDEN)) * _ramp(seen.flip(-1) - seen, *BETTER) * grid.skin
    share = functional.avg_pool2d(share, 3, 1, 1, count_include_pad=False)
    if symmetry == "conditional":
        share = share * _alike(raw, seen, grid)[:, None, None]
    share = functional.interpolate(share[:, None], size=raw.shape[2:], mode="bilinear")
    return raw.lerp(raw.flip(-1), share)


def _visibility(pose: Pose, sizes: Tensor, surface: Surface, grid: _Grid) -> Tensor:
    """Compute how well the image shows each place of the coarse grid, (B, h, w), from 0 to 1."""
    camera = pose.rotation[:, 2] * DISTANCE  # (B, 3), in the head's axes
    line = camera[..., None] - grid.coarse  # (B, 3, h * w)
    steps = (line * line).sum(dim=1, keepdim=True).rsqrt()
    turned = (camera @ grid.normals.T - grid.height)[:, None] * steps
    seen = (turned / grid.front).clamp(0, 1)[:, 0]

    looks = torch.linspace(0, REACH, LOOKS + 1, device=seen.device)[1:, None] * steps
    x, y, z = (grid.coarse[:, None] + looks[:, None] * line[:, :, None]).unbind(dim=1)
    scale = surface.frame.zoom * DISTANCE / (DISTANCE - z)  # (B, LOOKS, h * w)
    places = torch.stack([x * scale, y * scale], dim=-1) + (grid.origin + 0.5)
    depth = grid.depth.expand(len(z), -1, -1, -1)
    places = places * (2 / CROP_PIXELS) - 1
    ground = functional.grid_sample(depth, places, padding_mode="border", align_corners=False)
    seen = seen * (1 - _ramp((ground[:, 0] - z).amax(dim=1), *RISEN))

    where = pose.project(grid.coarse.T)
    inside = ((where >= 0) & (where <= sizes[:, None] - 1)).all(dim=-1)
    visibility: Tensor = (seen * inside).reshape(-1, *grid.skin.shape)
    return visibility


def _alike(raw: Tensor, seen: Tensor, grid: _Grid) -> Tensor:
    """Say whether the halves of each face look alike where both are visible, (B,), 0 or 1.

    Hassner et al. use a classifier on patches around the landmarks to choose the result that looks
    more like a face. Here the patches of one half are correlated with those of the other, each
    weighted by how well it and its mirror image are visible. This detects a hand, a shadow or a
    grimace on one side only.
    """
    grey = functional.interpolate(raw.mean(dim=1, keepdim=True), size=seen.shape[1:], mode="area")
    own, mirror = grey.flatten(1), grey.flip(-1).flatten(1)
    weights = (seen * seen.flip(-1)).flatten(1)[:, None] * grid.patches  # (B, P, h * w)
    total = weights.sum(dim=-1).clamp(min=1e-6)

    def mean(values: Tensor) -> Tensor:
        return (weights @ values[..., None])[..., 0] / total

    covariance = mean(own * mirror) - mean(own) * mean(mirror)
    spreads = (mean(side * side) - mean(side) ** 2 for side in (own, mirror))
    power = torch.stack([spread.clamp(min=1.0) for spread in spreads]).prod(dim=0).sqrt()
    likeness = (covariance / power * total).sum(dim=-1) / total.sum(dim=-1)
    return (likeness >= PLAUSIBLE).to(raw.dtype)


def _ramp(values: Tensor, low: float, high: float) -> Tensor:
    """Map values up to `low` to exactly 0, from `high` on to exactly 1, and smoothly between."""
    share = ((values - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)


@lru_cache(maxsize=4)
def _grid(surface: Surface, device: str) -> _Grid:
    """Sample the surface for use on a device; frontal views of all clips share the result."""
    coarse = slice(COARSE // 2, None, COARSE)
    points, normals = (part[WINDOW][coarse, coarse] for part in (surface.points, surface.normals))
    normals = np.dstack([normals[..., :2], np.maximum(normals[..., 2:], UPRIGHT)])
    normals = (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).reshape(-1, 3)
    ahead = np.array([0, 0, DISTANCE]) - points.reshape(-1, 3)
    landmarks = surface.frame.project(surface.landmarks)
    rows, columns = np.mgrid[WINDOW][:, coarse, coarse]

    def tensor(array: Array) -> Tensor:
        return torch.tensor(array, dtype=torch.float32, device=device)

    return _Grid(
        *WINDOW,
        points=tensor(surface.points[WINDOW].reshape(-1, 3)),
        mask=torch.tensor(surface.mask[WINDOW].astype(np.uint8), device=device),
        coarse=tensor(points.reshape(-1, 3).T.copy()),
        normals=tensor(normals),
        height=tensor((normals * points.reshape(-1, 3)).sum(axis=1)),
        front=tensor((normals * ahead).sum(axis=1) / np.linalg.norm(ahead, axis=1)),
        skin=tensor(_skin(landmarks)[WINDOW][coarse, coarse]),
        patches=tensor(
            _patches(landmarks[PATCHED], np.dstack([columns, rows]), surface.frame.zoom)
        ),
        depth=tensor(np.where(surface.mask, surface.points[..., 2], -DISTANCE)[None, None]),
        origin=tensor(surface.frame.origin),
    )


def _skin(landmarks: Points) -> Array:
    """Mark skin by 1 and eyes by 0, smooth between, for landmarks (68, 2) in the view."""
    skin = np.ones((CROP_PIXELS, CROP_PIXELS), np.float32)
    for lids in (landmarks[36:42], landmarks[42:48]):
        opening = lids.mean(axis=0) + EYE_MARGIN * (lids - lids.mean(axis=0))
        cv2.fillConvexPoly(skin, np.rint(opening).astype(np.int32), 0.0)
    return np.asarray(cv2.GaussianBlur(skin, (0, 0), COARSE / 2))


def _patches(centres: Points, places: Array, zoom: float) -> Array:
    """Weight the places (h, w, 2) around each of the centres (P, 2); gives (P, h * w)."""
    squared = ((places.reshape(-1, 2) - centres[:, None]) ** 2).sum(axis=-1)
    weights: Array = np.exp(-squared / (2 * (PATCH * zoom) ** 2))
    return weights
