"""Find the fastest width of a stack: how many members share one call.

Wide calls save overhead, and narrow ones fit the processor's cache. Which is faster depends on the
networks' shape and on the machine, so `Stack` has it timed, once for each shape. The width changes
the last bits of results, since processors round the end of a long row in another way. It is
therefore kept in the store, so that a study that runs again comes out the same.
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

WIDTHS = (0, 1, 2, 4, 8, 16)  # widths to time, below the number of members; 0: without a stack
GAIN = 1.1  # a stack must be 1.1 times as fast as single fits, since timings are noisy
_ROUNDS, _LEAST_ROUNDS = 6, 2  # each width is timed once a round, and its shortest time counts
_SECONDS = 0.5  # after so long no further round starts, except for the least number of them


class Widths:
    """Know the fastest width for each shape on this kind of machine.

    Without a store, every new shape is timed, and forgotten with this object.
    """

    def __init__(self, store: AnyStore | None, device: torch.device) -> None:
        self._store, self._device = store, device
        self._known: dict[str, int] = {}

    def fastest(self, shape: Hashable, members: int, step: Callable[[int], None]) -> int:
        """Return the width at which `step(width)` is fastest, or 0 where no stack is worth it.

        `step` does one step of all members. It is called only if the width is not known yet.
        """
        parts = self._parts(shape, members)
        key = key_of(parts)
        if key not in self._known:
            self._known[key] = self._read_or_measure(parts, partial(self._measure, members, step))
        return min(self._known[key], members)

    def _read_or_measure(
        self, parts: Mapping[str, Any], measure: Callable[[], tuple[Array, dict[str, Any]]]
    ) -> int:
        if self._store is None:
            return int(measure()[0][0])
        entry = read_or_make(self._store, [Shard("width", parts, measure, once=True)], Tally())[0]
        return int(entry.array[0])

    def _measure(self, members: int, step: Callable[[int], None]) -> tuple[Array, dict[str, Any]]:
        """Time all widths, and give the fastest with the times, as an entry of the store."""
        widths = (*(width for width in WIDTHS if width < members), members)
        seconds = dict.fromkeys(widths, math.inf)
        ends = self._now() + _SECONDS
        for done in range(_ROUNDS):  # widths take turns: other processes may slow the machine down
            if done >= _LEAST_ROUNDS and self._now() > ends:
                break
            for width, best in seconds.items():
                seconds[width] = min(best, self._time(step, width))
        milliseconds = {str(width): round(1000 * taken, 3) for width, taken in seconds.items()}
        unstacked = seconds.pop(0)
        width = min(seconds, key=lambda each: seconds[each])
        if unstacked < GAIN * seconds[width]:
            width = 0
        return np.array([width]), {"milliseconds": milliseconds}

    def _time(self, step: Callable[[int], None], width: int) -> float:
        step(width)  # the first call allocates the memory that later steps of a training reuse
        started = self._now()
        step(width)
        return self._now() - started

    def _parts(self, shape: Hashable, members: int) -> dict[str, Any]:
        """Return all that the fastest width depends on; the store's key is made of it."""
        cuda = self._device.type == "cuda"
        return {
            "shape": repr(shape),
            "members": 1 << (members - 1).bit_length(),  # rounded up to a power of two
            "device": torch.cuda.get_device_name(self._device) if cuda else "cpu",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
