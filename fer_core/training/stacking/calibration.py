"""How many members of a stack go through a call at once: timed once for a shape, then kept.

Wide calls save overhead and narrow ones stay in the cache, and which is faster depends on the
shape and the machine. A width moves last bits (a vector's tail is rounded otherwise), so what was
found is kept in the store: a study that runs again must come out the same.
"""

import math
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from fer_core.arrays import Array
from fer_core.storage.shared_store import AnyStore
from fer_core.storage.stages import Shard, Tally, read_or_make
from fer_core.storage.store import key_of

WIDTHS = (0, 1, 2, 4, 8, 16)  # that are tried, up to the number of members; 0: no stack
GAIN = 1.1  # times as fast as one after the other, for a stack to be worth it: timings are noisy
_ROUNDS, _LEAST = 6, 2  # times that each width is timed: the fastest counts
_SECONDS = 0.5  # after which no round begins, but the least


class Widths:
    """What was found on this kind of machine."""

    def __init__(self, store: AnyStore | None, device: torch.device) -> None:
        self._store, self._device = store, device
        self._known: dict[str, int] = {}

    def of(self, shape: Hashable, members: int, step: Callable[[int], None]) -> int:
        """Give the width at which `step(width)` is fastest; it is called only to find out."""
        parts = self._parts(shape, members)
        key = key_of(parts)
        if key not in self._known:
            self._known[key] = self._found(parts, partial(self._measured, members, step))
        return min(self._known[key], members)

    def _found(
        self, parts: Mapping[str, Any], measured: Callable[[], tuple[Array, dict[str, Any]]]
    ) -> int:
        if self._store is None:
            return int(measured()[0][0])
        entry = read_or_make(self._store, [Shard("width", parts, measured, once=True)], Tally())[0]
        return int(entry.array[0])

    def _measured(self, members: int, step: Callable[[int], None]) -> tuple[Array, dict[str, Any]]:
        tried = (*(width for width in WIDTHS if width < members), members)
        seconds = dict.fromkeys(tried, math.inf)
        ends = self._now() + _SECONDS
        for done in range(_ROUNDS):  # in turns: a machine that others use slows down for a while
            if done >= _LEAST and self._now() > ends:
                break
            for width, best in seconds.items():
                seconds[width] = min(best, self._time(step, width))
        said = {str(width): round(1000 * taken, 3) for width, taken in seconds.items()}
        plain = seconds.pop(0)
        width = min(seconds, key=lambda each: seconds[each])
        if plain < GAIN * seconds[width]:
            width = 0
        return np.array([width]), {"milliseconds": said}

    def _time(self, step: Callable[[int], None], width: int) -> float:
        step(width)  # its memory is there after it, as it is between steps of one width
        started = self._now()
        step(width)
        return self._now() - started

    def _parts(self, shape: Hashable, members: int) -> dict[str, Any]:
        cuda = self._device.type == "cuda"
        return {
            "shape": repr(shape),
            "members": 1 << (members - 1).bit_length(),  # up to a power of two
            "device": torch.cuda.get_device_name(self._device) if cuda else "cpu",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
