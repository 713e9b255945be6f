"""Random changes of training images: mirroring, shift, zoom, rotation, shear and brightness.

A change is drawn once for each clip, so that the movement from frame to frame stays as it was. An
`ImageStream` uses it on training batches where a config has an `augment`.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fer_core.config import AugmentConfig

WHITE = 255.0  # the largest value of a pixel


def augmented(crops: Tensor, augment: AugmentConfig, generator: np.random.Generator) -> Tensor:
    """Change the crops (B, T, S, S, 3) of 0..255 of each clip; pixels from outside are black."""
    matrices = np.stack([_matrix(augment, generator) for _ in range(len(crops))])
    light = 1 + generator.uniform(-augment.brightness, augment.brightness, len(crops))
    images = crops.float().permute(0, 1, 4, 2, 3).flatten(1, 2)  # (B, T x 3, S, S)
    theta = torch.from_numpy(matrices).to(images)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, align_corners=False)
    lit = moved * torch.from_numpy(light).to(images)[:, None, None, None]
    shape = (*crops.shape[:2], 3, *crops.shape[2:4])
    return lit.clamp(0, WHITE).view(shape).permute(0, 1, 3, 4, 2)


def _matrix(augment: AugmentConfig, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw the matrix (2, 3) of a clip, which maps positions in the result to the crop.

    Positions run from -1 to 1, as `affine_grid` expects.
    """
    mirrored = -1.0 if augment.flip and generator.random() < 0.5 else 1.0
    turn = math.radians(generator.uniform(-augment.rotate_degrees, augment.rotate_degrees))
    shear = math.tan(math.radians(generator.uniform(-augment.shear_degrees, augment.shear_degrees)))
    size = 1 + generator.uniform(-augment.zoom, augment.zoom)
    shift = 2 * generator.uniform(-augment.shift, augment.shift, 2)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = rotation @ np.array([[mirrored, shear], [0.0, 1.0]]) * size
    return np.column_stack([linear, shift])
