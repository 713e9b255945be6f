"""Read VGG_FACE.caffemodel: Caffe's protocol buffers, as far as weights need them.

The format is https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto. A message is a
sequence of fields. A field is its number with a wire type, then its value: a varint (an integer of
one to ten bytes), or bytes, which may be a message themselves.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.arrays import Array
from fer_core.models.vgg_face.layers import Named, mapped, named

# Fields of NetParameter that hold a layer (100, and 2 in older files): in each layer, the numbers
# of the fields with its name and its blobs.
LAYERS = {100: (1, 7), 2: (4, 6)}
SIZES, DATA, SHAPE = (1, 2, 3, 4), 5, 7  # fields of BlobProto; older files have sizes for a shape
VARINT, BYTES, FIXED = 0, 2, {1: 8, 5: 4}  # wire types; the fixed ones with their number of bytes


def read(path: Path) -> Named:
    """Read the blobs of all layers that have blobs."""
    for field, layer in _fields(mapped(path)):
        if field in LAYERS:
            name, blob = LAYERS[field]
            values = [(n, value) for n, value in _fields(layer) if n in (name, blob)]
            label = b"".join(value for n, value in values if n == name).decode()
            yield from named(label, (_array(value) for n, value in values if n == blob))


def _array(blob: memoryview) -> Array:
    fields = list(_fields(blob))
    (data,) = (value for number, value in fields if number == DATA)  # all values in one field
    shapes = [_fields(value) for number, value in fields if number == SHAPE]
    shape = [size for dims in shapes for _, packed in dims for size in _varints(packed)]
    shape = shape or [value for number, value in fields if number in SIZES]
    while len(shape) > 1 and shape[0] == 1:  # older files have four sizes, also for a bias
        shape = shape[1:]
    return np.frombuffer(data, "<f4").reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each field of a message."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = divmod(key, 8)
        if wire == VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        size, position = _varint(message, position) if wire == BYTES else (FIXED[wire], position)
        if size > len(message) - position:
            left = len(message) - position
            raise ValueError(f"field {number} has {size} bytes, but only {left} are left")
        yield number, message[position : position + size]
        position += size


def _varints(data: memoryview) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Read the varint at a position, and return it with the position after it."""
    value = 0
    for shift in range(0, 70, 7):  # at most ten bytes of seven bits
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
    raise ValueError("a varint has more than ten bytes")
