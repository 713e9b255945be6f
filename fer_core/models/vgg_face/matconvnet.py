"""Read vgg-face.mat: MATLAB's level 5 files, as far as the layers of MatConvNet need them.

The format is https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. A file is a sequence
of elements, each with a type and a size, at multiples of 8 bytes. A matrix is an element that
contains elements; each variable, cell and field is a matrix. SciPy's reader is not used, because a
few wrong bytes in a file make it crash the whole process.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.models.vgg_face.layers import Named, from_hwio, mapped, named

HEADER_BYTES = 128
UINT16, COMPRESSED = 4, 15  # two types of elements; those of numbers are in DTYPES
DTYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8"}
CELL, STRUCT, CHAR = 1, 2, 4  # classes of matrices; all others are of numbers
# Content may unpack to at most so many times the size of the file. Trained weights shrink by only a
# tenth, so whatever unpacks to more is no weights file.
MOST_EXPANSION = 8


def read(path: Path) -> Named:
    """Read the layers that have `weights`, or in older files `filters` and `biases`."""
    variables = dict(_variables(mapped(path)[HEADER_BYTES:]))
    layers = variables["layers"] if "layers" in variables else _value(variables["net"])["layers"]
    for layer in map(_value, _value(layers)):
        arrays = [layer[name] for name in ("filters", "biases") if name in layer]
        if "weights" in layer:
            arrays = _value(layer["weights"])
        if len(arrays):
            name = _value(layer["name"])
            kernel, *biases = map(_value, arrays)
            yield from named(name, [from_hwio(name, kernel), *(b.reshape(-1) for b in biases)])


def _variables(data: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Yield the name and the matrix of each variable."""
    for kind, content in _elements(data):
        if kind == COMPRESSED:
            unpacked = zlib.decompressobj().decompress(content, MOST_EXPANSION * len(data))
            ((_, content),) = _elements(memoryview(unpacked))
        _, _, (_, name), *_ = _elements(content)
        yield bytes(name).decode(), content


def _value(matrix: memoryview) -> Any:
    """Read one matrix; the matrices in a cell or a struct are returned unread."""
    (_, flags), (_, sizes), _, *parts = _elements(matrix)
    if flags[0] == CELL:
        return [content for _, content in parts]
    if flags[0] == STRUCT:
        (_, width), (_, names), *fields = parts
        labels = np.frombuffer(names, f"S{int.from_bytes(width, 'little')}").astype(str)
        return {label: content for label, (_, content) in zip(labels, fields, strict=True)}
    ((kind, content),) = parts
    if flags[0] == CHAR:
        return bytes(content).decode("utf-16-le" if kind == UINT16 else "utf-8")
    return np.frombuffer(content, DTYPES[kind]).reshape(np.frombuffer(sizes, "<i4"), order="F")


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the content of each element."""
    position = 0
    while position < len(data):
        kind, size = struct.unpack_from("<II", data, position)
        start, after = position + 8, position + 8 + size
        if kind >> 16:  # a small element: two bytes of size, two of type, four of content
            kind, size = kind & 0xFFFF, kind >> 16
            start, after = position + 4, position + 8
        if start + size > len(data):
            left = len(data) - start
            raise ValueError(f"a MATLAB element says it has {size} bytes, but only {left} follow")
        yield kind, data[start : start + size]
        position = after if kind == COMPRESSED else after + -after % 8
