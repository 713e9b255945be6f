"""What a worker process keeps in memory between trials, so that it reads the store only once.

A value is kept under a `MemoryKey`, which names the step that made it and all that it was made of.
The memory is bounded: when it is full, the values that were used least recently are dropped. A
trial uses it through `features.context.TrialContext.cached`.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from fer_core import machine
from fer_core.arrays import Array

SHARE = 0.5  # share of the machine's memory that all workers together use, one worker a core
_SMALL_BYTES = 4096  # about the size of a shard's entry with its names


class MemoryKey(NamedTuple):
    """Name a value in memory; `memory_key` builds it."""

    step: str
    made_of: str
    parameters: tuple[tuple[str, Hashable], ...]


def memory_key(
    step: str, *, of: str = "", **parameters: Hashable | Array | Mapping[str, Hashable]
) -> MemoryKey:
    """Build the key under which a value is kept; everything that can change the value is in it.

    `step` names the computation that makes the value. `of` is the key of the stage in the store
    that the computation reads. That key covers all that the stage depends on, so `parameters` are
    only the choices of the computation itself. Arrays among them, such as rows of integers, are
    compared by content.
    """
    return MemoryKey(
        step, of, tuple((name, _hashable(parameters[name])) for name in sorted(parameters))
    )


def _hashable(value: Hashable | Array | Mapping[str, Hashable]) -> Hashable:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return tuple(sorted(value.items()))
    return value


class MemoryCache:
    """Values by key, bounded in bytes. Trials share the values, so nobody may change one."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self._values: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def get(self, key: Hashable) -> object | None:
        """Give the value under a key, or None where there is none; it counts as used now."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Hashable, value: object) -> None:
        """Keep a value, unless it alone is too large; its NumPy arrays become read-only."""
        self.drop(key)
        _make_read_only(value)
        size = size_bytes(value)
        if size > self.most_bytes:
            return
        self._values[key] = value, size
        self.bytes += size
        while self.bytes > self.most_bytes:
            self.drop(next(iter(self._values)))

    def drop(self, key: Hashable) -> None:
        """Forget the value under a key, if there is one."""
        _, size = self._values.pop(key, (None, 0))
        self.bytes -= size


@cache
def process() -> MemoryCache:
    """Give the cache that all trials of this process share."""
    return MemoryCache(int(SHARE * machine.total_bytes() / machine.allowed_cores()))


def size_bytes(value: object) -> int:
    """Estimate a value's size: exact for arrays, tensors and weights, a constant for the rest."""
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


def _make_read_only(value: object) -> None:
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, list | tuple):
        for part in value:
            _make_read_only(part)
