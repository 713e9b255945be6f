"""What the readers of VGG-Face's formats share."""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
Named = Iterator[tuple[str, Tensor]]  # "conv1_1.weight" and what it is

CONVOLUTIONS = (2, 2, 3, 3, 3)  # of each block
LAYERS = (
    *(f"conv{b}_{i}" for b, count in enumerate(CONVOLUTIONS, 1) for i in range(1, count + 1)),
    *("fc6", "fc7", "fc8"),
)


def mapped(path: Path) -> memoryview:
    """Give a file's bytes, of which only those looked at are read."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def named(layer: str, arrays: Iterable[Array]) -> Named:
    """Name a layer's weight and bias, and by a number what else there is."""
    kinds = {0: "weight", 1: "bias"}
    for number, array in enumerate(arrays):
        yield f"{layer}.{kinds.get(number, number)}", tensor(array)


def tensor(array: Array) -> Tensor:
    """Copy an array from a file."""
    return torch.from_numpy(np.array(array, np.float32, order="C"))


def from_hwio(layer: str, kernel: Array) -> Array:
    """Turn a kernel (H, W, I, O) to (O, I, H, W), or of a fully connected layer to (O, I)."""
    turned = kernel.transpose(3, 2, 0, 1)
    return turned.reshape(len(turned), -1) if layer.startswith("fc") else turned
