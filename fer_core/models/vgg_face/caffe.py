"""VGG_FACE.caffemodel: the protocol buffers of Caffe, as far as weights need them.

https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto. A message is a sequence of
fields, each a number with its wire type, then the value: a varint, or bytes that may be a message.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.models.vgg_face.layers import Array, Named, mapped, named

LAYERS = {100: (1, 7), 2: (4, 6)}  # NetParameter's layer, and V1 layers: their name and blobs
SIZES, DATA, SHAPE = (1, 2, 3, 4), 5, 7  # of BlobProto; sizes are from before there was a shape
VARINT, BYTES, FIXED = 0, 2, {1: 8, 5: 4}  # wire types; those that always have so many bytes


def read(path: Path) -> Named:
    """Read the blobs of all layers that have any."""
    for field, layer in _fields(mapped(path)):
        if field in LAYERS:
            name, blob = LAYERS[field]
            values = [(n, value) for n, value in _fields(layer) if n in (name, blob)]
            label = b"".join(value for n, value in values if n == name).decode()
            yield from named(label, (_array(value) for n, value in values if n == blob))


def _array(blob: memoryview) -> Array:
    fields = list(_fields(blob))
    (data,) = (value for number, value in fields if number == DATA)  # packed
    shapes = [_fields(value) for number, value in fields if number == SHAPE]
    shape = [size for dims in shapes for _, packed in dims for size in _varints(packed)]
    shape = shape or [value for number, value in fields if number in SIZES]
    while len(shape) > 1 and shape[0] == 1:  # four sizes even of a bias
        shape = shape[1:]
    return np.frombuffer(data, "<f4").reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
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
            raise ValueError(f"field {number} of {size} bytes, {len(message) - position} follow")
        yield number, message[position : position + size]
        position += size


def _varints(data: memoryview) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):  # ten bytes at most
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
    raise ValueError("a varint without end")
