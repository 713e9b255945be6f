"""Clocks for the rows: they time ours and theirs in turns.

Whatever else the machine does then slows both down alike. One process is timed by its CPU seconds,
several processes by the clock.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


def turns(*calls: Callable[[], object], repeats: int) -> list[float]:
    """Return the least CPU seconds of each call; the repeats of all calls take turns."""
    taken = [[cpu_seconds(call) for call in calls] for _ in range(repeats)]
    return [min(column) for column in zip(*taken, strict=True)]


def cpu_seconds(call: Callable[[], object]) -> float:
    """Time a call in CPU seconds of this process, so that other processes do not count."""
    started = time.process_time()
    call()
    return time.process_time() - started


def wall_seconds(call: Callable[[], object]) -> float:
    """Time a call by the clock, because other processes take part in it."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread, as in a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
