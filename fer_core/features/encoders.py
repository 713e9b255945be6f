"""Encoders turn what is seen of a face into what a network reads, with all that a fold fitted.

`stream_inputs` builds one for each stream and fold. In training most of its work comes from the
store. A model that has left the search keeps its encoders, and `predict` computes everything with
them from the frames of a new video.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.config import GeometryConfig, StreamConfig
from fer_core.faces.align import CROP_PIXELS, TEMPLATE, five_points, similarity
from fer_core.faces.point_encodings import Features, Procrustes, centred, distances
from fer_core.faces.views import resized
from fer_core.features import extraction
from fer_core.features.reduction import Reduction
from fer_core.models.backbones import Backbone


@dataclass(frozen=True, kw_only=True)
class ImageEncoder:
    """Encode views of clips for a network."""

    stream: StreamConfig
    backbone: Backbone  # only its frozen blocks are used here
    live: bool  # the network reads the images itself, because all blocks train or images change
    pooling: str  # how features are pooled before the reduction
    reduction: Reduction | None  # fitted where the whole backbone is frozen, else None
    precision: str  # in which the frozen blocks compute

    def __call__(self, crops: Array, device: torch.device) -> Tensor:
        """Encode views (N, T, 224, 224, 3) uint8 of clips."""
        if self.live:
            return self.preprocessed(self.sized(crops), device)
        maps = self.activations(crops, device)
        if self.reduction is None:
            return torch.from_numpy(maps).to(device).float()
        pooled = extraction.pooled(maps, self.stream, self.pooling)
        return torch.from_numpy(self.reduction(pooled)).to(device)

    def activations(self, crops: Array, device: torch.device) -> Array:
        """Compute what the store has of views: (N, T, C, H, W), or (N, C, T', H, W) of volumes."""
        stream, backbone = self.stream, self.backbone
        return extraction.activations(
            crops, stream, backbone, device=device, precision=self.precision
        )

    def sized(self, crops: Array) -> Array:
        """Resize views (N, T, H, H, 3) to the square (N, T, S, S, 3) that the backbone reads."""
        pixels = extraction.crop_pixels(self.stream, self.backbone)
        flat = resized(crops.reshape(-1, *crops.shape[2:]), pixels)
        return flat.reshape(*crops.shape[:2], pixels, pixels, 3)

    def preprocessed(self, crops: Array | Tensor, device: torch.device) -> Tensor:
        """Turn crops (N, T, S, S, 3) of 0..255 into what the first block reads."""
        return extraction.preprocessed(crops, self.stream, self.backbone, device)


@dataclass(frozen=True, kw_only=True)
class PointEncoder:
    """Encode the landmarks of clips for a network."""

    geometry: GeometryConfig
    mean_shape: Procrustes | None  # only for encodings that align each face with a mean face
    reduction: Reduction

    def __call__(self, points: Array, device: torch.device) -> Tensor:
        """Encode points (N, 2 + T, 68, 2), as `stream_inputs.points_of` gives them of a clip."""
        encoded = encode(points, self.geometry.encoding, self.mean_shape)
        return torch.from_numpy(self.reduction(encoded)).to(device)


Encoder = ImageEncoder | PointEncoder


def encode(points: Array, encoding: str, mean_shape: Procrustes | None) -> Features:
    """Encode points (N, 2 + T, 68, 2) as (N, T, D).

    Each clip has two frames before the T: its first one, with which `difference` compares, and the
    one before the T, with which `motion` compares the first of them.
    """
    read = points[:, 2:]
    match encoding:
        case "centred":
            return centred(_aligned(read))
        case "distances":
            return distances(read)
        case "difference":
            assert mean_shape is not None
            return mean_shape.difference(points)[:, 2:]
        case "motion":
            assert mean_shape is not None
            return mean_shape.motion(points[:, 1:])[:, 1:]
        case _:
            assert mean_shape is not None
            return mean_shape.apply(read)


def _aligned(points: Array) -> Array:
    """Move the points of each face (N, T, 68, 2) to the pixels of its aligned view."""
    flat = np.asarray(points, np.float64).reshape(-1, 68, 2)
    matrices = [similarity(five_points(face), TEMPLATE * CROP_PIXELS) for face in flat]
    moved = [face @ m[:, :2].T + m[:, 2] for face, m in zip(flat, matrices, strict=True)]
    return np.array(moved).reshape(points.shape)
