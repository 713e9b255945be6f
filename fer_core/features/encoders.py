"""From what is seen of a face to what a network is given, with all that was fitted on the way.

Training reads the same from the store; a model that has left the search computes it from frames.
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
    """Views of clips to what the network is given of them."""

    stream: StreamConfig
    backbone: Backbone  # of which the frozen blocks are used
    live: bool  # crops are given, and no block was run: it is trained, or images are augmented
    pooling: str  # of stored features
    reduction: Reduction | None  # of stored features
    precision: str  # of what is computed before it is stored

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
        """Bring views (N, T, H, H, 3) to the side that the backbone reads."""
        pixels = extraction.crop_pixels(self.stream, self.backbone)
        flat = resized(crops.reshape(-1, *crops.shape[2:]), pixels)
        return flat.reshape(*crops.shape[:2], pixels, pixels, 3)

    def preprocessed(self, crops: Array | Tensor, device: torch.device) -> Tensor:
        return extraction.preprocessed(crops, self.stream, self.backbone, device)


@dataclass(frozen=True, kw_only=True)
class PointEncoder:
    """Landmarks of clips to what the network is given of them."""

    geometry: GeometryConfig
    mean_shape: Procrustes | None  # of the encodings that turn faces to fit it
    reduction: Reduction

    def __call__(self, points: Array, device: torch.device) -> Tensor:
        """Encode points (N, 1 + T, 68, 2): of the first frame of each clip, then of those read."""
        encoded = encode(points, self.geometry.encoding, self.mean_shape)
        return torch.from_numpy(self.reduction(encoded)).to(device)


def encode(points: Array, encoding: str, mean_shape: Procrustes | None) -> Features:
    """Encode points (N, 1 + T, 68, 2) as (N, T, D); only changes heed the first frame."""
    read = points[:, 1:]
    match encoding:
        case "centred":
            return centred(_aligned(read))
        case "distances":
            return distances(read)
        case "difference":
            assert mean_shape is not None
            return mean_shape.difference(points)[:, 1:]
        case "motion":
            assert mean_shape is not None
            return mean_shape.motion(points)[:, 1:]
        case _:
            assert mean_shape is not None
            return mean_shape.apply(read)


def _aligned(points: Array) -> Array:
    """Take the points of each face (N, T, 68, 2) to the pixels of its aligned view."""
    flat = np.asarray(points, np.float64).reshape(-1, 68, 2)
    matrices = [similarity(five_points(face), TEMPLATE * CROP_PIXELS) for face in flat]
    moved = [face @ m[:, :2].T + m[:, 2] for face, m in zip(flat, matrices, strict=True)]
    return np.array(moved).reshape(points.shape)


Encoder = ImageEncoder | PointEncoder
