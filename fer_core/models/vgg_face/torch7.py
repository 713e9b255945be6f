"""Read VGG_FACE.t7: Torch7's binary serialisation, as far as modules and their tensors need it.

The format is https://github.com/torch/torch7/blob/master/File.lua. A value is the number of its
type, then its content. The content of a table or a torch object begins with an index, by which
later values refer to the same object. All is little-endian; integers have 4 bytes, longs and
numbers have 8.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.arrays import Array
from fer_core.models.vgg_face.layers import LAYERS, Named, mapped, named

DTYPES = {
    **{"Byte": "u1", "Char": "i1", "Short": "<i2", "Int": "<i4", "Long": "<i8"},
    **{"Float": "<f4", "Double": "<f8", "Cuda": "<f4"},
}


def read(path: Path) -> Named:
    """Read the modules that have a weight: they are VGG-Face's layers, in order."""
    modules = _Reader(mapped(path)).value()["modules"]
    weighted = [m for m in map(modules.get, sorted(modules)) if m.get("weight") is not None]
    names = [*LAYERS, *(f"layer {n}" for n in range(len(LAYERS) + 1, len(weighted) + 1))]
    for name, module in zip(names, weighted, strict=False):
        weight = module["weight"]
        if name.startswith("conv") and weight.ndim == 2 and weight.shape[1] % 9 == 0:
            weight = weight.reshape(len(weight), -1, 3, 3)
        yield from named(name, [weight, module["bias"]])


class _Reader:
    """Read the values of a file one after another."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0
        self._objects: dict[int, Any] = {}  # tables and torch objects by their index in the file

    def value(self) -> Any:
        """Read the next value, with all values that it contains."""
        kind = self._integer()
        match kind:
            case 0:
                return None
            case 1:
                return self._array("<f8", 1).item()
            case 2:
                return self._string()
            case 3 | 4:
                index = self._integer()
                if index not in self._objects:
                    self._objects[index] = {}  # values in a table may refer to the table itself
                    self._table(index) if kind == 3 else self._object(index)
                return self._objects[index]
            case 5:
                return bool(self._integer())
        raise ValueError(f"a value has type {kind}; only data are read, no functions")

    def _table(self, index: int) -> None:
        for _ in range(self._integer()):
            key = self.value()
            self._objects[index][key] = self.value()

    def _object(self, index: int) -> None:
        name = self._string()
        if name.startswith("V "):  # a version before the name; files before 2013 have none
            name = self._string()
        numeric = re.fullmatch(r"torch\.([A-Z][a-z]+)(Tensor|Storage)", name)
        if numeric is None:
            self._objects[index].update(self.value())
        elif numeric[2] == "Tensor":
            self._objects[index] = self._tensor()
        else:
            self._objects[index] = self._array(DTYPES[numeric[1]], self._long())

    def _tensor(self) -> Array | None:
        axes = self._integer()
        sizes, strides = self._array("<i8", axes).tolist(), self._array("<i8", axes).tolist()
        offset, storage = self._long() - 1, self.value()
        if axes == 0 or storage is None:
            return None
        if math.prod(sizes) > storage.size:
            raise ValueError(f"a tensor of {sizes} has a storage of only {storage.size} values")
        step = storage.itemsize  # numpy refuses arrays that reach beyond the storage
        return np.ndarray(sizes, storage.dtype, storage, offset * step, [step * n for n in strides])

    def _integer(self) -> int:
        return int(self._array("<i4", 1)[0])

    def _long(self) -> int:
        return int(self._array("<i8", 1)[0])

    def _string(self) -> str:
        return self._array("u1", self._integer()).tobytes().decode("latin-1")

    def _array(self, dtype: str, count: int) -> Array:
        start, size = self._position, count * np.dtype(dtype).itemsize
        if not 0 <= size <= len(self._data) - start:
            left = len(self._data) - start
            raise ValueError(f"an array has {size} bytes, but only {left} are left")
        self._position += size
        return np.frombuffer(self._data[start : self._position], dtype)
