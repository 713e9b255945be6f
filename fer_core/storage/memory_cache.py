"""What a worker process keeps in memory between trials, so that it reads the store only once.

A value is kept under a `MemoryKey`, which names the step that made it and all that it was made of.
The memory is bounded: when it is full, the values that were used least recently are dropped. The
memory of the machine and that of a GPU are bounded apart. A trial uses it through
`features.context.TrialContext.cached`.
"""

import functools
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from fer_core import machine
from fer_core.arrays import Array

# Share of the memory that values take: of the machine's for all workers together, which have a core
# each, and of what a worker may use of a GPU.
SHARE = 0.5
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


class Bytes(NamedTuple):
    """How much memory a value takes: of the machine, and of a GPU."""

    host: int = 0
    device: int = 0

    def plus(self, other: "Bytes") -> "Bytes":
        return Bytes(self.host + other.host, self.device + other.device)

    def minus(self, other: "Bytes") -> "Bytes":
        return Bytes(self.host - other.host, self.device - other.device)

    def fits(self, room: "Bytes") -> bool:
        return self.host <= room.host and self.device <= room.device


class MemoryCache:
    """Values by key, bounded in bytes. Trials share the values, so nobody may change one.

    A value that was dropped, or that is too large to be kept, is still found while a trial uses it:
    trials that run at the same time then share it, and do not each make their own.
    """

    def __init__(self, most: Bytes) -> None:
        self.most, self.used = most, Bytes()
        self._values: OrderedDict[Hashable, tuple[object, Bytes]] = OrderedDict()
        self._in_use: dict[Hashable, Callable[[], object | None]] = {}

    def get(self, key: Hashable) -> object | None:
        """Give the value under a key, or None where there is none; it counts as used now."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key][0]
        return self._in_use[key]() if key in self._in_use else None

    def put(self, key: Hashable, value: object) -> None:
        """Keep a value, unless it alone is too large; its NumPy arrays become read-only."""
        self.drop(key)
        _make_read_only(value)
        size = size_bytes(value)
        self._values[key] = value, size
        self.used = self.used.plus(size)
        if not size.fits(self.most):
            self._give_up(key)
        while self.used.host > self.most.host:
            self._give_up(next(key for key, (_, size) in self._values.items() if size.host))
        while self.used.device > self.most.device:
            self._give_up(next(key for key, (_, size) in self._values.items() if size.device))

    def drop(self, key: Hashable) -> None:
        """Forget the value under a key, if there is one."""
        self._in_use.pop(key, None)
        _, size = self._values.pop(key, (None, Bytes()))
        self.used = self.used.minus(size)

    def give_up_device(self) -> None:
        """Keep nothing on the GPU any more, because its memory is short."""
        for key in [key for key, (_, size) in self._values.items() if size.device]:
            self._give_up(key)

    def _give_up(self, key: Hashable) -> None:
        """Keep a value no longer than it is in use elsewhere."""
        value, _ = self._values[key]
        self.drop(key)
        in_use = self._in_use.items()
        self._in_use = {key: find for key, find in in_use if find() is not None}
        self._in_use[key] = _weakly(value)


@cache
def process() -> MemoryCache:
    """Give the cache that all trials of this process share."""
    host = machine.host_bytes() / machine.allowed_cores()
    return MemoryCache(Bytes(int(SHARE * host), int(SHARE * machine.device_bytes())))


def size_bytes(value: object) -> Bytes:
    """Estimate a value's size: exact for arrays, tensors and weights, a constant for the rest."""
    match value:
        case Tensor() if value.device.type == "cuda":
            return Bytes(device=int(value.nbytes))
        case np.ndarray() | Tensor():
            return Bytes(int(value.nbytes))
        case nn.Module():
            return _total(value.state_dict().values())
        case str():
            return Bytes(len(value))
        case Sequence():
            return _total(value)
        case _ if hasattr(value, "__dataclass_fields__"):
            parts = vars(value).values()
            large = (part for part in parts if isinstance(part, np.ndarray | Tensor | nn.Module))
            return Bytes(_SMALL_BYTES).plus(_total(large))
        case _:
            return Bytes(_SMALL_BYTES)


def _total(values: Iterable[object]) -> Bytes:
    return functools.reduce(Bytes.plus, map(size_bytes, values), Bytes())


def _weakly(value: object) -> Callable[[], object | None]:
    """Give a function that finds a value while all its parts are in use elsewhere, else None."""
    if not isinstance(value, tuple | list):
        with suppress(TypeError):  # not of numbers, texts and None, which are small
            return weakref.ref(value)
        return lambda: value
    parts = [_weakly(part) for part in value if part is not None]
    there = [part is not None for part in value]
    build = getattr(value, "_make", type(value))  # a NamedTuple is made of its parts by `_make`

    def found() -> object | None:
        now = [part() for part in parts]
        if any(part is None for part in now):
            return None
        left = iter(now)
        return build([next(left) if is_there else None for is_there in there])

    return found


def _make_read_only(value: object) -> None:
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, list | tuple):
        for part in value:
            _make_read_only(part)
