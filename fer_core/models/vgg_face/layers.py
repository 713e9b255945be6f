"""What the readers of VGG-Face's file formats share: layer names, mapped files, and conversions.

A reader yields names and tensors (`Named`). Layers have the names of the Caffe model: conv1_1 to
conv5_3, then fc6, fc7 and fc8.
"""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fer_core.arrays import Array

Named = Iterator[tuple[str, Tensor]]  # pairs of a name, such as "conv1_1.weight", and a tensor

CONVOLUTIONS = (2, 2, 3, 3, 3)  # the number of them in each block
LAYERS = (
    *(f"conv{b}_{i}" for b, count in enumerate(CONVOLUTIONS, 1) for i in range(1, count + 1)),
    *("fc6", "fc7", "fc8"),
)


def mapped(path: Path) -> memoryview:
    """Map a file into memory, so that only the bytes that are used are read."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def named(layer: str, arrays: Iterable[Array]) -> Named:
    """Name the arrays of a layer: its weight, its bias, and by a number any further ones."""
    kinds = {0: "weight", 1: "bias"}
    for number, array in enumerate(arrays):
        yield f"{layer}.{kinds.get(number, number)}", tensor(array)


def tensor(array: Array) -> Tensor:
    """Copy an array, which may be mapped from a file, to a float32 tensor."""
    return torch.from_numpy(np.array(array, np.float32, order="C"))


def from_hwio(layer: str, kernel: Array) -> Array:
    """Turn a kernel (H, W, I, O) to (O, I, H, W), or that of a fully connected layer to (O, I)."""
    turned = kernel.transpose(3, 2, 0, 1)
    return turned.reshape(len(turned), -1) if layer.startswith("fc") else turned
