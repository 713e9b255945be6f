"""VGG_FACE.t7: Torch7's binary serialisation, as far as modules and their tensors need it.

https://github.com/torch/torch7/blob/master/File.lua. A value is the number of its type, then what
that type has. A table or a torch object begins with a number of its own, under which later values
refer to it. All is little-endian; integers have 4 bytes, longs and numbers 8.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.models.vgg_face.layers import LAYERS, Array, Named, mapped, named

DTYPES = {
    **{"Byte": "u1", "Char": "i1", "Short": "<i2", "Int": "<i4", "Long": "<i8"},
    **{"Float": "<f4", "Double": "<f8", "Cuda": "<f4"},
}


def read(path: Path) -> Named:
    """Read the modules that have a weight, which are VGG-Face's layers in their order."""
    modules = _Reader(mapped(path)).value()["modules"]
    weighted = [m for m in map(modules.get, sorted(modules)) if m.get("weight") is not None]
    names = [*LAYERS, *(f"layer {n}" for n in range(len(LAYERS) + 1, len(weighted) + 1))]
    for name, module in zip(names, weighted, strict=False):
        weight = module["weight"]
        if name.startswith("conv") and weight.ndim == 2 and weight.shape[1] % 9 == 0:
            weight = weight.reshape(len(weight), -1, 3, 3)
        yield from named(name, [weight, module["bias"]])


class _Reader:
    """The values of a file, from its first on."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0
        self._seen: dict[int, Any] = {}  # tables and torch objects, by their own numbers

    def value(self) -> Any:
        kind = self._integer()
        match kind:
            case 0:
                return None
            case 1:
                return self._array("<f8", 1).item()
            case 2:
                return self._string()
            case 3 | 4:
                number = self._integer()
                if number not in self._seen:
                    self._seen[number] = {}  # what is in a table may refer to the table
                    self._table(number) if kind == 3 else self._object(number)
                return self._seen[number]
            case 5:
                return bool(self._integer())
        raise ValueError(f"a value of type {kind}, such as a function")

    def _table(self, number: int) -> None:
        for _ in range(self._integer()):
            key = self.value()
            self._seen[number][key] = self.value()

    def _object(self, number: int) -> None:
        name = self._string()
        if name.startswith("V "):  # a version, which files before 2013 lack
            name = self._string()
        numeric = re.fullmatch(r"torch\.([A-Z][a-z]+)(Tensor|Storage)", name)
        if numeric is None:
            self._seen[number].update(self.value())
        elif numeric[2] == "Tensor":
            self._seen[number] = self._tensor()
        else:
            self._seen[number] = self._array(DTYPES[numeric[1]], self._long())

    def _tensor(self) -> Array | None:
        axes = self._integer()
        sizes, strides = self._array("<i8", axes).tolist(), self._array("<i8", axes).tolist()
        offset, storage = self._long() - 1, self.value()
        if axes == 0 or storage is None:
            return None
        if math.prod(sizes) > storage.size:
            raise ValueError(f"a tensor of {sizes} in a storage of {storage.size}")
        step = storage.itemsize  # numpy refuses what would lie outside of the storage
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
            raise ValueError(f"{size} bytes are said to follow, {len(self._data) - start} do")
        self._position += size
        return np.frombuffer(self._data[start : self._position], dtype)
