"""How many members of a stack go through a call at once: timed once for a shape, then kept.

Wide calls save overhead and narrow ones stay in the cache, and which is faster depends on the
shape and the machine. A width moves last bits (a vector's tail is rounded otherwise), so what was
found is kept in the store: a study that runs again must come out the same.
"""

import math
import time
from collections.abc import Callable, Hashable

import numpy as np
import torch

from fer_core.store import Store, key_of

WIDTHS = (0, 1, 2, 4, 8, 16)  # that are tried, up to the number of members; 0: no stack
_ROUNDS = 3  # steps at each width: the first warms up, the fastest counts
_STAGE = "width"


class Widths:
    """What was found on this kind of machine."""

    def __init__(self, store: Store | None, device: torch.device) -> None:
        self._store, self._device = store, device
        self._known: dict[str, int] = {}

    def of(self, shape: Hashable, members: int, step: Callable[[int], None]) -> int:
        """Give the width at which `step(width)` is fastest; it is called only to find out."""
        key = self._key(shape, members)
        if key not in self._known:
            found = self._kept(key)
            self._known[key] = self._measured(members, step, key) if found is None else found
        return min(self._known[key], members)

    def _measured(self, members: int, step: Callable[[int], None], key: str) -> int:
        tried = (*(width for width in WIDTHS if width < members), members)
        seconds = dict.fromkeys(tried, math.inf)
        for _ in range(_ROUNDS):  # in turns: a machine that others use slows down for a while
            for width, best in seconds.items():
                seconds[width] = min(best, self._time(step, width))
        width = min(seconds, key=lambda each: seconds[each])
        if self._store is not None:
            said = {str(w): round(1000 * s, 3) for w, s in seconds.items()}
            self._store.put(_STAGE, key, np.array([width]), {"milliseconds": said})
        return width

    def _time(self, step: Callable[[int], None], width: int) -> float:
        started = self._now()
        step(width)
        return self._now() - started

    def _kept(self, key: str) -> int | None:
        entry = self._store.get(_STAGE, key) if self._store is not None else None
        return int(entry.array[0]) if entry is not None else None

    def _key(self, shape: Hashable, members: int) -> str:
        cuda = self._device.type == "cuda"
        parts = {
            "shape": repr(shape),
            "members": 1 << (members - 1).bit_length(),  # up to a power of two
            "device": torch.cuda.get_device_name(self._device) if cuda else "cpu",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        return key_of(parts)

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
