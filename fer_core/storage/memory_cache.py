"""What a worker keeps in memory between trials: the least recently used is given up first."""

import os
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from functools import cache

import numpy as np
from torch import Tensor, nn

from fer_core import machine

SHARE = 0.5  # of the memory, parted among as many workers as there are cores
_SMALL_BYTES = 4096  # about what a shard's entry takes with its names


class MemoryCache:
    """Values by key, bounded in bytes. They are shared: who gets one must not change it."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self._values: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def get(self, key: Hashable) -> object | None:
        """Give what is held under a key, or None."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Hashable, value: object) -> None:
        """Hold a value, unless it alone is too large; its arrays can no longer be written to."""
        self.drop(key)
        _protect(value)
        size = size_bytes(value)
        if size > self.most_bytes:
            return
        self._values[key] = value, size
        self.bytes += size
        while self.bytes > self.most_bytes:
            self.drop(next(iter(self._values)))

    def drop(self, key: Hashable) -> None:
        """Give up what is held under a key."""
        _, size = self._values.pop(key, (None, 0))
        self.bytes -= size


@cache
def process() -> MemoryCache:
    """Give the one that all trials of this process share."""
    return MemoryCache(int(SHARE * machine.total_bytes() / (os.cpu_count() or 1)))


def size_bytes(value: object) -> int:
    """Count the bytes of arrays, tensors and weights in a value, and something for all else."""
    match value:
        case np.ndarray() | Tensor():
            return int(value.nbytes)
        case nn.Module():
            return sum(int(t.nbytes) for t in value.state_dict().values())
        case str():
            return len(value)
        case Sequence():
            return sum(map(size_bytes, value))
        case _ if hasattr(value, "__dataclass_fields__"):
            return _SMALL_BYTES + sum(
                size_bytes(part)
                for part in vars(value).values()
                if isinstance(part, np.ndarray | Tensor | nn.Module)
            )
        case _:
            return _SMALL_BYTES


def _protect(value: object) -> None:
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, list | tuple):
        for part in value:
            _protect(part)
